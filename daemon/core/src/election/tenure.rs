//! This node's own lease: renewing it, taking it over from the process before, starting a new term after
//! a fence.
//!
//! **When a term goes on.** The node's kernel answers under a term, so the term goes on as long as it is
//! certain that no peer ended it: a renewal by expected revision on an unfenced lease proves that, even
//! after the deadline passed, and so does a restarted agent's first write on the lease of the process
//! before, when both ran on the same kernel ([`BootId`](super::record::BootId)). That agent may go on
//! holding the node's service leases without a gap: it is the same kernel that answers, not two.
//!
//! **When a term ends.** Fenced, refused by the [ground](super::ground), deleted after the deadline,
//! unreadable to a new process, or left by a machine that has rebooted. The node then falls silent first (deadline to nothing, answer table
//! emptied and confirmed) and only then writes the next term; so whoever reads the next term knows that
//! nothing is answered under the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ground::{Ground, Lapse, PeerLease};
use super::moment::Moment;
use super::record::{Incarnation, NodeLease, Revision, Term};
use super::settings::{Identity, Settings};
use super::table::{LeaseTable, Seen};

/// Where the node stands with its own lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// No lease yet, or none any more: nothing may be held.
    #[default]
    Outside,
    /// The lease is held in this term.
    Inside(Term),
    /// A newer agent of this node, on this kernel, has taken over; this one writes nothing more.
    Superseded,
    /// Another machine renews the lease of this node's name.
    NameTaken,
}

/// What to do about the own lease now.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing until then (or until news comes).
    Wait(Option<Moment>),
    /// Fall silent, then ask again.
    Silence,
    /// Write this at the expected revision. Its bequests are those known; the caller adds what there is to add.
    Write(Option<Revision>, NodeLease),
}

/// What the step is decided from.
#[derive(Debug)]
pub(super) struct Around<'a, G> {
    pub(super) me: &'a Identity,
    pub(super) settings: &'a Settings,
    pub(super) table: &'a LeaseTable,
    pub(super) ground: &'a G,
    pub(super) payload: &'a Arc<str>,
}

impl<G> Clone for Around<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Around<'_, G> {}

#[derive(Debug)]
pub(super) struct Tenure {
    pub(super) membership: Membership,
    /// When the present membership began.
    pub(super) since: Moment,
    /// Whether the node is known to answer nothing, as a new term demands.
    pub(super) silent: bool,
    /// After resuming a term, until it is renewed: the processes before, whose lease it is.
    writers: BTreeSet<Incarnation>,
    /// The renewal first seen of another machine that has this node's name, or had it.
    stranger: Option<(Incarnation, u64)>,
    renewals: u64,
    /// When the last successful renewal was known.
    pub(super) renewed_at: Moment,
    /// When the writes of recent renewals began, by count, to recognise one whose answer was lost.
    started: BTreeMap<u64, Moment>,
    /// When the write under way began.
    writing_since: Option<Moment>,
    next_at: Moment,
    /// News in the payload came while a write was under way.
    hurried: bool,
    failures: u32,
}

/// A lost answer is recognised among this many of the latest attempts.
const REMEMBERED: usize = 32;

