//! Who there is: identities of pods, namespaces and nodes, and the numbers they go by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Namespace, NamespaceLabels, Node, NodeName};
use crate::policy::table::PeerId;

use super::identity::{IdentityKey, NamedPort};
use super::numbers::Numbers;

/// Pods alike.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<IdentityKey>,
    /// The namespace's id.
    pub(super) namespace: PeerId,
    /// The id of its named ports, where it has any.
    pub(super) named_ports: Option<PeerId>,
    pods: usize,
}

/// A namespace that has pods, or an object, or both.
#[derive(Clone, Debug, Default)]
struct NamespaceEntry {
    labels: Option<BTreeMap<String, String>>,
    /// Given while it has identities.
    id: Option<PeerId>,
    identities: BTreeSet<PeerId>,
}

/// A node. This one is there whether its object is known or not.
#[derive(Clone, Debug)]
pub(super) struct NodeEntry {
    pub(super) id: PeerId,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// Everyone that policies may name by labels.
#[derive(Clone, Debug)]
pub(super) struct Population {
    numbers: Numbers,
    by_key: HashMap<Arc<IdentityKey>, PeerId>,
    identities: BTreeMap<PeerId, Identity>,
    namespaces: BTreeMap<Arc<str>, NamespaceEntry>,
    namespace_names: BTreeMap<PeerId, Arc<str>>,
    /// Named ports that identities have, with how many have them.
    ports: BTreeMap<Vec<NamedPort>, (PeerId, usize)>,
    ports_by_id: BTreeMap<PeerId, Vec<NamedPort>>,
    nodes: BTreeMap<NodeName, NodeEntry>,
    node_names: BTreeMap<PeerId, NodeName>,
    /// Identities that may have no pod any more.
    idle: BTreeSet<PeerId>,
    /// Numbers that the next tables no longer name.
    leaving: Vec<u32>,
    /// Who came, went or changed since selections were last settled.
    pub(super) dirty: BTreeSet<PeerId>,
}

impl Population {
    pub(super) fn new() -> Self {
        Self {
            numbers: Numbers::from(PeerId::FIRST),
            by_key: HashMap::new(),
            identities: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            namespace_names: BTreeMap::new(),
            ports: BTreeMap::new(),
            ports_by_id: BTreeMap::new(),
            nodes: BTreeMap::new(),
            node_names: BTreeMap::new(),
            idle: BTreeSet::new(),
            leaving: Vec::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// The identity of one more pod.
    pub(super) fn join(&mut self, key: IdentityKey) -> PeerId {
        let id = match self.by_key.get(&key) {
            Some(id) => *id,
            None => self.found(key),
        };
        if let Some(identity) = self.identities.get_mut(&id) {
            identity.pods += 1;
        }
        id
    }

    fn found(&mut self, key: IdentityKey) -> PeerId {
        let id = PeerId(self.numbers.take());
        let namespace = self
            .namespaces
            .entry(Arc::clone(&key.namespace))
            .or_default();
        namespace.identities.insert(id);
        let namespace = *namespace.id.get_or_insert_with(|| {
            let group = PeerId::of_namespace(self.numbers.take());
            self.namespace_names
                .insert(group, Arc::clone(&key.namespace));
            self.dirty.insert(group);
            group
        });
        let named_ports = (!key.ports.is_empty()).then(|| self.join_ports(&key.ports));
        let key = Arc::new(key);
        self.by_key.insert(Arc::clone(&key), id);
        let identity = Identity {
            key,
            namespace,
            named_ports,
            pods: 0,
        };
        self.identities.insert(id, identity);
        self.dirty.insert(id);
        id
    }

    /// The id of these ports, for one more identity.
    fn join_ports(&mut self, ports: &[NamedPort]) -> PeerId {
        if let Some((id, identities)) = self.ports.get_mut(ports) {
            *identities += 1;
            return *id;
        }
        let id = PeerId::of_named_ports(self.numbers.take());
        self.ports.insert(ports.to_vec(), (id, 1));
        self.ports_by_id.insert(id, ports.to_vec());
        self.dirty.insert(id);
        id
    }

    fn leave_ports(&mut self, ports: &[NamedPort]) {
        let Some((id, identities)) = self.ports.get_mut(ports) else {
            return;
        };
        *identities -= 1;
        if *identities == 0 {
            let id = *id;
            self.ports.remove(ports);
            self.ports_by_id.remove(&id);
            self.forget(id);
        }
    }

    /// A pod of this identity goes.
    pub(super) fn leave(&mut self, id: PeerId) {
        if let Some(identity) = self.identities.get_mut(&id) {
            identity.pods -= 1;
            if identity.pods == 0 {
                self.idle.insert(id);
            }
        }
    }

    /// Forgets identities without pods, and namespaces without identities. Their numbers stay taken until [`Population::rest`].
    pub(super) fn sweep(&mut self) {
        for id in std::mem::take(&mut self.idle) {
            let Some(identity) = self.identities.get(&id).filter(|found| found.pods == 0) else {
                continue;
            };
            let (key, group) = (Arc::clone(&identity.key), identity.namespace);
            self.identities.remove(&id);
            self.by_key.remove(&key);
            self.leave_ports(&key.ports);
            self.forget(id);
            let Some(namespace) = self.namespaces.get_mut(&key.namespace) else {
                continue;
            };
            namespace.identities.remove(&id);
            if namespace.identities.is_empty() {
                namespace.id = None;
                if namespace.labels.is_none() {
                    self.namespaces.remove(&key.namespace);
                }
                self.namespace_names.remove(&group);
                self.forget(group);
            }
        }
    }

    fn forget(&mut self, id: PeerId) {
        self.leaving.push(id.number());
        self.dirty.insert(id);
    }

    /// The tables are made: numbers of who left may be given again.
    pub(super) fn rest(&mut self) {
        for number in self.leaving.drain(..) {
            self.numbers.give_back(number);
        }
    }

    /// A namespace's labels, or that its object is gone. Whether they changed.
    pub(super) fn label_namespace(&mut self, name: &Arc<str>, new: Option<&Namespace>) -> bool {
        let labels = new.map(|namespace| namespace.labels.clone());
        let entry = self.namespaces.entry(Arc::clone(name)).or_default();
        let changed = entry.labels != labels;
        if changed {
            entry.labels = labels;
            self.dirty.extend(entry.id);
            self.dirty.extend(&entry.identities);
        }
        if entry.labels.is_none() && entry.id.is_none() {
            self.namespaces.remove(name);
        }
        changed
    }

    /// A node's object, or for this node that none is known. The addresses that it no longer has or now has.
    pub(super) fn put_node(&mut self, name: &NodeName, node: Option<&Node>) -> BTreeSet<IpAddr> {
        let labels = node.map_or_else(BTreeMap::new, |node| node.labels.clone());
        let addresses: BTreeSet<IpAddr> = node.map_or_else(BTreeSet::new, |node| {
            node.addresses.iter().copied().collect()
        });
        if let Some(entry) = self.nodes.get_mut(name) {
            if entry.labels != labels {
                entry.labels = labels;
                self.dirty.insert(entry.id);
            }
            let before = std::mem::replace(&mut entry.addresses, addresses.clone());
            return before.symmetric_difference(&addresses).copied().collect();
        }
        let id = PeerId(self.numbers.take());
        self.dirty.insert(id);
        self.node_names.insert(id, name.clone());
        let entry = NodeEntry {
            id,
            labels,
            addresses: addresses.clone(),
        };
        self.nodes.insert(name.clone(), entry);
        addresses
    }

    /// A node is gone. The addresses it had.
    pub(super) fn remove_node(&mut self, name: &NodeName) -> BTreeSet<IpAddr> {
        let Some(entry) = self.nodes.remove(name) else {
            return BTreeSet::new();
        };
        self.node_names.remove(&entry.id);
        self.forget(entry.id);
        entry.addresses
    }

    pub(super) fn identity(&self, id: PeerId) -> Option<&Identity> {
        self.identities.get(&id)
    }

    /// The named ports that some identities have.
    pub(super) fn named_ports(&self, id: PeerId) -> Option<&[NamedPort]> {
        self.ports_by_id.get(&id).map(Vec::as_slice)
    }

    /// All named ports that identities have.
    pub(super) fn ports_ids(&self) -> impl Iterator<Item = PeerId> {
        self.ports_by_id.keys().copied()
    }

    /// The name of a namespace that has pods.
    pub(super) fn namespace_of(&self, group: PeerId) -> Option<&Arc<str>> {
        self.namespace_names.get(&group)
    }

    /// The id of a namespace that has pods.
    pub(super) fn namespace_id(&self, name: &str) -> Option<PeerId> {
        self.namespaces.get(name).and_then(|entry| entry.id)
    }

    pub(super) fn identities_of(&self, namespace: &str) -> impl Iterator<Item = PeerId> {
        let entry = self.namespaces.get(namespace);
        entry
            .into_iter()
            .flat_map(|entry| entry.identities.iter().copied())
    }

    /// Namespaces that have pods.
    pub(super) fn namespace_ids(&self) -> impl Iterator<Item = (PeerId, &Arc<str>)> {
        self.namespace_names.iter().map(|(id, name)| (*id, name))
    }

    /// A namespace's labels as selectors see them.
    pub(super) fn labels_of<'a>(&'a self, namespace: &'a str) -> NamespaceLabels<'a> {
        NamespaceLabels {
            name: namespace,
            labels: self
                .namespaces
                .get(namespace)
                .and_then(|entry| entry.labels.as_ref()),
        }
    }

    pub(super) fn node(&self, name: &NodeName) -> Option<&NodeEntry> {
        self.nodes.get(name)
    }

    pub(super) fn node_name(&self, id: PeerId) -> Option<&NodeName> {
        self.node_names.get(&id)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.nodes.values()
    }
}
