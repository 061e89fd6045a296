//! What has been told of the leases, and of the store: pure, so that every order of events can be tried.
//!
//! Two roads bring news of one lease, the watch and the answers to this node's own writes, and neither waits for the
//! other. The ledger puts them into the store's order by the one count that both have, the revision: what is older than
//! what was told is left out, above all the end of a lease that has been made anew since.
//!
//! # Knowing that nothing was missed, without asking
//!
//! A watch tells changes in the order of their revisions. So once it has told of this node's own renewal, written at
//! revision *r*, it has told of everything that was there when that write began: the [`Event::Synced`] of that moment. A
//! node renews each second anyway, and needs no list to know how fresh its view is. A renewal that the watch does not tell
//! of in time shows that the watch is stuck, though its connection may live.
//!
//! [`Event::Synced`]: landfall_core::election::Event::Synced

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use landfall_core::election::{Content, Event, LeaseName, Moment, Revision};

use super::error::ApiLeaseError;
use super::object::{Found, Version};
use crate::effect::lease::store::StoreEvent;

/// A watch that has not told of a write so long after it began is stuck.
const STUCK: Duration = Duration::from_secs(2);
/// Writes that wait for the watch at most; those after them wait for nothing.
const MARKS: usize = 16;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    leases: HashMap<LeaseName, Known>,
    /// Every change up to this revision has been told.
    passed: u64,
    /// The greatest revision that the server has named.
    greatest: u64,
    /// A write was done at a revision that the server had passed before: it has gone back.
    gone_back: bool,
    /// Writes of this node that the watch has not told of yet.
    marks: VecDeque<Mark>,
    /// The latest moment whose leases are all known.
    synced: Option<Moment>,
    reading: Option<String>,
    writing: Option<String>,
}

/// One lease that is there.
#[derive(Debug)]
struct Known {
    version: Version,
    /// It was observed at this version, and not only written.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    revision: u64,
    began: Moment,
}

/// What a trouble keeps from being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Reading,
    Writing,
}

impl Ledger {
    /// The version to name in a write that expects `revision`, where that is the latest one known.
    pub(super) fn version(&self, name: &LeaseName, revision: Revision) -> Option<Version> {
        let known = self.leases.get(name)?;
        (known.version.revision == revision.0).then(|| known.version.clone())
    }

    /// The watch has told of a lease.
    pub(super) fn changed(&mut self, found: Found) -> Option<StoreEvent> {
        if found.version.revision <= self.passed {
            return None;
        }
        self.observe(found)
    }

    /// A list has told of a lease.
    pub(super) fn listed(&mut self, found: Found) -> Option<StoreEvent> {
        let known = self.leases.get(&found.name);
        if known.is_some_and(|known| known.told && known.version == found.version) {
            return None;
        }
        self.observe(found)
    }

    fn observe(&mut self, found: Found) -> Option<StoreEvent> {
        let Found {
            name,
            version,
            content,
        } = found;
        let revision = version.revision;
        let known = self.leases.get(&name);
        if known.is_some_and(|known| known.version.revision > revision) {
            // Written by this node since; the watch will come to that.
            return None;
        }
        self.greatest = self.greatest.max(revision);
        let told = true;
        self.leases.insert(name.clone(), Known { version, told });
        Some(observed(name, Some(Revision(revision)), content))
    }

    /// The watch has told of the end of a lease, at `revision`.
    pub(super) fn ended(&mut self, name: LeaseName, revision: u64) -> Option<StoreEvent> {
        self.greatest = self.greatest.max(revision);
        if revision <= self.passed {
            return None;
        }
        self.forget(name, revision)
    }

    /// The list made at `revision` does not have the lease.
    pub(super) fn missed(&mut self, name: LeaseName, revision: u64) -> Option<StoreEvent> {
        self.forget(name, revision)
    }

    fn forget(&mut self, name: LeaseName, revision: u64) -> Option<StoreEvent> {
        let known = self.leases.get(&name)?;
        if known.version.revision > revision {
            // Made anew by this node since.
            return None;
        }
        self.leases.remove(&name);
        Some(observed(name, None, Content::Absent))
    }

