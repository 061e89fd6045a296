//! Small clusters and policies in few words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::{LabelSelector, Requirement};

use crate::model::{
    ClusterNetworkPolicy, ClusterPeer, ClusterPods, ClusterRule, Direction, IpBlock, Namespace,
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule, Node, NodeName, ObjectName, Pod, PodName,
    PodPort, PolicyTypes, Port, PortMatch, Protocol, RuleAction, Tier,
};
use crate::policy::{Delta, PolicyChange, Transport, Verdict};

use super::world::{Followed, World};

pub(super) fn name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

/// `app=a,tier=b`.
pub(super) fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(super) fn selector(text: &str) -> LabelSelector {
    LabelSelector::new(labels(text), Vec::new()).unwrap()
}

pub(super) fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
    let requirement = Requirement::parse(key, operator, values).unwrap();
    LabelSelector::new(BTreeMap::new(), vec![requirement]).unwrap()
}

pub(super) fn pod(at: &str, with: &str, ips: &[&str]) -> Pod {
    Pod {
        name: name(at),
        labels: labels(with),
        node: Some(NodeName::new("n1")),
        ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        ready: true,
        terminating: false,
        finished: false,
        host_network: false,
        ports: Vec::new(),
    }
}

pub(super) fn with_port(mut pod: Pod, name: &str, protocol: Protocol, number: u16) -> Pod {
    pod.ports.push(PodPort {
        name: name.into(),
        protocol,
        port: Port::new(number).unwrap(),
    });
    pod
}

