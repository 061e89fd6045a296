//! A cluster with a compiler that follows it, and the kernel's maps as its writes leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    ClusterNetworkPolicy, Direction, Namespace, NetworkPolicy, Node, NodeName, ObjectName, Pod,
    PodName,
};
use crate::policy::{
    Compiler, Decider, Decision, Delta, Evaluation, Objects, PolicyChange, PolicyRef,
    PolicySettings, PolicyTables, Transport, evaluate,
};

/// The objects of a cluster.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) settings: PolicySettings,
    pub(super) pods: BTreeMap<PodName, Pod>,
    pub(super) namespaces: BTreeMap<Arc<str>, Namespace>,
    pub(super) nodes: BTreeMap<NodeName, Node>,
    pub(super) own_addresses: BTreeSet<IpAddr>,
    pub(super) network_policies: BTreeMap<ObjectName, NetworkPolicy>,
    pub(super) cluster_policies: BTreeMap<Arc<str>, ClusterNetworkPolicy>,
}

/// A question: the pod, its direction, its address, the peer's, and what is sent.
pub(super) type Probe = (PodName, Direction, IpAddr, IpAddr, Transport);

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl World {
    pub(super) fn new(node: &str, egress_to_own_node: bool) -> Self {
        Self {
            settings: PolicySettings {
                node: NodeName::new(node),
                egress_to_own_node,
            },
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            nodes: BTreeMap::new(),
            own_addresses: BTreeSet::new(),
            network_policies: BTreeMap::new(),
            cluster_policies: BTreeMap::new(),
        }
    }

    pub(super) fn apply(&mut self, change: PolicyChange) {
        match change {
            PolicyChange::Pod(name, pod) => put(&mut self.pods, name, pod),
            PolicyChange::Namespace(name, new) => put(&mut self.namespaces, name, new),
            PolicyChange::Node(name, node) => put(&mut self.nodes, name, node),
            PolicyChange::OwnAddresses(addresses) => self.own_addresses = addresses,
            PolicyChange::NetworkPolicy(name, new) => put(&mut self.network_policies, name, new),
            PolicyChange::ClusterNetworkPolicy(name, new) => {
                put(&mut self.cluster_policies, name, new);
            }
        }
    }

    /// The changes that make this cluster of nothing.
    pub(super) fn changes(&self) -> Vec<PolicyChange> {
        let mut changes = vec![PolicyChange::OwnAddresses(self.own_addresses.clone())];
        for (name, pod) in &self.pods {
            changes.push(PolicyChange::Pod(name.clone(), Some(pod.clone())));
        }
        for (name, namespace) in &self.namespaces {
            let new = Some(namespace.clone());
            changes.push(PolicyChange::Namespace(Arc::clone(name), new));
        }
        for (name, node) in &self.nodes {
            changes.push(PolicyChange::Node(name.clone(), Some(node.clone())));
        }
        for (name, policy) in &self.network_policies {
            let new = Some(policy.clone());
            changes.push(PolicyChange::NetworkPolicy(name.clone(), new));
        }
        for (name, policy) in &self.cluster_policies {
            let new = Some(policy.clone());
            changes.push(PolicyChange::ClusterNetworkPolicy(Arc::clone(name), new));
        }
        changes
    }

    pub(super) fn objects(&self) -> Objects<'_> {
        Objects {
            settings: &self.settings,
            pods: &self.pods,
            namespaces: &self.namespaces,
            nodes: &self.nodes,
            own_addresses: &self.own_addresses,
            network_policies: &self.network_policies,
            cluster_policies: &self.cluster_policies,
        }
    }

    pub(super) fn evaluate(&self, probe: &Probe) -> Option<Evaluation> {
        let (pod, direction, _, peer, transport) = probe;
        evaluate(&self.objects(), pod, *direction, *peer, *transport)
    }
}

/// A cluster, its node's compiler, and the maps that only the compiler's writes have filled.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) world: World,
    pub(super) compiler: Compiler,
    pub(super) maps: PolicyTables,
}

impl Followed {
    pub(super) fn new(world: World) -> Self {
        let mut compiler = Compiler::new(world.settings.clone());
        for change in world.changes() {
            compiler.fold(change);
        }
        let mut followed = Self {
            world,
            compiler,
            maps: PolicyTables::default(),
        };
        followed.compile();
        followed
    }

    pub(super) fn change(&mut self, change: PolicyChange) {
        self.compiler.fold(change.clone());
        self.world.apply(change);
    }

    pub(super) fn compile(&mut self) -> Delta {
        let delta = self.compiler.compile();
        for operation in delta.operations.clone() {
            self.maps.apply(operation);
        }
        delta
    }

    /// One change, compiled.
    pub(super) fn step(&mut self, change: PolicyChange) -> Delta {
        self.change(change);
        self.compile()
    }

    pub(super) fn decide(&self, probe: &Probe) -> Decision {
        let (pod, direction, own, peer, transport) = probe;
        let found = self.maps.lookup(pod, *direction, *own, *peer, *transport);
        self.compiler.explain(found)
    }

    /// Both answers to one question must be the same. Of several NetworkPolicies' rules that accept, any one may be named.
    pub(super) fn check(&self, probe: &Probe) -> Result<(), String> {
        let Some(right) = self.world.evaluate(probe) else {
            return Ok(());
        };
        let got = self.decide(probe);
        let same = match (&got.by, &right.decision.by) {
            (Decider::Rule(got), Decider::Rule(_))
                if matches!(got.policy, PolicyRef::NetworkPolicy(_)) =>
            {
                right.accepting.contains(got)
            }
            // A direction to which nothing applies has no set, and its lookups end there.
            (Decider::Default, Decider::Itself | Decider::OwnNode) => true,
            (got, right) => got == right,
        };
        if same && got.verdict == right.decision.verdict {
            return Ok(());
        }
        Err(format!(
            "{probe:?}: compiled to {got}, but {}",
            right.decision
        ))
    }
}
