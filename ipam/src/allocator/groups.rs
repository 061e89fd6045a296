//! The address sets in use under each sharing key.
//!
//! Owns the index that lets a service join a whole set without looking at every sharer: services
//! with equal sets count once. Fed by the settling of services; feeds the choice of a set to join.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Sets in use by key: each with the number of services that have exactly it.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    sets: BTreeMap<String, BTreeMap<Vec<IpAddr>, usize>>,
}

impl Groups {
    /// One more service with `key` has exactly `set`, which is sorted. The empty set is not kept.
    pub(super) fn add(&mut self, key: &str, set: Vec<IpAddr>) {
        if set.is_empty() {
            return;
        }
        if !self.sets.contains_key(key) {
            self.sets.insert(key.to_owned(), BTreeMap::new());
        }
        if let Some(sets) = self.sets.get_mut(key) {
            *sets.entry(set).or_default() += 1;
        }
    }

    /// One service less with `key` has exactly `set`.
    pub(super) fn remove(&mut self, key: &str, set: &[IpAddr]) {
        let Some(sets) = self.sets.get_mut(key) else {
            return;
        };
        if let Some(count) = sets.get_mut(set) {
            *count -= 1;
            if *count == 0 {
                sets.remove(set);
            }
        }
        if sets.is_empty() {
            self.sets.remove(key);
        }
    }

    /// The sets in use under `key`, in the order of their addresses.
    pub(super) fn sets(&self, key: &str) -> impl Iterator<Item = &[IpAddr]> {
        self.sets
            .get(key)
            .into_iter()
            .flat_map(|sets| sets.keys().map(Vec::as_slice))
    }
}
