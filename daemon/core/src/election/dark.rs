//! Starting while the store cannot be read, from what the node remembers of it (`docs/decisions/0007`).
//!
//! The copy stands in for the store: its leases are the table, and the node resumes the term that the copy shows, if
//! nothing that may have been written since ended it. What the node may have given away counts as given. Until the store has
//! been read whole nothing is written, taken, given or let go; then its word replaces the copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bequest::Bequests;
use super::claim::Claim;
use super::ground::Ground;
use super::message::Action;
use super::moment::Moment;
use super::name::LeaseName;
use super::record::{Cause, Incarnation, NodeLease, Record, Revision};
use super::table::{Content, LeaseTable, Seen};
use super::{Election, Mode};

/// What a node remembers of the leases through a restart.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The leases as they were seen at one moment.
    pub leases: Vec<(LeaseName, Revision, Record)>,
    /// The node's own lease as it was last about to be written, at that moment or later; nothing where it never was.
    pub attempted: Option<NodeLease>,
    /// The processes of this node that may have written it.
    pub writers: BTreeSet<Incarnation>,
}

impl<G: Ground> Election<G> {
    /// Takes no store for the one remembered that has no node's lease, if there was one: a file system that is not mounted
    /// looks so, and by it every VIP would be free.
    pub fn expect(&mut self, memory: &Memory) {
        let is_node = |(_, _, record): &(_, _, Record)| matches!(record, Record::Node(_));
        self.expects_nodes = memory.leases.iter().any(is_node);
    }

    /// Goes by `memory` until the store has been read. Nothing is done where the store was read already.
    pub fn recall(&mut self, memory: Memory, now: Moment) {
        if self.synced || self.dark.is_some() {
            return;
        }
        self.expect(&memory);
        let Memory {
            leases,
            attempted,
            mut writers,
        } = memory;
        let own = LeaseName::of_node(&self.me.node);
        let mut resumed = None;
        for (name, revision, mut record) in leases {
            if let (true, Record::Node(lease), Some(attempted)) =
                (name == own, &mut record, &attempted)
                && lease.fenced_by.is_none()
                && attempted.fenced_by.is_none()
                && attempted.term == lease.term
            {
                writers.extend([lease.incarnation, attempted.incarnation]);
                resumed = Some(lease.term);
                self.inherit(lease, attempted);
            }
            self.table
                .observe(&name, Some(revision), Content::Record(record), now);
        }
        if let Some(term) = resumed {
            self.tenure.resume(term, writers, now);
            self.ground.resumed(term);
        }
        self.dark = Some(LeaseTable::default());
        self.quiet_since = now;
    }

    /// Whether all of the store was seen.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether the node goes by what it remembers.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        self.dark.is_some()
    }

    /// Adds to the own lease what may have been written into it.
    fn inherit(&mut self, lease: &mut NodeLease, attempted: &NodeLease) {
        let new = attempted.bequests.iter();
        let new = new.filter(|(vip, transition, _)| lease.bequests.get(vip, *transition).is_none());
        self.inherited = new
            .map(|(vip, transition, bequest)| (vip.clone(), transition, bequest.clone()))
            .collect();
        let mut all = Bequests::clone(&lease.bequests);
        for (vip, transition, bequest) in self.inherited.iter() {
            all.add(vip.clone(), transition, bequest.clone());
        }
        lease.bequests = Arc::new(all);
    }

    /// Answers again for what this node held and can announce.
    pub(super) fn hold_again(&mut self, actions: &mut Vec<Action>) {
        let Some(desired) = &self.desired else { return };
        if self.mode != Mode::Serving || !self.fit {
            return;
        }
        for (vip, found) in self.table.possessions() {
            let able = desired
                .get(vip)
                .is_some_and(|nodes| nodes.contains(&self.me.node));
            let held = self.claims.get(vip).is_some_and(|claim| claim.held);
            if able && !held && self.is_mine(found) {
                actions.push(Action::Hold {
                    vip: vip.clone(),
                    cause: Cause::Continued,
                });
            }
        }
        for action in actions.iter() {
            if let Action::Hold { vip, .. } = action {
                let claim: &mut Claim = self.claims.entry(vip.clone()).or_default();
                claim.held = true;
            }
        }
    }
}

impl LeaseTable {
    /// Every lease that is there and can be read, for a [`Memory`].
    pub fn copied(&self) -> impl Iterator<Item = (LeaseName, Revision, Record)> {
        fn there<R: Clone>(
            (name, seen): (&LeaseName, &Seen<R>),
        ) -> Option<(LeaseName, Revision, R)> {
            Some((name.clone(), seen.revision?, seen.present()?.clone()))
        }
        let nodes = self.nodes().filter_map(there);
        let nodes = nodes.map(|(name, revision, lease)| (name, revision, Record::Node(lease)));
        let services = self.services().filter_map(there);
        let services =
            services.map(|(name, revision, lease)| (name, revision, Record::Service(lease)));
        nodes.chain(services)
    }
}
