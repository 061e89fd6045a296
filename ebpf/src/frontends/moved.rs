//! Flows that no longer match the tables: who keeps each, which frontends have such, and whether all has been told since a
//! frontend's node table changed last.
//!
//! The kernel looks a flow up here only for a frontend with [`FRONTEND_MOVED_FLOWS`]: an entry is written before its
//! frontend's flag, and taken away before it. The kernel takes an entry away by itself when a connection of the same ends
//! begins; what is believed of such an entry here is then more than there is, which costs nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::time::Instant;

use aya::maps::MapError;
use landfall_ebpf_abi::flow::FlowKey;
use landfall_ebpf_abi::service::{
    FRONTEND_AFFINITY, FRONTEND_EXTERNAL, FRONTEND_MOVED_FLOWS, FRONTEND_PREVIOUS,
    FRONTEND_UNSETTLED, Frontend, FrontendKey, SLOT_DRAINED, SlotTable,
};
use landfall_ebpf_abi::{hash, map};

use super::Frontends;
use crate::loader::{Hash, Loaded};

/// Entries that the map of moved flows has room for.
pub const ROOM: usize = 65_536;

/// Numbers the changes of node tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change(pub u64);

/// The map of moved flows, and what is counted of it.
pub(super) struct MovedFlows {
    map: Hash<FlowKey, u32>,
    entries: HashMap<FlowKey, u16>,
    /// Entries by frontend.
    counts: HashMap<FrontendKey, u32>,
    /// Whether peers tell what they keep: only then is it worth waiting for that.
    told: bool,
    last: Change,
}

impl MovedFlows {
    pub(super) fn take(loaded: &mut Loaded) -> Result<Self, MapError> {
        let map: Hash<FlowKey, u32> = loaded.take(map::MOVED_FLOWS);
        let mut entries = HashMap::new();
        let mut counts: HashMap<FrontendKey, u32> = HashMap::new();
        for entry in map.iter() {
            let (key, node) = entry?;
            entries.insert(key, node as u16);
            *counts.entry(frontend_of(&key)).or_default() += 1;
        }
        Ok(Self {
            map,
            entries,
            counts,
            told: false,
            last: Change::default(),
        })
    }
}

/// The frontend of a flow.
const fn frontend_of(key: &FlowKey) -> FrontendKey {
    FrontendKey::new(key.frontend, key.frontend_port, key.protocol)
}

/// What the node tables choose for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The node of this index; 0 is this one.
    Node(u16),
    /// None: no node has an endpoint ready.
    Nobody,
    /// The flow's address and port are no frontend that is reached from outside.
    NoFrontend,
}

/// A copy of all node tables, to be asked without holding the service table.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    frontends: HashMap<FrontendKey, (bool, SlotTable)>,
    tables: HashMap<SlotTable, Vec<u16>>,
}

impl Choices {
    /// What the present table chooses for a flow.
    pub fn of(&self, key: &FlowKey) -> Choice {
        let Some((by_client, table)) = self.frontends.get(&frontend_of(key)) else {
            return Choice::NoFrontend;
        };
        let slots = self.tables.get(table).map_or(&[][..], Vec::as_slice);
        if slots.is_empty() {
            return Choice::Nobody;
        }
        let place = hash::node_slot(hash::flow(key, *by_client), slots.len() as u32);
        Choice::Node(slots[place as usize] & !SLOT_DRAINED)
    }
}

impl Frontends {
    /// Notes that `node` keeps a flow, and has the kernel look for it. False where the map is full.
    ///
    /// # Errors
    /// The kernel's.
    pub fn keep_flow(&mut self, key: &FlowKey, node: u16) -> Result<bool, MapError> {
        let held = self.moved.entries.get(key);
        if held == Some(&node) {
            return Ok(true);
        }
        let new = held.is_none();
        if new && self.moved.entries.len() >= ROOM {
            return Ok(false);
        }
        self.moved.map.insert(*key, u32::from(node), 0)?;
        self.moved.entries.insert(*key, node);
        if !new {
            return Ok(true);
        }
        let frontend = frontend_of(key);
        let count = self.moved.counts.entry(frontend).or_default();
        *count += 1;
        if *count == 1 {
            self.rewrite(&frontend, |entry| entry.flags |= FRONTEND_MOVED_FLOWS)?;
        }
        Ok(true)
    }

