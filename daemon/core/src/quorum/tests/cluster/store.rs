//! The lease store: node leases and the record of members, by compare-and-swap.

use std::time::Duration;

use super::{Cluster, Step, index_of, name_of};
use crate::election::{Revision, Term};
use crate::quorum::record::MemberRecord;
use crate::quorum::*;

/// A node lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) revision: u64,
    pub(super) term: Term,
    pub(super) fenced: bool,
    pub(super) boot: u64,
}

#[derive(Debug)]
pub(super) enum Request {
    Record {
        expected: Option<Revision>,
        record: MemberRecord,
    },
    Survey {
        number: u64,
    },
    Read,
    /// Writes the lease of `of`.
    Lease {
        of: usize,
        expected: Option<u64>,
        lease: Lease,
        started: Moment,
    },
}

#[derive(Debug)]
pub(super) enum Reply {
    Event(Event),
    /// The node's own lease as it is.
    Own(Option<Lease>),
    /// The node's own lease was written.
    Renewed(Lease, Moment),
    Failed,
}

impl Cluster {
    pub(super) fn request(&mut self, node: usize, request: Request) {
        let lost = self.rng.chance(self.weather.lost_request);
        if lost || self.nodes[node].store_down_until > self.now {
            return self.fail(node, self.nodes[node].process, &request);
        }
        let span = self.store_span();
        self.push(span, node, Step::Request(request));
    }

    fn store_span(&mut self) -> Duration {
        let slowest = if self.rng.chance(8000) {
            10
        } else {
            self.weather.slowest_store_ms
        };
        self.rng.millis(1, slowest)
    }

    /// Nobody knows what became of the request.
    fn fail(&mut self, node: usize, process: u64, request: &Request) {
        let span = self.rng.millis(100, 600);
        let reply = match request {
            Request::Record { .. } => Reply::Event(Event::WriteFailed),
            Request::Lease { of, .. } if *of != node => return,
            Request::Survey { .. } => return,
            Request::Read | Request::Lease { .. } => Reply::Failed,
        };
        self.push_for(span, node, process, Step::Reply(reply));
    }

    pub(super) fn serve(&mut self, node: usize, process: u64, request: Request) {
        let lost = self.rng.chance(self.weather.lost_reply);
        let reply = match &request {
            Request::Record { expected, record } => Some(self.write_record(*expected, record)),
            Request::Survey { number } => Some(Reply::Event(Event::Surveyed {
                number: *number,
                revision: self
                    .record
                    .as_ref()
                    .map(|(revision, _)| Revision(*revision)),
                record: self.record.as_ref().map(|(_, record)| record.clone()),
                leases: self.fresh_leases(node),
            })),
            Request::Read => Some(Reply::Own(self.leases.get(&node).copied())),
            Request::Lease {
                of,
                expected,
                lease,
                started,
            } => self.write_lease(node, *of, *expected, *lease, *started),
        };
        if lost || self.nodes[node].store_down_until > self.now {
            return self.fail(node, process, &request);
        }
        if let Some(reply) = reply {
            let span = self.store_span();
            self.push_for(span, node, process, Step::Reply(reply));
        }
    }

    fn write_record(&mut self, expected: Option<Revision>, record: &MemberRecord) -> Reply {
        let there = self
            .record
            .as_ref()
            .map(|(revision, _)| Revision(*revision));
        if there != expected {
            let record = self.record.as_ref().map(|(_, record)| record.clone());
            return Reply::Event(Event::Conflict {
                revision: there,
                record,
            });
        }
        if let Some((_, before)) = &self.record {
            assert_eq!(
                record.epoch,
                before.epoch.next(),
                "epochs follow each other"
            );
        }
        self.revision += 1;
        self.records += 1;
        self.record = Some((self.revision, record.clone()));
        for node in 0..self.nodes.len() {
            let span = self.news_span(node);
            if !self.rng.chance(self.weather.lost_news) {
                self.push(span, node, Step::RecordNews(self.revision, record.clone()));
            }
        }
        Reply::Event(Event::Written(Revision(self.revision)))
    }