impl Tenure {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            membership: Membership::Outside,
            since: now,
            silent: false,
            writers: BTreeSet::new(),
            stranger: None,
            renewals: 0,
            renewed_at: now,
            started: BTreeMap::new(),
            writing_since: None,
            next_at: now,
            hurried: false,
            failures: 0,
        }
    }

    /// The term, while there is one.
    pub(super) fn term(&self) -> Option<Term> {
        match self.membership {
            Membership::Inside(term) => Some(term),
            _ => None,
        }
    }

    /// Goes on in a term of the processes `writers` of this node, by what the node remembers.
    pub(super) fn resume(&mut self, term: Term, writers: BTreeSet<Incarnation>, now: Moment) {
        self.writers = writers;
        self.enter(Membership::Inside(term), now);
    }

    /// Whether this process has written `lease`, or one whose term it goes on in.
    fn is_own(&self, lease: &NodeLease, me: &Identity) -> bool {
        lease.incarnation == me.incarnation
            || (self.term() == Some(lease.term) && self.writers.contains(&lease.incarnation))
    }

    /// Whether a write of the own lease is waited for.
    pub(super) fn is_writing(&self) -> bool {
        self.writing_since.is_some()
    }

    /// Whether the last write of the own lease was done, as far as is known.
    pub(super) fn is_writable(&self) -> bool {
        self.failures == 0
    }

    /// Writes the lease now, or as soon as the write under way has ended: there is something new in it.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.next_at = self.next_at.min(now);
        // The write under way tells the old news.
        self.hurried = self.writing_since.is_some();
    }

    /// Decides the next step. `resign` asks for the last write: the node's own fence.
    pub(super) fn step(
        &mut self,
        around: &Around<'_, impl Ground>,
        resign: bool,
        now: Moment,
    ) -> Step {
        let Around {
            me,
            settings,
            table,
            ground,
            payload,
        } = *around;
        if self.membership == Membership::Superseded {
            return Step::Wait(None);
        }
        let own = table.node(&me.node);
        let record = own.and_then(Seen::present);
        let lost =
            record.is_some_and(|record| record.fenced_by.is_some() || !self.is_own(record, me));
        let lost = lost || ground.is_refused();
        if let (Some(term), true) = (self.term(), lost) {
            let newer = record.is_some_and(|r| {
                let known =
                    r.incarnation == me.incarnation || self.writers.contains(&r.incarnation);
                r.boot == me.boot && !known
            });
            if newer && record.is_some_and(|record| record.term >= term) {
                self.enter(Membership::Superseded, now);
                return Step::Wait(None);
            }
            self.enter(Membership::Outside, now);
            self.next_at = now;
        }
        if let Some(began) = self.writing_since {
            let until = began + settings.lease_renew_deadline;
            if now < until {
                return Step::Wait(Some(until));
            }
            self.failed(began, settings, now);
        }
        if now < self.next_at {
            return Step::Wait(Some(self.next_at));
        }
        let revision = own.and_then(|seen| seen.revision);
        let valid = ground.deadline().is_some_and(|deadline| now < deadline);
        let next = table.greatest_term(&me.node).map(Term::next);
        let (term, fresh) = match (record, self.term()) {
            (Some(_), Some(term)) => (term, false),
            // Gone or unreadable, but nobody can have fenced this node before its deadline.
            (None, Some(term)) if valid => (term, false),
            (None, _) => (next.max(Some(me.first_term)).unwrap_or(me.first_term), true),
            (Some(record), None)
                if record.fenced_by.is_some() || record.incarnation == me.incarnation =>
            {
                (next.unwrap_or(record.term.next()), true)
            }
            (Some(record), None) if record.boot == me.boot => (record.term, false),
            (Some(record), None) => {
                if !self.silent {
                    return Step::Silence;
                }
                // Rebooted, or another machine of the same name: as with a peer, wait until it has lapsed.
                let changed_at = own.map_or(now, |seen| seen.changed_at);
                let lease = PeerLease {
                    node: &me.node,
                    term: record.term,
                    changed_at,
                    duration: record.duration,
                };
                let lapses = match ground.lapse(&lease, now) {
                    Lapse::Over => None,
                    Lapse::At(at) => Some(Some(at)),
                    Lapse::Unknown => Some(None),
                };
                if let Some(until) = lapses {
                    let stranger = (record.incarnation, record.renewals);
                    if *self.stranger.get_or_insert(stranger) != stranger {
                        self.membership = Membership::NameTaken;
                    }
                    return Step::Wait(until);
                }
                (next.unwrap_or(record.term.next()), true)
            }
        };
        if fresh {
            if self.term().is_some() {
                self.enter(Membership::Outside, now);
            }
            if !self.silent {
                return Step::Silence;
            }
        }
        if resign && self.term().is_none() {
            return Step::Wait(None);
        }
        self.renewals += 1;
        self.started.insert(self.renewals, now);
        while self.started.len() > REMEMBERED {
            self.started.pop_first();
        }
        self.writing_since = Some(now);
        let fenced_by = resign.then(|| super::record::Fence {
            node: me.node.clone(),
            incarnation: me.incarnation,
        });
        Step::Write(
            revision,
            NodeLease {
                node: me.node.clone(),
                incarnation: me.incarnation,
                boot: me.boot,
                term,
                renewals: self.renewals,
                duration: settings.lease_duration,
                fenced_by,
                bequests: own
                    .and_then(|seen| seen.record.as_ref())
                    .map(|record| Arc::clone(&record.bequests))
                    .unwrap_or_default(),
                // An agent that has just started has nothing to tell yet: what its predecessor told stands, or peers would
                // take the node's endpoints out for that moment.
                payload: match record {
                    Some(record) if payload.is_empty() => record.payload.clone(),
                    _ => payload.clone(),
                },
            },
        )
    }

    /// The own lease was seen in the store as this process wrote it. Moves the ground's deadline on;
    /// counted from the start of that write, and never for another term.
    pub(super) fn written(
        &mut self,
        lease: &NodeLease,
        settings: &Settings,
        ground: &mut impl Ground,
        now: Moment,
    ) {
        let Some(&began) = self.started.get(&lease.renewals) else {
            return;
        };
        self.started = self.started.split_off(&lease.renewals);
        self.started.remove(&lease.renewals);
        if self.membership == Membership::Superseded {
            return;
        }
        if self.writing_since.is_some_and(|since| since <= began) {
            self.writing_since = None;
        }
        self.failures = 0;
        self.writers.clear();
        self.renewed_at = now;
        self.stranger = None;
        self.next_at = if std::mem::take(&mut self.hurried) {
            now
        } else {
            began + settings.lease_renew_deadline
        };
        if lease.fenced_by.is_some() {
            return;
        }
        if self.term() != Some(lease.term) {
            self.enter(Membership::Inside(lease.term), now);
        }
        self.silent = false;
        ground.renewed(lease.term, began);
    }

    /// The write that began at `began` failed or was not answered in time.
    pub(super) fn failed(&mut self, began: Moment, settings: &Settings, now: Moment) {
        if self.writing_since == Some(began) {
            self.writing_since = None;
            self.failures += 1;
            self.next_at = now + settings.lease_retry_period;
        }
    }

    /// The write that began at `began` met another revision than it expected.
    pub(super) fn conflicted(&mut self, began: Moment, settings: &Settings, now: Moment) {
        let first = self.failures == 0;
        self.failed(began, settings, now);
        if first {
            self.next_at = now;
        }
    }

    fn enter(&mut self, membership: Membership, now: Moment) {
        self.membership = membership;
        self.since = now;
    }
}