    /// The names of all leases that are there.
    pub(super) fn names(&self) -> Vec<LeaseName> {
        self.leases.keys().cloned().collect()
    }

    /// A list begins, which will show whether the store went back. Gives the revision that it must have reached.
    pub(super) fn begin_list(&mut self) -> u64 {
        self.gone_back = false;
        self.greatest
    }

    /// A revision that every write begun from now on must go beyond.
    pub(super) fn greatest(&self) -> u64 {
        self.greatest
    }

    /// The store has gone back to `revision`: an etcd was restored from a backup. Whatever was known counts as ended; the
    /// caller tells of that first.
    pub(super) fn restart(&mut self, revision: u64) {
        self.leases.clear();
        self.marks.clear();
        self.passed = 0;
        self.greatest = revision;
        self.gone_back = false;
    }

    /// Whether the store is known to have gone back. A watch from a revision that it has yet to reach stays silent.
    pub(super) fn has_gone_back(&self) -> bool {
        self.gone_back
    }

    /// Everything up to `revision` has been told. Gives the moment whose leases are all known now, where there is news
    /// of it.
    pub(super) fn pass(&mut self, revision: u64) -> Option<StoreEvent> {
        self.passed = self.passed.max(revision);
        self.greatest = self.greatest.max(revision);
        let mut as_of = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.revision <= self.passed) {
            as_of = as_of.max(Some(mark.began));
        }
        self.sync(as_of?)
    }

    /// Everything that was there at `as_of` has been told.
    pub(super) fn sync(&mut self, as_of: Moment) -> Option<StoreEvent> {
        self.synced = self.synced.max(Some(as_of));
        Some(StoreEvent::Election(Event::Synced { as_of }))
    }

    /// Where the watch has to go on.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// This node has written a lease, which is at this version now.
    pub(super) fn written(&mut self, name: &LeaseName, version: Version) {
        self.greatest = self.greatest.max(version.revision);
        let known = self.leases.get(name);
        if known.is_none_or(|known| known.version.revision < version.revision) {
            let told = false;
            self.leases.insert(name.clone(), Known { version, told });
        }
    }

    /// A write that began at `began`, when `before` was the greatest revision, was done at `revision`: the watch will come
    /// to it, or has.
    pub(super) fn mark(&mut self, revision: u64, before: u64, began: Moment) -> Option<StoreEvent> {
        if revision <= before {
            self.gone_back = true;
            return None;
        }
        if revision <= self.passed {
            return self.sync(began);
        }
        if self.marks.len() < MARKS {
            self.marks.push_back(Mark { revision, began });
        }
        None
    }

    /// Whether the watch, open since then, should have told of a write long ago.
    pub(super) fn is_stuck(&self, open_since: Moment, now: Moment) -> bool {
        let oldest = self.marks.front();
        oldest.is_some_and(|mark| now.since(mark.began.max(open_since)) > STUCK)
    }

    /// The latest moment whose leases are all known.
    pub(super) fn synced(&self) -> Option<Moment> {
        self.synced
    }

    /// Something could not be done. Told once for each kind of trouble.
    pub(super) fn trouble(&mut self, doing: Doing, error: ApiLeaseError) -> Option<StoreEvent> {
        let kind = Some(error.kind());
        let told = self.reading == kind || self.writing == kind;
        *self.troubled(doing) = kind;
        (!told).then(|| StoreEvent::Trouble(error.into()))
    }

    /// It could be done.
    pub(super) fn well(&mut self, doing: Doing) -> Option<StoreEvent> {
        let was = self.troubled(doing).take();
        let is_well = self.reading.is_none() && self.writing.is_none();
        (was.is_some() && is_well).then_some(StoreEvent::Recovered)
    }

    fn troubled(&mut self, doing: Doing) -> &mut Option<String> {
        match doing {
            Doing::Reading => &mut self.reading,
            Doing::Writing => &mut self.writing,
        }
    }
}

pub(super) fn observed(
    name: LeaseName,
    revision: Option<Revision>,
    content: Content,
) -> StoreEvent {
    StoreEvent::Election(Event::Observed {
        name,
        revision,
        content,
    })
}

#[cfg(test)]
mod tests;