    fn write_lease(
        &mut self,
        node: usize,
        of: usize,
        expected: Option<u64>,
        mut lease: Lease,
        started: Moment,
    ) -> Option<Reply> {
        let there = self.leases.get(&of).copied();
        if there.map(|there| there.revision) != expected {
            return (of == node).then_some(Reply::Own(there));
        }
        if let Some(there) = there
            && !there.fenced
            && (lease.fenced || lease.term != there.term)
        {
            self.check_over(of, there.term, node);
            self.fences += u64::from(of != node);
        }
        self.revision += 1;
        lease.revision = self.revision;
        self.leases.insert(of, lease);
        for reader in 0..self.nodes.len() {
            let span = self.news_span(reader);
            if !self.rng.chance(self.weather.lost_news) {
                self.push(span, reader, Step::LeaseNews(of, lease));
            }
        }
        (of == node).then_some(Reply::Renewed(lease, started))
    }

    /// How long news take to a reader; those whose watch hangs get them late.
    fn news_span(&mut self, reader: usize) -> Duration {
        let it = &self.nodes[reader];
        let hangs = it
            .deaf_until
            .max(it.store_down_until)
            .saturating_sub(self.now);
        hangs + self.store_span()
    }

    fn fresh_leases(&self, reader: usize) -> Leases {
        let now = self.local(reader);
        let duration = self.settings.lease_duration;
        let seen = |(of, lease): (&usize, &Lease)| {
            let name = name_of(*of);
            let before = self.nodes[reader].seen.get(&name);
            let same = self.nodes[reader].seen_revisions.get(of) == Some(&lease.revision);
            let changed_at = before
                .filter(|_| same)
                .map_or(now, |before| before.changed_at);
            (
                name,
                PeerLease {
                    term: lease.term,
                    fenced: lease.fenced,
                    changed_at,
                    duration,
                },
            )
        };
        self.leases.iter().map(seen).collect()
    }

    pub(super) fn hear_of_lease(&mut self, node: usize, of: usize, lease: Lease) {
        if self.see_lease(node, of, lease) {
            self.handle(node, Event::Leases(self.nodes[node].seen.clone()));
            self.hear_of_own(node);
        }
    }

    fn see_lease(&mut self, node: usize, of: usize, lease: Lease) -> bool {
        let (changed_at, duration) = (self.local(node), self.settings.lease_duration);
        let it = &mut self.nodes[node];
        if it
            .seen_revisions
            .get(&of)
            .is_some_and(|seen| *seen >= lease.revision)
        {
            return false;
        }
        it.seen_revisions.insert(of, lease.revision);
        let seen = PeerLease {
            term: lease.term,
            fenced: lease.fenced,
            changed_at,
            duration,
        };
        it.seen.insert(name_of(of), seen);
        true
    }

    pub(super) fn hear_of_record(&mut self, node: usize, revision: u64, record: MemberRecord) {
        if self.nodes[node].record_revision < Some(revision) {
            self.nodes[node].record_revision = Some(revision);
            let (revision, record) = (Some(Revision(revision)), Some(record));
            self.handle(node, Event::Record { revision, record });
        }
    }

    /// Lists everything, once at the start and then now and again, since news can be lost.
    pub(super) fn rescan(&mut self, node: usize) {
        let again = self.rng.millis(1500, 2500);
        self.push(again, node, Step::Rescan);
        let it = &self.nodes[node];
        let readable = it.store_down_until.max(it.deaf_until) <= self.now;
        self.handle(node, Event::Store { readable });
        if !readable {
            return;
        }
        match self.record.clone() {
            Some((revision, record)) => self.hear_of_record(node, revision, record),
            None => self.handle(
                node,
                Event::Record {
                    revision: None,
                    record: None,
                },
            ),
        }
        let leases: Vec<_> = self
            .leases
            .iter()
            .map(|(of, lease)| (*of, *lease))
            .collect();
        for (of, lease) in leases {
            self.see_lease(node, of, lease);
        }
        self.handle(node, Event::Leases(self.nodes[node].seen.clone()));
        self.hear_of_own(node);
    }

    pub(super) fn lease_seen(&self, node: usize, of: &NodeName) -> Option<(usize, u64)> {
        let of = index_of(of);
        self.nodes[node]
            .seen_revisions
            .get(&of)
            .map(|revision| (of, *revision))
    }
}
