//! Random clusters out of few words, so that labels, names, prefixes and ports meet.

mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::{LabelSelector, Requirement};

use crate::model::{
    Direction, Namespace, Node, NodeName, ObjectName, Pod, PodPort, Port, Protocol,
};
use crate::policy::{PolicyChange, Transport};
use crate::simulation::Rng;

use super::world::{Probe, World};

const NAMESPACES: [&str; 3] = ["x", "y", "z"];
const NODES: [&str; 3] = ["n1", "n2", "n3"];
const CIDRS: [&str; 18] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.0/29",
    "10.0.0.4/30",
    "10.0.0.5/32",
    "10.0.0.2/31",
    "10.0.1.0/24",
    "192.168.0.0/24",
    "192.168.0.1/32",
    "8.8.8.0/24",
    "0.0.0.0/1",
    "::/0",
    "fd00::/16",
    "fd00::/64",
    "fd00::4/126",
    "fd00::3/128",
    "fd01::/64",
];
const PORTS: [u16; 10] = [1, 53, 79, 80, 81, 90, 443, 8080, 8081, 65535];
const PORT_NAMES: [&str; 3] = ["http", "dns", "web"];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// Chance with words.
pub(super) struct Dice {
    pub(super) rng: Rng,
    /// Whether rules for egress may name ports by name beside blocks.
    pub(super) names_in_blocks: bool,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            names_in_blocks: true,
        }
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.place(of.len())].clone()
    }

    fn maybe(&mut self, percent: u64) -> bool {
        self.rng.chance(percent * 100)
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.rng.place(most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    fn labels(&mut self, keys: &[&str]) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for key in keys {
            if self.maybe(70) {
                labels.insert((*key).to_owned(), self.one(&["a", "b"]).to_owned());
            }
        }
        labels
    }

    fn selector(&mut self, keys: &[&str]) -> LabelSelector {
        let mut labels = BTreeMap::new();
        let mut requirements = Vec::new();
        match self.rng.below(7) {
            0 | 1 => {}
            2..=4 => {
                labels.insert(self.one(keys).to_owned(), self.one(&["a", "b"]).to_owned());
            }
            _ => {
                let operator = self.one(&["In", "NotIn", "Exists", "DoesNotExist"]);
                let values: &[&str] = if operator.ends_with("In") {
                    self.one(&[&["a"][..], &["a", "b"], &["b", "c"]])
                } else {
                    &[]
                };
                let key = self.one(keys);
                requirements.push(Requirement::parse(key, operator, values).unwrap());
            }
        }
        LabelSelector::new(labels, requirements).unwrap()
    }

    fn pods_selector(&mut self) -> LabelSelector {
        self.selector(&["app", "tier"])
    }

    fn namespaces_selector(&mut self) -> LabelSelector {
        if self.maybe(15) {
            let name = self.one(&NAMESPACES).to_owned();
            let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name)]);
            return LabelSelector::new(labels, Vec::new()).unwrap();
        }
        self.selector(&["team", "env"])
    }

    /// An address that some pod may have, few enough that they meet.
    fn pod_address(&mut self, v6: bool) -> IpAddr {
        let host = 1 + self.rng.below(9);
        let text = match (v6, self.maybe(80)) {
            (true, _) => format!("fd00::{host}"),
            (false, true) => format!("10.0.0.{host}"),
            (false, false) => format!("10.0.1.{host}"),
        };
        text.parse().unwrap()
    }

    fn pod(&mut self, name: ObjectName) -> Pod {
        let host_network = self.maybe(8);
        let mut ips = Vec::new();
        if host_network {
            ips.push("192.168.0.1".parse().unwrap());
        } else {
            let families = self.one(&[(true, false), (true, true), (true, true), (false, true)]);
            ips.extend(families.0.then(|| self.pod_address(false)));
            ips.extend(families.1.then(|| self.pod_address(true)));
        }
        if self.maybe(8) {
            ips.clear();
        }
        Pod {
            name,
            labels: self.labels(&["app", "tier"]),
            node: self.maybe(95).then(|| NodeName::new(self.one(&NODES[..2]))),
            ips,
            ready: self.maybe(90),
            terminating: self.maybe(10),
            finished: self.maybe(8),
            host_network,
            ports: self.some(3, |dice| PodPort {
                name: dice.one(&PORT_NAMES).into(),
                protocol: dice.one(&PROTOCOLS),
                port: Port::new(dice.one(&PORTS)).unwrap(),
            }),
        }
    }

    fn node(&mut self, name: &str) -> Node {
        let number = &name[1..];
        let mut addresses = vec![format!("192.168.0.{number}").parse().unwrap()];
        if self.maybe(50) {
            addresses.push(format!("fd01::{number}").parse().unwrap());
        }
        if self.maybe(10) {
            addresses.push(self.pod_address(false));
        }
        Node {
            name: NodeName::new(name),
            labels: self.labels(&["zone"]),
            addresses,
        }
    }

    fn object_name(&mut self, prefix: &str, count: u64) -> ObjectName {
        let name = format!("{prefix}{}", self.rng.below(count));
        ObjectName::new(self.one(&NAMESPACES), name)
    }

    /// A change of any object; of ten pods of a namespace and the like, so that most exist before long.
    pub(super) fn change(&mut self, world: &World) -> PolicyChange {
        let gone = self.maybe(20);
        match self.rng.below(20) {
            0..=6 => {
                let name = self.object_name("p", 4);
                let pod = match world.pods.get(&name).cloned() {
                    // Most changes of a pod are of one thing.
                    Some(pod) if self.maybe(60) => self.touch(pod),
                    _ => self.pod(name.clone()),
                };
                PolicyChange::Pod(name, (!gone).then_some(pod))
            }
            7 | 8 => {
                let name: Arc<str> = self.one(&NAMESPACES).into();
                let labels = self.labels(&["team", "env"]);
                let namespace = Namespace {
                    name: Arc::clone(&name),
                    labels,
                };
                PolicyChange::Namespace(name, (!gone).then_some(namespace))
            }
            9 => {
                let name = self.one(&NODES);
                let node = self.node(name);
                PolicyChange::Node(NodeName::new(name), (!gone).then_some(node))
            }
            10 => {
                let own = ["10.0.0.254", "10.0.0.9", "192.168.0.1", "fd00::9"];
                let own = own.into_iter().filter(|_| self.maybe(25));
                PolicyChange::OwnAddresses(own.map(|text| text.parse().unwrap()).collect())
            }
            11..=16 => {
                let name = self.object_name("np", 4);
                let policy = self.network_policy(name.clone());
                PolicyChange::NetworkPolicy(name, (!gone).then_some(policy))
            }
            _ => {
                let name: Arc<str> = format!("c{}", self.rng.below(5)).into();
                let policy = self.cluster_policy(Arc::clone(&name));
                PolicyChange::ClusterNetworkPolicy(name, (!gone).then_some(policy))
            }
        }
    }

    fn touch(&mut self, mut pod: Pod) -> Pod {
        let other = self.pod(pod.name.clone());
        match self.rng.below(4) {
            0 => pod.labels = other.labels,
            1 => pod.ips = other.ips,
            2 => pod.ports = other.ports,
            _ => pod.finished = !pod.finished,
        }
        pod
    }

    /// A cluster of so many changes.
    pub(super) fn world(&mut self, changes: usize) -> World {
        let node = self.one(&NODES[..2]);
        let mut world = World::new(node, self.maybe(50));
        for _ in 0..changes {
            world.apply(self.change(&world));
        }
        world
    }

    /// Addresses worth asking about.
    pub(super) fn addresses(world: &World) -> Vec<IpAddr> {
        let mut addresses: BTreeSet<IpAddr> = world.own_addresses.clone();
        addresses.extend(world.pods.values().flat_map(|pod| &pod.ips));
        addresses.extend(world.nodes.values().flat_map(|node| &node.addresses));
        let others = [
            "8.8.8.8",
            "10.0.0.200",
            "10.0.0.6",
            "192.168.0.77",
            "200.0.0.1",
            "fd00::ff",
            "fd00::5",
            "2001:db8::1",
        ];
        addresses.extend(others.map(|text| text.parse::<IpAddr>().unwrap()));
        addresses.into_iter().collect()
    }

    pub(super) fn transport(&mut self) -> Transport {
        if self.maybe(10) {
            return Transport::Other;
        }
        let port = if self.maybe(10) {
            self.one(&[0, 2, 85, 54])
        } else {
            self.one(&PORTS)
        };
        Transport::Port(self.one(&PROTOCOLS), port)
    }

    /// Questions about pods of the world's node.
    pub(super) fn probes(&mut self, world: &World, count: usize) -> Vec<Probe> {
        let addresses = Self::addresses(world);
        let local = world.pods.values().filter(|pod| {
            pod.node.as_ref() == Some(&world.settings.node) && !pod.host_network && !pod.finished
        });
        let local: Vec<&Pod> = local.collect();
        if local.is_empty() {
            return Vec::new();
        }
        let mut probes = Vec::with_capacity(count);
        while probes.len() < count {
            let pod = local[self.rng.place(local.len())];
            let peer = self.one(&addresses);
            let own = pod.ips.iter().find(|own| own.is_ipv4() == peer.is_ipv4());
            let unspecified: IpAddr = "0.0.0.0".parse().unwrap();
            let own = own.copied().unwrap_or(unspecified);
            let direction = self.one(&[Direction::Ingress, Direction::Egress]);
            probes.push((pod.name.clone(), direction, own, peer, self.transport()));
        }
        probes
    }
}
