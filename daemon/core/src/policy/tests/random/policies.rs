//! Random policies.

use std::sync::Arc;

use crate::model::{
    Cidr, ClusterNetworkPolicy, ClusterPeer, ClusterPods, ClusterRule, Direction, IpBlock,
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule, ObjectName, PolicyTypes, Port, PortMatch,
    RuleAction, Tier,
};

use super::{CIDRS, Dice, PORT_NAMES, PORTS, PROTOCOLS};

impl Dice {
    fn port_match(&mut self, named: bool) -> PortMatch {
        let protocol = self.one(&PROTOCOLS);
        let port = |number| Port::new(number).unwrap();
        match self.rng.below(6) {
            0 => PortMatch::Protocol(protocol),
            1 => {
                let (a, b) = (self.one(&PORTS), self.one(&PORTS));
                PortMatch::Range {
                    protocol,
                    first: port(a.min(b)),
                    last: port(a.max(b)),
                }
            }
            2 | 3 if named => PortMatch::Named {
                name: self.one(&PORT_NAMES).into(),
                protocol: self.maybe(70).then_some(protocol),
            },
            _ => {
                let number = port(self.one(&PORTS));
                PortMatch::Range {
                    protocol,
                    first: number,
                    last: number,
                }
            }
        }
    }

    fn cidr(&mut self) -> Cidr {
        self.one(&CIDRS).parse().unwrap()
    }

    fn block(&mut self) -> IpBlock {
        IpBlock {
            cidr: self.cidr(),
            except: self.some(2, Self::cidr),
        }
    }

    fn rule(&mut self, direction: Direction) -> NetworkPolicyRule {
        let peers = self.some(3, |dice| {
            if dice.maybe(35) {
                return NetworkPolicyPeer::IpBlock(dice.block());
            }
            let namespaces = dice.maybe(60);
            NetworkPolicyPeer::Pods {
                namespace_selector: namespaces.then(|| dice.namespaces_selector()),
                pod_selector: (!namespaces || dice.maybe(60)).then(|| dice.pods_selector()),
            }
        });
        let blocks = peers
            .iter()
            .any(|peer| matches!(peer, NetworkPolicyPeer::IpBlock(_)));
        let named = self.names_in_blocks || direction == Direction::Ingress || !blocks;
        NetworkPolicyRule {
            peers,
            ports: self.some(3, |dice| dice.port_match(named)),
        }
    }

    pub(super) fn network_policy(&mut self, name: ObjectName) -> NetworkPolicy {
        let ingress = self.some(3, |dice| dice.rule(Direction::Ingress));
        let egress = self.some(3, |dice| dice.rule(Direction::Egress));
        let policy_types = if self.maybe(25) {
            PolicyTypes::absent(&egress)
        } else {
            let ingress = self.maybe(60);
            PolicyTypes {
                ingress,
                egress: !ingress || self.maybe(40),
            }
        };
        NetworkPolicy {
            name,
            pod_selector: self.pods_selector(),
            policy_types,
            ingress,
            egress,
        }
    }

    fn cluster_pods(&mut self) -> ClusterPods {
        ClusterPods {
            namespace_selector: self.namespaces_selector(),
            pod_selector: self.pods_selector(),
        }
    }

    fn cluster_rule(&mut self, direction: Direction) -> ClusterRule {
        let egress = direction == Direction::Egress;
        let mut peers = Vec::new();
        for _ in 0..=self.rng.place(2) {
            peers.push(match self.rng.below(10) {
                0 | 1 if egress => ClusterPeer::Nodes(self.selector(&["zone"])),
                2..=4 if egress => {
                    let mut networks = vec![self.cidr()];
                    networks.extend(self.some(2, Self::cidr));
                    ClusterPeer::Networks(networks)
                }
                9 if self.maybe(20) => ClusterPeer::Unrecognised,
                _ => ClusterPeer::Pods(self.cluster_pods()),
            });
        }
        let networks = peers
            .iter()
            .any(|peer| matches!(peer, ClusterPeer::Networks(_)));
        let named = self.names_in_blocks || !egress || !networks;
        ClusterRule {
            name: self.maybe(30).then(|| "named".into()),
            action: self.one(&[RuleAction::Accept, RuleAction::Deny, RuleAction::Pass]),
            peers,
            protocols: self.some(2, |dice| dice.port_match(named)),
        }
    }

    pub(super) fn cluster_policy(&mut self, name: Arc<str>) -> ClusterNetworkPolicy {
        ClusterNetworkPolicy {
            name,
            tier: self.one(&[Tier::Admin, Tier::Baseline]),
            priority: self.one(&[0, 1, 2, 1000]),
            subject: self.cluster_pods(),
            ingress: self.some(3, |dice| dice.cluster_rule(Direction::Ingress)),
            egress: self.some(3, |dice| dice.cluster_rule(Direction::Egress)),
        }
    }
}
