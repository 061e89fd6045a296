//! The services the allocator knows.
//!
//! Owns the one index by id: it is asked once for each service an event concerns, and everything after
//! that goes by [`Slot`]. Fed by the settling of services.

use std::collections::HashMap;

use super::settle::Entry;
use crate::request::ServiceId;

/// The place of a known service; another's once the service is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// All known services.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    slots: HashMap<ServiceId, Slot>,
    /// Boxed, so that one service more never has to move all the others.
    entries: Vec<Option<Box<Entry>>>,
    vacant: Vec<Slot>,
}

impl Services {
    /// Makes room for `count` services more.
    pub(super) fn reserve(&mut self, count: usize) {
        self.slots.reserve(count);
        self.entries.reserve(count);
    }

    /// Where the service `id` is.
    pub(super) fn slot(&self, id: &ServiceId) -> Option<Slot> {
        self.slots.get(id).copied()
    }

    /// The service at `slot`.
    pub(super) fn at(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.0)?.as_deref()
    }

    /// The service at `slot`, to be changed.
    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot.0)?.as_deref_mut()
    }

    /// The service `id`.
    pub(super) fn get(&self, id: &ServiceId) -> Option<&Entry> {
        self.at(self.slot(id)?)
    }

    /// Takes in a service that is not known yet.
    pub(super) fn insert(&mut self, entry: Entry) -> Slot {
        let id = entry.request.id.clone();
        let slot = match self.vacant.pop() {
            Some(slot) => slot,
            None => {
                self.entries.push(None);
                Slot(self.entries.len() - 1)
            }
        };
        self.entries[slot.0] = Some(Box::new(entry));
        let known = self.slots.insert(id, slot);
        debug_assert!(known.is_none(), "a service has one slot");
        slot
    }

    /// Forgets the service at `slot`.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot.0)?.take()?;
        self.slots.remove(&entry.request.id);
        self.vacant.push(slot);
        Some(*entry)
    }
}