    /// Forgets who keeps a flow.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_flow(&mut self, key: &FlowKey) -> Result<(), MapError> {
        if self.moved.entries.remove(key).is_none() {
            return Ok(());
        }
        // One that is not there any more was taken away by the kernel.
        let removed = self.moved.map.remove(key);
        if let Err(error) = removed
            && self.moved.map.get(key, 0).is_ok()
        {
            return Err(error);
        }
        let frontend = frontend_of(key);
        let Some(count) = self.moved.counts.get_mut(&frontend) else {
            return Ok(());
        };
        *count -= 1;
        if *count == 0 {
            self.moved.counts.remove(&frontend);
            self.rewrite(&frontend, |entry| entry.flags &= !FRONTEND_MOVED_FLOWS)?;
        }
        Ok(())
    }

    /// Flows that are noted, those that an earlier daemon left included, each with the index of the node that keeps it.
    pub fn kept_flows(&self) -> &HashMap<FlowKey, u16> {
        &self.moved.entries
    }

    /// Says whether peers tell what they keep. While none does, nothing waits for it.
    pub fn expect_telling(&mut self, told: bool) {
        self.moved.told = told;
    }

    /// The last change of any node table.
    pub fn last_change(&self) -> Change {
        self.moved.last
    }

    /// Whether a frontend waits for what nodes tell.
    pub fn is_unsettled(&self) -> bool {
        self.held.values().any(|held| held.unsettled.is_some())
    }

    /// Everything has been told for the tables as of `change`: those that have not changed since need no previous table.
    ///
    /// # Errors
    /// The kernel's; the rest remains unsettled.
    pub fn settle_told(&mut self, change: Change, now: Instant) -> Result<(), MapError> {
        for key in self.unsettled(|at, _| at <= change) {
            let mut previous = SlotTable::default();
            self.rewrite(&key, |entry| {
                previous = std::mem::take(&mut entry.previous_nodes);
                entry.flags &= !(FRONTEND_PREVIOUS | FRONTEND_UNSETTLED);
            })?;
            self.tables.release(previous, now);
            self.mark_settled(&key);
        }
        Ok(())
    }

    /// Nodes had until now to tell of changes up to `since`. Their frontends go on with the previous table, and wait no more.
    /// Gives their number.
    ///
    /// # Errors
    /// The kernel's; the rest remains unsettled.
    pub fn settle_untold(&mut self, since: Instant) -> Result<usize, MapError> {
        let late = self.unsettled(|_, at| at <= since);
        for key in &late {
            self.rewrite(key, |entry| entry.flags &= !FRONTEND_UNSETTLED)?;
            self.mark_settled(key);
        }
        Ok(late.len())
    }

    /// A copy of the node tables for flows from outside.
    ///
    /// # Errors
    /// The kernel's, while a table is read.
    pub fn choices(&self) -> Result<Choices, MapError> {
        let mut choices = Choices::default();
        for (key, held) in &self.held {
            let entry = &held.entry;
            if entry.flags & FRONTEND_EXTERNAL == 0 {
                continue;
            }
            if let Vacant(place) = choices.tables.entry(entry.nodes) {
                place.insert(self.tables.read(entry.nodes)?);
            }
            let by_client = entry.flags & FRONTEND_AFFINITY != 0;
            choices.frontends.insert(*key, (by_client, entry.nodes));
        }
        Ok(choices)
    }

    /// Completes an entry that is about to be written: its flags for moved flows, and whether its table is to settle.
    pub(super) fn unsettle(
        &mut self,
        key: &FrontendKey,
        entry: &mut Frontend,
        now: Instant,
    ) -> Option<(Change, Instant)> {
        if self.moved.counts.contains_key(key) {
            entry.flags |= FRONTEND_MOVED_FLOWS;
        }
        let before = self.held.get(key)?;
        let unsettled = if before.entry.nodes == entry.nodes {
            before.unsettled
        } else {
            self.moved.last = Change(self.moved.last.0 + 1);
            // The first change's time counts: a table that changes all the time must not wait for ever.
            let since = before.unsettled.map_or(now, |(_, since)| since);
            self.moved.told.then_some((self.moved.last, since))
        };
        if unsettled.is_some() {
            entry.flags |= FRONTEND_UNSETTLED;
        }
        unsettled
    }

    fn unsettled(&self, which: impl Fn(Change, Instant) -> bool) -> Vec<FrontendKey> {
        let held = self.held.iter().filter(|(_, held)| {
            held.unsettled
                .is_some_and(|(change, since)| which(change, since))
        });
        held.map(|(key, _)| *key).collect()
    }

    fn mark_settled(&mut self, key: &FrontendKey) {
        if let Some(held) = self.held.get_mut(key) {
            held.unsettled = None;
        }
    }

    /// Writes a frontend's entry changed, if there is such a frontend.
    fn rewrite(
        &mut self,
        key: &FrontendKey,
        change: impl FnOnce(&mut Frontend),
    ) -> Result<(), MapError> {
        let Some(held) = self.held.get_mut(key) else {
            return Ok(());
        };
        let mut entry = held.entry;
        change(&mut entry);
        if entry != held.entry {
            self.map.insert(key, entry, 0)?;
            held.entry = entry;
        }
        Ok(())
    }
}
