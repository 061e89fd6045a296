//! Selectors of rules and whom they select now. Each selector is kept once, whatever the number of rules that have it, and is
//! matched against those who come, go or change, never against everyone twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use landfall_ipam::LabelSelector;

use crate::policy::table::{PeerId, SetId};

use super::numbers::Numbers;
use super::population::Population;

/// Namespaces: one by name, or all that a selector selects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    Named(Arc<str>),
    Selected(LabelSelector),
}

/// Whom a rule names by labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Selection {
    /// All pods of namespaces. Its members are namespaces.
    Namespaces(Scope),
    /// Pods by their own labels, and with a port of this name where one is given. Its members are identities.
    Pods {
        scope: Scope,
        pods: LabelSelector,
        port: Option<Arc<str>>,
    },
    /// All pods with a port of this name. Its members are named ports.
    Ports(Arc<str>),
    /// Nodes.
    Nodes(LabelSelector),
}

/// A selection's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SelectionId(u32);

#[derive(Clone, Debug)]
struct Entry {
    selection: Arc<Selection>,
    members: BTreeSet<PeerId>,
    users: BTreeSet<SetId>,
}

/// All selections of all sets.
#[derive(Clone, Debug)]
pub(super) struct Selections {
    numbers: Numbers,
    by_key: HashMap<Arc<Selection>, SelectionId>,
    entries: BTreeMap<SelectionId, Entry>,
    /// Those that can only select in one namespace.
    local: HashMap<Arc<str>, BTreeSet<SelectionId>>,
    /// The others.
    wide: BTreeSet<SelectionId>,
}

