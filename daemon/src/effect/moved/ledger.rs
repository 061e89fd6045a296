//! What this node keeps and what peers say they keep; what follows for the kernel's map; and when all has been told.
//!
//! Pure: tellings and scans go in, changes to the map come out.

use std::collections::{HashMap, HashSet};

use landfall_core::model::NodeName;
use landfall_ebpf::abi::flow::FlowKey;
use landfall_ebpf::frontends::Change;

use super::codec::{Fingerprint, Item};

/// A change to the kernel's map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The flow is kept by a node; this one is `None`.
    Kept(FlowKey, Option<NodeName>),
    /// Nobody keeps it out of turn.
    Nobody(FlowKey),
}

/// What a peer has told.
#[derive(Debug, Default)]
struct Told {
    flows: HashSet<FlowKey>,
    /// Told in a stream before the present one, and not again so far.
    stale: HashSet<FlowKey>,
    /// The tables it goes by, and whether it saw every node do so.
    tables: Option<(Fingerprint, bool)>,
}

/// Everything that is known of moved flows.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    own: HashSet<FlowKey>,
    told: HashMap<NodeName, Told>,
    /// Who keeps each flow: whoever said so last.
    keepers: HashMap<FlowKey, Option<NodeName>>,
    /// This node's tables, and the last change in them.
    tables: Option<(Fingerprint, Change)>,
    /// Whether own flows were looked through by these tables; and again since every node goes by them.
    looked: bool,
    looked_again: bool,
}

impl Ledger {
    /// This node goes by other tables from now on.
    pub(super) fn set_tables(&mut self, print: Fingerprint, change: Change) {
        let same = self.tables.is_some_and(|(held, _)| held == print);
        if !same {
            (self.looked, self.looked_again) = (false, false);
        }
        self.tables = Some((print, change));
    }

    /// Takes what a look through the own flows has found: all that are elsewhere by the present tables. Gives what to tell.
    pub(super) fn set_own(
        &mut self,
        found: HashSet<FlowKey>,
        again: bool,
        out: &mut Vec<Entry>,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        let before = std::mem::take(&mut self.own);
        for key in found.difference(&before) {
            items.push(Item::Keeps(*key));
            self.keep(*key, None, out);
        }
        self.own = found;
        for key in before.difference(&self.own).copied().collect::<Vec<_>>() {
            items.push(Item::Ended(key));
            self.end(&key, None, out);
        }
        if let Some((print, _)) = self.tables {
            let news = !self.looked || (again && !self.looked_again);
            self.looked = true;
            self.looked_again |= again;
            if news {
                items.push(Item::Tables {
                    print,
                    all: self.looked_again,
                });
            }
        }
        items
    }

    /// All that is to be told to a peer from the beginning.
    pub(super) fn everything(&self) -> Vec<Item> {
        let mut items: Vec<Item> = self.own.iter().copied().map(Item::Keeps).collect();
        if let Some((print, _)) = self.tables.filter(|_| self.looked) {
            let all = self.looked_again;
            items.push(Item::Tables { print, all });
        }
        items
    }

    /// A peer's stream begins anew: what it told before counts until it has told its tables again.
    pub(super) fn begin(&mut self, peer: &NodeName) {
        let told = self.told.entry(peer.clone()).or_default();
        told.stale.extend(told.flows.drain());
        told.tables = None;
    }

    /// Takes what a peer tells.
    pub(super) fn take(&mut self, peer: &NodeName, items: &[Item], out: &mut Vec<Entry>) {
        for item in items {
            match item {
                Item::Keeps(key) => {
                    let told = self.told.entry(peer.clone()).or_default();
                    // What was known is not written again: the kernel may have taken it away for a later connection.
                    let known = told.stale.remove(key);
                    if told.flows.insert(*key) && !known {
                        self.keep(*key, Some(peer), out);
                    }
                }
                Item::Ended(key) => {
                    let told = self.told.entry(peer.clone()).or_default();
                    told.stale.remove(key);
                    if told.flows.remove(key) {
                        self.end(key, Some(peer), out);
                    }
                }
                Item::Tables { print, all } => {
                    let told = self.told.entry(peer.clone()).or_default();
                    told.tables = Some((*print, *all));
                    for key in std::mem::take(&mut told.stale) {
                        self.end(&key, Some(peer), out);
                    }
                }
            }
        }
    }

