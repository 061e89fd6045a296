//! Changes of objects, taken in: cheap, and marking what the next compilation has to look at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{ClusterNetworkPolicy, NetworkPolicy, Node, NodeName, ObjectName, Pod, PodName};
use crate::policy::decision::PolicyRef;
use crate::policy::objects::{PolicyChange, has_own_network};
use crate::policy::table::PeerId;

use super::Compiler;
use super::applied::Applied;
use super::identity::{IdentityKey, NamedPort, named_ports};

/// What is remembered of a pod, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodEntry {
    /// Given while it has addresses.
    pub(super) identity: Option<PeerId>,
    addresses: Vec<IpAddr>,
}

/// What is remembered of a pod of this node, besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalPod {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ports: Vec<NamedPort>,
}

impl Compiler {
    /// Takes a change in. The tables follow with the next [`Compiler::compile`].
    pub fn fold(&mut self, change: PolicyChange) {
        match change {
            PolicyChange::Pod(name, pod) => self.fold_pod(name, pod.as_ref()),
            PolicyChange::Namespace(name, namespace) => {
                if self.population.label_namespace(&name, namespace.as_ref()) {
                    self.mark(&name, |_| true);
                }
            }
            PolicyChange::Node(name, node) => self.fold_node(&name, node.as_ref()),
            PolicyChange::OwnAddresses(addresses) => self.claims.own(addresses),
            PolicyChange::NetworkPolicy(name, policy) => self.fold_network_policy(name, policy),
            PolicyChange::ClusterNetworkPolicy(name, policy) => {
                self.fold_cluster_policy(&name, policy);
            }
        }
    }

    fn fold_pod(&mut self, name: PodName, pod: Option<&Pod>) {
        let pod = pod.filter(|pod| has_own_network(pod));
        let local = pod
            .filter(|pod| pod.node.as_ref() == Some(&self.settings.node))
            .map(|pod| LocalPod {
                labels: pod.labels.clone(),
                ports: named_ports(pod),
            });
        if self.local.get(&name) != local.as_ref() {
            match local {
                Some(local) => drop(self.local.insert(name.clone(), local)),
                None => drop(self.local.remove(&name)),
            }
            self.dirty.insert(name.clone());
        }
        let after = pod.map(|pod| PodEntry {
            identity: (!pod.ips.is_empty()).then(|| self.population.join(IdentityKey::of(pod))),
            addresses: pod.ips.clone(),
        });
        let before = match &after {
            Some(after) => self.pods.insert(name.clone(), after.clone()),
            None => self.pods.remove(&name),
        };
        if let Some(left) = before.as_ref().and_then(|before| before.identity) {
            self.population.leave(left);
        }
        if before == after {
            return;
        }
        for address in before.iter().flat_map(|before| &before.addresses) {
            self.claims.by_pod(*address, &name, false);
        }
        for address in after.iter().flat_map(|after| &after.addresses) {
            self.claims.by_pod(*address, &name, true);
        }
    }

    fn fold_node(&mut self, name: &NodeName, node: Option<&Node>) {
        let changed = if node.is_some() || *name == self.settings.node {
            self.population.put_node(name, node)
        } else {
            self.population.remove_node(name)
        };
        for address in changed {
            let claims = node.is_some_and(|node| node.addresses.contains(&address));
            self.claims.by_node(address, name, claims);
        }
    }

    fn fold_network_policy(&mut self, name: ObjectName, policy: Option<NetworkPolicy>) {
        let of_namespace = self
            .network_policies
            .entry(Arc::clone(&name.namespace))
            .or_default();
        let before = of_namespace.get(&name.name).cloned();
        if before.as_deref() == policy.as_ref() {
            return;
        }
        let after = policy.map(Arc::new);
        match &after {
            Some(policy) => of_namespace.insert(Arc::clone(&name.name), Arc::clone(policy)),
            None => of_namespace.remove(&name.name),
        };
        if of_namespace.is_empty() {
            self.network_policies.remove(&name.namespace);
        }
        let either = [before, after];
        self.mark(&name.namespace, |pod| {
            let mut policies = either.iter().flatten();
            policies.any(|policy| policy.pod_selector.matches(&pod.labels))
        });
        let reference = PolicyRef::NetworkPolicy(name);
        self.make_stale(|set| set.key.policies.contains(&reference));
    }

    fn fold_cluster_policy(&mut self, name: &Arc<str>, policy: Option<ClusterNetworkPolicy>) {
        let standing = self.standings.get(name);
        let before = standing
            .and_then(|standing| self.cluster_policies.get(standing))
            .cloned();
        if before.as_deref() == policy.as_ref() {
            return;
        }
        if let Some(standing) = self.standings.remove(name) {
            self.cluster_policies.remove(&standing);
        }
        let after = policy.map(Arc::new);
        if let Some(policy) = &after {
            let standing = (policy.tier, policy.priority, Arc::clone(name));
            self.standings.insert(Arc::clone(name), standing.clone());
            self.cluster_policies.insert(standing, Arc::clone(policy));
        }
        let either: Vec<Arc<ClusterNetworkPolicy>> =
            [before, after].into_iter().flatten().collect();
        for (pod, local) in &self.local {
            let namespace = self.population.labels_of(&pod.namespace);
            let subject = |policy: &Arc<ClusterNetworkPolicy>| {
                policy.subject.namespace_selector.matches(&namespace)
                    && policy.subject.pod_selector.matches(&local.labels)
            };
            if either.iter().any(subject) {
                self.dirty.insert(pod.clone());
            }
        }
        for policy in either {
            let reference = Applied::Cluster(policy).reference();
            self.make_stale(|set| set.key.policies.contains(&reference));
        }
    }

    /// Marks this node's pods of a namespace to be asked about anew.
    fn mark(&mut self, namespace: &Arc<str>, which: impl Fn(&LocalPod) -> bool) {
        let first = PodName::new(Arc::clone(namespace), "");
        let pods = self.local.range(first..);
        let of_namespace = pods.take_while(|(pod, _)| pod.namespace == *namespace);
        let marked = of_namespace.filter(|(_, local)| which(local));
        self.dirty.extend(marked.map(|(pod, _)| pod.clone()));
    }
}