impl Selection {
    fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Namespaces(scope) | Self::Pods { scope, .. } => Some(scope),
            Self::Ports(_) | Self::Nodes(_) => None,
        }
    }

    fn namespace(&self) -> Option<&Arc<str>> {
        match self.scope() {
            Some(Scope::Named(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether it selects this peer; never one that is gone.
    fn selects(&self, peer: PeerId, population: &Population) -> bool {
        match self {
            Self::Nodes(selector) => population
                .node_name(peer)
                .and_then(|name| population.node(name))
                .is_some_and(|node| selector.matches(&node.labels)),
            Self::Ports(name) => population
                .named_ports(peer)
                .is_some_and(|ports| ports.iter().any(|port| port.name == *name)),
            Self::Namespaces(scope) => population
                .namespace_of(peer)
                .is_some_and(|name| scope.holds(name, population)),
            Self::Pods { scope, pods, port } => population.identity(peer).is_some_and(|identity| {
                let key = &identity.key;
                port.as_ref()
                    .is_none_or(|port| key.resolve(port, None).next().is_some())
                    && pods.matches(&key.labels)
                    && scope.holds(&key.namespace, population)
            }),
        }
    }

    /// Everyone it selects.
    fn members(&self, population: &Population) -> BTreeSet<PeerId> {
        let selected = |peer: &PeerId| self.selects(*peer, population);
        match self {
            Self::Nodes(_) => population
                .nodes()
                .map(|node| node.id)
                .filter(selected)
                .collect(),
            Self::Ports(_) => population.ports_ids().filter(selected).collect(),
            Self::Namespaces(scope) => scope
                .namespaces(population)
                .into_iter()
                .map(|(id, _)| id)
                .collect(),
            Self::Pods { scope, .. } => {
                let namespaces = scope.namespaces(population);
                let identities = namespaces
                    .into_iter()
                    .flat_map(|(_, name)| population.identities_of(name));
                identities.filter(selected).collect()
            }
        }
    }
}

impl Scope {
    fn holds(&self, namespace: &str, population: &Population) -> bool {
        match self {
            Self::Named(name) => **name == *namespace,
            Self::Selected(selector) => selector.matches(&population.labels_of(namespace)),
        }
    }

    /// Those that have pods.
    fn namespaces<'a>(&'a self, population: &'a Population) -> Vec<(PeerId, &'a str)> {
        match self {
            Self::Named(name) => {
                let id = population.namespace_id(name);
                id.map(|id| (id, &**name)).into_iter().collect()
            }
            Self::Selected(_) => population
                .namespace_ids()
                .map(|(id, name)| (id, &**name))
                .filter(|(_, name)| self.holds(name, population))
                .collect(),
        }
    }
}

impl Selections {
    pub(super) fn new() -> Self {
        Self {
            numbers: Numbers::from(0),
            by_key: HashMap::new(),
            entries: BTreeMap::new(),
            local: HashMap::new(),
            wide: BTreeSet::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of a selection, matched against everyone if it is new. It must be given to [`Selections::register`].
    pub(super) fn find(&mut self, selection: Selection, population: &Population) -> SelectionId {
        if let Some(id) = self.by_key.get(&selection) {
            return *id;
        }
        let id = SelectionId(self.numbers.take());
        match selection.namespace() {
            Some(namespace) => self
                .local
                .entry(Arc::clone(namespace))
                .or_default()
                .insert(id),
            None => self.wide.insert(id),
        };
        let selection = Arc::new(selection);
        self.by_key.insert(Arc::clone(&selection), id);
        let entry = Entry {
            members: selection.members(population),
            users: BTreeSet::new(),
            selection,
        };
        self.entries.insert(id, entry);
        id
    }

    /// A set uses these.
    pub(super) fn register(&mut self, used: &BTreeSet<SelectionId>, set: SetId) {
        for id in used {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.users.insert(set);
            }
        }
    }

    /// A set no longer uses these; those that no set uses are dropped.
    pub(super) fn release(&mut self, used: impl IntoIterator<Item = SelectionId>, set: SetId) {
        for id in used {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            entry.users.remove(&set);
            if !entry.users.is_empty() {
                continue;
            }
            let selection = Arc::clone(&entry.selection);
            self.entries.remove(&id);
            self.by_key.remove(&selection);
            self.wide.remove(&id);
            if let Some(namespace) = selection.namespace()
                && let Some(local) = self.local.get_mut(namespace)
            {
                local.remove(&id);
                if local.is_empty() {
                    self.local.remove(namespace);
                }
            }
            self.numbers.give_back(id.0);
        }
    }

    pub(super) fn members(&self, id: SelectionId) -> impl Iterator<Item = PeerId> {
        let entry = self.entries.get(&id);
        entry
            .into_iter()
            .flat_map(|entry| entry.members.iter().copied())
    }

    pub(super) fn selects(&self, id: SelectionId, peer: PeerId) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|entry| entry.members.contains(&peer))
    }

    /// Matches those who came, went or changed. What was found: each set whose rules now see a peer otherwise, with that peer.
    pub(super) fn settle(&mut self, population: &mut Population) -> BTreeSet<(SetId, PeerId)> {
        let mut touched = BTreeSet::new();
        for peer in std::mem::take(&mut population.dirty) {
            let namespace = population.namespace_of(peer).cloned().or_else(|| {
                let identity = population.identity(peer)?;
                Some(Arc::clone(&identity.key.namespace))
            });
            // One that is gone may be a member anywhere.
            let ids: Vec<SelectionId> = match &namespace {
                Some(name) => {
                    let local = self.local.get(name).into_iter().flatten();
                    local.chain(&self.wide).copied().collect()
                }
                None => self.entries.keys().copied().collect(),
            };
            for id in ids {
                let Some(entry) = self.entries.get_mut(&id) else {
                    continue;
                };
                let selects = entry.selection.selects(peer, population);
                let changed = if selects {
                    entry.members.insert(peer)
                } else {
                    entry.members.remove(&peer)
                };
                if !changed {
                    continue;
                }
                for set in &entry.users {
                    touched.insert((*set, peer));
                    // What a namespace's pods share is part of what each of them is told.
                    if let Some(name) = population.namespace_of(peer) {
                        touched.extend(population.identities_of(name).map(|pod| (*set, pod)));
                    }
                }
            }
        }
        touched
    }
}