/// Isolates the pods that `selecting` selects, and accepts nothing yet.
pub(super) fn policy(at: &str, selecting: &str) -> NetworkPolicy {
    NetworkPolicy {
        name: name(at),
        pod_selector: selector(selecting),
        policy_types: PolicyTypes {
            ingress: true,
            egress: false,
        },
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

pub(super) fn ingress(at: &str, selecting: &str, rules: Vec<NetworkPolicyRule>) -> NetworkPolicy {
    NetworkPolicy {
        ingress: rules,
        ..policy(at, selecting)
    }
}

pub(super) fn egress(at: &str, selecting: &str, rules: Vec<NetworkPolicyRule>) -> NetworkPolicy {
    NetworkPolicy {
        egress: rules,
        policy_types: PolicyTypes {
            ingress: false,
            egress: true,
        },
        ..policy(at, selecting)
    }
}

pub(super) fn rule(peers: Vec<NetworkPolicyPeer>, ports: Vec<PortMatch>) -> NetworkPolicyRule {
    NetworkPolicyRule { peers, ports }
}

pub(super) fn pods(of: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer::Pods {
        namespace_selector: None,
        pod_selector: Some(selector(of)),
    }
}

pub(super) fn namespaces(of: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer::Pods {
        namespace_selector: Some(selector(of)),
        pod_selector: None,
    }
}

pub(super) fn both(namespaces: &str, pods: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer::Pods {
        namespace_selector: Some(selector(namespaces)),
        pod_selector: Some(selector(pods)),
    }
}

pub(super) fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    NetworkPolicyPeer::IpBlock(IpBlock {
        cidr: cidr.parse().unwrap(),
        except: except.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    })
}

pub(super) fn ports(protocol: Protocol, first: u16, last: u16) -> PortMatch {
    PortMatch::Range {
        protocol,
        first: Port::new(first).unwrap(),
        last: Port::new(last).unwrap(),
    }
}

pub(super) fn tcp(port: u16) -> PortMatch {
    ports(Protocol::Tcp, port, port)
}

pub(super) fn named(name: &str, protocol: Option<Protocol>) -> PortMatch {
    PortMatch::Named {
        name: name.into(),
        protocol,
    }
}

/// For pods of all namespaces.
pub(super) fn cluster(name: &str, tier: Tier, priority: u16) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy {
        name: name.into(),
        tier,
        priority,
        subject: cluster_pods("", ""),
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

pub(super) fn cluster_pods(namespaces: &str, pods: &str) -> ClusterPods {
    ClusterPods {
        namespace_selector: selector(namespaces),
        pod_selector: selector(pods),
    }
}

pub(super) fn cluster_rule(action: RuleAction, peers: Vec<ClusterPeer>) -> ClusterRule {
    ClusterRule {
        name: None,
        action,
        peers,
        protocols: Vec::new(),
    }
}

/// Two nodes, this one `n1`; namespaces `x` of team a and `y` of team b; in each, pods `a` and `b` by the label `app`.
pub(super) struct Case {
    pub(super) followed: Followed,
}

impl Case {
    pub(super) fn new() -> Self {
        Self::of(World::new("n1", true))
    }

    pub(super) fn of(mut world: World) -> Self {
        for (name, team) in [("x", "a"), ("y", "b")] {
            let namespace = Namespace {
                name: name.into(),
                labels: labels(&format!("team={team}")),
            };
            world.namespaces.insert(name.into(), namespace);
        }
        for (name, zone) in [("n1", "a"), ("n2", "b")] {
            let node = Node {
                name: NodeName::new(name),
                labels: labels(&format!("zone={zone}")),
                addresses: vec![format!("192.168.0.{}", &name[1..]).parse().unwrap()],
            };
            world.nodes.insert(node.name.clone(), node);
        }
        let places = [("x/a", 1), ("x/b", 2), ("y/a", 3), ("y/b", 4)];
        for (at, host) in places {
            let ips = [format!("10.0.0.{host}"), format!("fd00::{host}")];
            let made = pod(at, &format!("app={}", &at[2..]), &[&ips[0], &ips[1]]);
            world.pods.insert(made.name.clone(), made);
        }
        Self {
            followed: Followed::new(world),
        }
    }

    pub(super) fn pod(&mut self, pod: Pod) -> Delta {
        self.followed
            .step(PolicyChange::Pod(pod.name.clone(), Some(pod)))
    }

    pub(super) fn policy(&mut self, policy: NetworkPolicy) -> Delta {
        let name = policy.name.clone();
        self.followed
            .step(PolicyChange::NetworkPolicy(name, Some(policy)))
    }

    pub(super) fn cluster(&mut self, policy: ClusterNetworkPolicy) -> Delta {
        let name = Arc::clone(&policy.name);
        self.followed
            .step(PolicyChange::ClusterNetworkPolicy(name, Some(policy)))
    }

    pub(super) fn get(&self, pod: &str) -> Pod {
        self.followed.world.pods[&name(pod)].clone()
    }

    /// The pod and the address that a text means: `x/a`, `x/a#6` for its IPv6 address, or an address.
    fn place(&self, text: &str) -> (Option<PodName>, IpAddr) {
        if let Ok(address) = text.parse() {
            return (None, address);
        }
        let (pod, v6) = match text.strip_suffix("#6") {
            Some(pod) => (name(pod), true),
            None => (name(text), false),
        };
        let ips = &self.followed.world.pods[&pod].ips;
        let address = ips.iter().find(|ip| ip.is_ipv6() == v6).unwrap();
        (Some(pod), *address)
    }

    /// Whether a packet gets out of its source and into its destination, as far as those are on this node; evaluator and tables
    /// must agree.
    pub(super) fn passes(&self, from: &str, to: &str, transport: Transport) -> bool {
        let (source, source_address) = self.place(from);
        let (destination, destination_address) = self.place(to);
        let ends = [
            (
                source,
                Direction::Egress,
                source_address,
                destination_address,
            ),
            (
                destination,
                Direction::Ingress,
                destination_address,
                source_address,
            ),
        ];
        ends.into_iter().all(|(pod, direction, own, peer)| {
            let here = |pod: &PodName| {
                let node = &self.followed.world.pods[pod].node;
                node.as_ref() == Some(&self.followed.world.settings.node)
            };
            let Some(pod) = pod.filter(here) else {
                return true;
            };
            let probe = (pod, direction, own, peer, transport);
            self.followed.check(&probe).unwrap();
            self.followed.decide(&probe).verdict == Verdict::Accept
        })
    }

    /// Asks for TCP.
    pub(super) fn tcp(&self, from: &str, to: &str, port: u16) -> bool {
        self.passes(from, to, Transport::Port(Protocol::Tcp, port))
    }

    pub(super) fn udp(&self, from: &str, to: &str, port: u16) -> bool {
        self.passes(from, to, Transport::Port(Protocol::Udp, port))
    }

    pub(super) fn icmp(&self, from: &str, to: &str) -> bool {
        self.passes(from, to, Transport::Other)
    }
}
