//! Whether one rule matches one packet.

use std::net::IpAddr;

use landfall_ipam::LabelSelector;

use crate::model::{
    ClusterNetworkPolicy, ClusterPeer, ClusterPods, ClusterRule, Direction, NetworkPolicy,
    NetworkPolicyPeer, NetworkPolicyRule, Pod, PortMatch, RuleAction,
};
use crate::policy::decision::Transport;

use super::{Objects, Owner};

/// One packet, seen from the pod whose policies are asked.
pub(super) struct Question<'a> {
    pub(super) objects: &'a Objects<'a>,
    pub(super) pod: &'a Pod,
    pub(super) direction: Direction,
    pub(super) peer: IpAddr,
    pub(super) owner: Owner<'a>,
    pub(super) transport: Transport,
}

impl Question<'_> {
    pub(super) fn is_subject(&self, policy: &ClusterNetworkPolicy) -> bool {
        self.selects(&policy.subject, self.pod)
    }

    fn selects(&self, selected: &ClusterPods, pod: &Pod) -> bool {
        let namespace = self.objects.namespace_labels(&pod.name.namespace);
        selected.namespace_selector.matches(&namespace)
            && selected.pod_selector.matches(&pod.labels)
    }

    pub(super) fn cluster_rule_matches(&self, rule: &ClusterRule) -> bool {
        if rule.fails_closed() {
            return rule.action != RuleAction::Accept;
        }
        let peers = rule.peers.iter();
        self.port_matches(&rule.protocols)
            && peers
                .into_iter()
                .any(|peer| self.cluster_peer_matches(peer))
    }

    fn cluster_peer_matches(&self, peer: &ClusterPeer) -> bool {
        match (peer, self.owner) {
            (ClusterPeer::Pods(selected), Owner::Pod(pod)) => self.selects(selected, pod),
            (ClusterPeer::Nodes(selector), Owner::Node(_, Some(node))) => {
                selector.matches(&node.labels)
            }
            // This node, of which no object is known: it has no labels.
            (ClusterPeer::Nodes(selector), Owner::Node(_, None)) => {
                selector.matches(&std::collections::BTreeMap::new())
            }
            (ClusterPeer::Networks(networks), _) => {
                networks.iter().any(|network| network.contains(self.peer))
            }
            _ => false,
        }
    }

    pub(super) fn network_policy_rule_matches(
        &self,
        policy: &NetworkPolicy,
        rule: &NetworkPolicyRule,
    ) -> bool {
        let mut peers = rule.peers.iter();
        self.port_matches(&rule.ports)
            && (rule.peers.is_empty() || peers.any(|peer| self.peer_matches(policy, peer)))
    }

    fn peer_matches(&self, policy: &NetworkPolicy, peer: &NetworkPolicyPeer) -> bool {
        match peer {
            NetworkPolicyPeer::IpBlock(block) => block.contains(self.peer),
            NetworkPolicyPeer::Pods {
                namespace_selector,
                pod_selector,
            } => {
                // Pods in their node's network are seen as that node, and selectors do not match nodes.
                let Owner::Pod(pod) = self.owner else {
                    return false;
                };
                let namespace = match namespace_selector {
                    None => pod.name.namespace == policy.name.namespace,
                    Some(selector) => {
                        selector.matches(&self.objects.namespace_labels(&pod.name.namespace))
                    }
                };
                let all = LabelSelector::default();
                namespace && pod_selector.as_ref().unwrap_or(&all).matches(&pod.labels)
            }
        }
    }

    fn port_matches(&self, ports: &[PortMatch]) -> bool {
        ports.is_empty() || ports.iter().any(|port| self.one_port_matches(port))
    }

    fn one_port_matches(&self, port: &PortMatch) -> bool {
        let Transport::Port(protocol, number) = self.transport else {
            return false;
        };
        match port {
            PortMatch::Protocol(wanted) => *wanted == protocol,
            PortMatch::Range {
                protocol: wanted,
                first,
                last,
            } => *wanted == protocol && (first.get()..=last.get()).contains(&number),
            PortMatch::Named { name, protocol: of } => {
                let destination = match (self.direction, self.owner) {
                    (Direction::Ingress, _) => self.pod,
                    (Direction::Egress, Owner::Pod(pod)) => pod,
                    (Direction::Egress, _) => return false,
                };
                destination.ports.iter().any(|port| {
                    port.name == *name
                        && port.protocol == protocol
                        && of.is_none_or(|of| of == protocol)
                        && port.port.get() == number
                })
            }
        }
    }
}
