//! The policies that apply to a pod of this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{ClusterNetworkPolicy, Direction, NetworkPolicy, PodName, PortMatch, Tier};
use crate::policy::decision::PolicyRef;

use super::Compiler;
use super::fold::LocalPod;

/// A policy that applies to a pod.
#[derive(Clone, Debug)]
pub(super) enum Applied {
    Cluster(Arc<ClusterNetworkPolicy>),
    Namespaced(Arc<NetworkPolicy>),
}

impl Applied {
    pub(super) fn reference(&self) -> PolicyRef {
        match self {
            Self::Cluster(policy) => match policy.tier {
                Tier::Admin => PolicyRef::Admin(Arc::clone(&policy.name)),
                Tier::Baseline => PolicyRef::Baseline(Arc::clone(&policy.name)),
            },
            Self::Namespaced(policy) => PolicyRef::NetworkPolicy(policy.name.clone()),
        }
    }

    /// Whether it says anything of a direction. To isolate says something even without rules.
    pub(super) fn concerns(&self, direction: Direction) -> bool {
        match self {
            Self::Cluster(policy) => !policy.rules(direction).is_empty(),
            Self::Namespaced(policy) => policy.rules(direction).is_some(),
        }
    }

    pub(super) fn isolates(&self) -> bool {
        matches!(self, Self::Namespaced(_))
    }

    /// Whether a rule of the direction names ports by name.
    pub(super) fn names_ports(&self, direction: Direction) -> bool {
        let named = |ports: &[PortMatch]| {
            ports
                .iter()
                .any(|port| matches!(port, PortMatch::Named { .. }))
        };
        match self {
            Self::Cluster(policy) => policy
                .rules(direction)
                .iter()
                .any(|rule| named(&rule.protocols)),
            Self::Namespaced(policy) => {
                let rules = policy.rules(direction).unwrap_or_default();
                rules.iter().any(|rule| named(&rule.ports))
            }
        }
    }
}

impl Compiler {
    /// The policies that say something of a pod's direction, in the order in which they are asked.
    pub(super) fn applied(
        &self,
        name: &PodName,
        pod: &LocalPod,
        direction: Direction,
    ) -> Vec<Applied> {
        let namespace = self.population.labels_of(&name.namespace);
        let of_tier = |tier: Tier| {
            let policies = self.cluster_policies.values();
            policies
                .filter(move |policy| policy.tier == tier)
                .filter(|policy| {
                    policy.subject.namespace_selector.matches(&namespace)
                        && policy.subject.pod_selector.matches(&pod.labels)
                })
                .map(|policy| Applied::Cluster(Arc::clone(policy)))
        };
        let namespaced = self.network_policies.get(&name.namespace);
        let namespaced = namespaced
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|policy| policy.pod_selector.matches(&pod.labels))
            .map(|policy| Applied::Namespaced(Arc::clone(policy)));
        of_tier(Tier::Admin)
            .chain(namespaced)
            .chain(of_tier(Tier::Baseline))
            .filter(|policy| policy.concerns(direction))
            .collect()
    }
}
