//! The slow evaluator: policies read as their API reference has them, from top to bottom, for one packet.
//!
//! It goes through all objects for each question, keeps nothing and shares nothing with the compiler. What the references leave
//! open is decided here, in comments that say so, and the compiler follows.

mod matching;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    ClusterNetworkPolicy, Direction, Namespace, NamespaceLabels, NetworkPolicy, Node, NodeName,
    ObjectName, Pod, PodName, RuleAction, Tier,
};

use super::PolicySettings;
use super::decision::{Decider, Decision, PolicyRef, RuleRef, Transport};
use super::objects::has_own_network;

use self::matching::Question;

pub use self::trace::{Place, Trace, trace};

/// All that policies depend on.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// What does not come from objects.
    pub settings: &'a PolicySettings,
    /// Pods.
    pub pods: &'a BTreeMap<PodName, Pod>,
    /// Namespaces.
    pub namespaces: &'a BTreeMap<Arc<str>, Namespace>,
    /// Nodes.
    pub nodes: &'a BTreeMap<NodeName, Node>,
    /// Addresses that this node's interfaces have.
    pub own_addresses: &'a BTreeSet<IpAddr>,
    /// NetworkPolicies.
    pub network_policies: &'a BTreeMap<ObjectName, NetworkPolicy>,
    /// ClusterNetworkPolicies.
    pub cluster_policies: &'a BTreeMap<Arc<str>, ClusterNetworkPolicy>,
}

/// A decision and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The decision.
    pub decision: Decision,
    /// Rules that passed the packet on to the next tier.
    pub passed: Vec<RuleRef>,
    /// NetworkPolicies that isolate the pod in this direction, where they were asked.
    pub isolating: Vec<ObjectName>,
    /// Every rule of theirs that accepts the packet; the first decided.
    pub accepting: Vec<RuleRef>,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug)]
enum Owner<'a> {
    /// A node's, whose object may not be known where it is this node.
    Node(&'a NodeName, Option<&'a Node>),
    /// A pod's.
    Pod(&'a Pod),
    /// Nobody's in the cluster.
    Outside,
}

impl<'a> Objects<'a> {
    fn namespace_labels(&self, name: &'a str) -> NamespaceLabels<'a> {
        NamespaceLabels {
            name,
            labels: self.namespaces.get(name).map(|namespace| &namespace.labels),
        }
    }

    /// Nodes go before pods, so that nobody takes a node's address by a pod's status; of several pods the first by name counts,
    /// for the moment in which an address goes from one to another.
    fn owner(&self, address: IpAddr) -> Owner<'a> {
        if self.own_addresses.contains(&address) {
            let name = &self.settings.node;
            return Owner::Node(name, self.nodes.get(name));
        }
        let node = self
            .nodes
            .values()
            .find(|node| node.addresses.contains(&address));
        if let Some(node) = node {
            return Owner::Node(&node.name, Some(node));
        }
        let mut pods = self.pods.values().filter(|pod| has_own_network(pod));
        pods.find(|pod| pod.ips.contains(&address))
            .map_or(Owner::Outside, Owner::Pod)
    }
}

/// What policies say of a packet between `pod` and `peer`: `direction` is the pod's, and the port in `transport` the destination's.
/// Nothing where there is no such pod, or none to which policies apply: pods in their node's network are not subject to any.
pub fn evaluate(
    objects: &Objects<'_>,
    pod: &PodName,
    direction: Direction,
    peer: IpAddr,
    transport: Transport,
) -> Option<Evaluation> {
    let pod = objects.pods.get(pod).filter(|pod| has_own_network(pod))?;
    let owner = objects.owner(peer);
    let mut evaluation = Evaluation {
        decision: Decision::accept(Decider::Default),
        passed: Vec::new(),
        isolating: Vec::new(),
        accepting: Vec::new(),
    };
    let own_node = matches!(owner, Owner::Node(name, _) if pod.node.as_ref() == Some(name));
    // "A pod cannot block access to itself", and probes come from its node.
    if pod.ips.contains(&peer) {
        evaluation.decision = Decision::accept(Decider::Itself);
    } else if own_node && direction == Direction::Ingress {
        evaluation.decision = Decision::accept(Decider::OwnNode);
    } else {
        let question = Question {
            objects,
            pod,
            direction,
            peer,
            owner,
            transport,
        };
        evaluation.decision = question
            .cluster_tier(Tier::Admin, &mut evaluation.passed)
            .or_else(|| question.network_policies(own_node, &mut evaluation))
            .or_else(|| question.cluster_tier(Tier::Baseline, &mut evaluation.passed))
            .unwrap_or(Decision::accept(Decider::Default));
    }
    Some(evaluation)
}

impl Question<'_> {
    /// The first matching rule of the tier's policies, lowest priority first; nothing where none matches or it passes.
    fn cluster_tier(&self, tier: Tier, passed: &mut Vec<RuleRef>) -> Option<Decision> {
        let mut policies: Vec<&ClusterNetworkPolicy> = self
            .objects
            .cluster_policies
            .values()
            .filter(|policy| policy.tier == tier && self.is_subject(policy))
            .collect();
        // The API leaves it open which of two policies of one priority goes first; here the first by name.
        policies.sort_by_key(|policy| (policy.priority, &policy.name));
        for policy in policies {
            for (index, rule) in policy.rules(self.direction).iter().enumerate() {
                if !self.cluster_rule_matches(rule) {
                    continue;
                }
                let reference = RuleRef {
                    policy: match tier {
                        Tier::Admin => PolicyRef::Admin(Arc::clone(&policy.name)),
                        Tier::Baseline => PolicyRef::Baseline(Arc::clone(&policy.name)),
                    },
                    rule: index,
                    name: rule.name.clone(),
                };
                return match rule.action {
                    RuleAction::Accept => Some(Decision::accept(Decider::Rule(reference))),
                    RuleAction::Deny => Some(Decision::deny(Decider::Rule(reference))),
                    // "Treat the rule as a Deny all rule."
                    RuleAction::Pass if rule.fails_closed() => {
                        Some(Decision::deny(Decider::Rule(reference)))
                    }
                    RuleAction::Pass => {
                        passed.push(reference);
                        None
                    }
                };
            }
        }
        None
    }

    /// Nothing where no NetworkPolicy isolates the pod in this direction; else their word is final.
    fn network_policies(&self, own_node: bool, evaluation: &mut Evaluation) -> Option<Decision> {
        let of_namespace = self
            .objects
            .network_policies
            .values()
            .filter(|policy| policy.name.namespace == self.pod.name.namespace);
        for policy in of_namespace {
            if !policy.pod_selector.matches(&self.pod.labels) {
                continue;
            }
            let Some(rules) = policy.rules(self.direction) else {
                continue;
            };
            evaluation.isolating.push(policy.name.clone());
            for (index, rule) in rules.iter().enumerate() {
                if self.network_policy_rule_matches(policy, rule) {
                    evaluation.accepting.push(RuleRef {
                        policy: PolicyRef::NetworkPolicy(policy.name.clone()),
                        rule: index,
                        name: None,
                    });
                }
            }
        }
        if evaluation.isolating.is_empty() {
            return None;
        }
        if own_node && self.objects.settings.egress_to_own_node {
            return Some(Decision::accept(Decider::OwnNode));
        }
        Some(match evaluation.accepting.first() {
            Some(rule) => Decision::accept(Decider::Rule(rule.clone())),
            None => Decision::deny(Decider::Isolation),
        })
    }
}