    /// A peer is dead or gone, and its flows with it.
    pub(super) fn forget(&mut self, peer: &NodeName, out: &mut Vec<Entry>) {
        let Some(told) = self.told.remove(peer) else {
            return;
        };
        for key in told.flows.union(&told.stale) {
            self.end(key, Some(peer), out);
        }
    }

    /// Whether this node has told that it keeps a flow.
    pub(super) fn has_own(&self, key: &FlowKey) -> bool {
        self.own.contains(key)
    }

    /// Peers that have told something.
    pub(super) fn tellers(&self) -> impl Iterator<Item = &NodeName> {
        self.told.keys()
    }

    /// Whether all of `peers` go by this node's tables, so that it may look through its flows for the last time.
    pub(super) fn all_go_by_the_tables<'a>(
        &self,
        peers: impl IntoIterator<Item = &'a NodeName>,
    ) -> bool {
        self.looked && self.agreed(peers, |_| true)
    }

    /// The change up to which everything has been told by all of `peers`, once it has.
    pub(super) fn settled<'a>(
        &self,
        peers: impl IntoIterator<Item = &'a NodeName>,
    ) -> Option<Change> {
        let settled = self.looked_again && self.agreed(peers, |all| all);
        self.tables.filter(|_| settled).map(|(_, change)| change)
    }

    /// Flows of this node that the tables say are elsewhere, and those that peers keep.
    pub(super) fn counts(&self) -> (usize, usize) {
        (
            self.own.len(),
            self.told.values().map(|told| told.flows.len()).sum(),
        )
    }

    /// Whether own flows have been looked through again, with every node going by the present tables.
    pub(super) fn has_looked_again(&self) -> bool {
        self.looked_again
    }

    /// Who keeps a flow, if anybody out of turn.
    pub(super) fn keeper(&self, key: &FlowKey) -> Option<&Option<NodeName>> {
        self.keepers.get(key)
    }

    fn agreed<'a>(
        &self,
        peers: impl IntoIterator<Item = &'a NodeName>,
        which: impl Fn(bool) -> bool,
    ) -> bool {
        let Some((own, _)) = self.tables else {
            return false;
        };
        peers.into_iter().all(|peer| {
            let tables = self.told.get(peer).and_then(|told| told.tables);
            tables.is_some_and(|(print, all)| print == own && which(all))
        })
    }

    fn keep(&mut self, key: FlowKey, keeper: Option<&NodeName>, out: &mut Vec<Entry>) {
        let before = self.keepers.insert(key, keeper.cloned());
        if before.as_ref().map(Option::as_ref) != Some(keeper) {
            out.push(Entry::Kept(key, keeper.cloned()));
        }
    }

    /// One node keeps the flow no more; another may say that it does, too.
    fn end(&mut self, key: &FlowKey, keeper: Option<&NodeName>, out: &mut Vec<Entry>) {
        if self.keepers.get(key).map(Option::as_ref) != Some(keeper) {
            return;
        }
        let other = self.told.iter().find(|(_, told)| told.flows.contains(key));
        let other = other.map(|(name, _)| Some(name.clone()));
        let other = other.or_else(|| self.own.contains(key).then_some(None));
        match other {
            Some(other) => {
                out.push(Entry::Kept(*key, other.clone()));
                self.keepers.insert(*key, other);
            }
            None => {
                out.push(Entry::Nobody(*key));
                self.keepers.remove(key);
            }
        }
    }
}
