//! The contest for VIPs: who is alive, whom to [`fence`], what to [`take`] or clear away, what to hold or
//! [`give`], and whether the [`shares`] are even.
//!
//! Level-triggered: each pass looks at the whole view and does what is missing, so nothing rests on
//! having seen an edge (a lost watch event, a lease lost and never tried for again). A pass costs time
//! in proportion to the VIPs and runs only when something it depends on has changed.

mod fence;
mod give;
mod shares;
mod take;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claim::{self, Claim};
use super::ground::{Ground, PeerLease};
use super::message::{Action, DesiredVips};
use super::moment::Moment;
use super::name::LeaseName;
use super::record::{Record, ServiceLease, Term};
use super::rendezvous::Shares;
use super::table::{Possession, Seen};
use super::{Election, Mode};

/// One pass's view.
struct Pass {
    now: Moment,
    desired: DesiredVips,
    shares: Shares,
    /// The term, while the deadline has not passed.
    term: Option<Term>,
    /// VIPs on their way out.
    giving: usize,
    /// Writes under way that take VIPs.
    taking: usize,
    /// Records under way of what is held already.
    recording: usize,
    /// Nothing is released now, as the own lease cannot be written at once.
    closed: bool,
    /// Releases not confirmed yet.
    releasing: usize,
    /// Offers that wait for the own lease to be written.
    offers: usize,
}

impl<G: Ground> Election<G> {
    pub(super) fn contest(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.refresh_live(now);
        if self.stirred || self.contest_due.is_some_and(|due| now >= due) {
            self.stirred = false;
            let outer = self.wake.take();
            self.table.expect_holders(now);
            if let Some(desired) = self.desired.take() {
                self.fence(&desired, now, actions);
                self.pass(desired, now, actions);
            }
            self.contest_due = std::mem::replace(&mut self.wake, outer);
        }
        self.wake_at(self.contest_due);
    }

    pub(super) fn refresh_live(&mut self, now: Moment) {
        let mut live = BTreeSet::new();
        let mut look_again = None;
        for (_, seen) in self.table.nodes() {
            let Some(lease) = seen.present().filter(|lease| lease.fenced_by.is_none()) else {
                continue;
            };
            if lease.node == self.me.node {
                continue;
            }
            let peer = PeerLease {
                node: &lease.node,
                term: lease.term,
                changed_at: seen.changed_at,
                duration: lease.duration,
            };
            if self.ground.is_live(&peer, now) {
                live.insert(lease.node.clone());
            }
            let again = self.ground.look_again_at(&peer, now);
            look_again = match (look_again, again) {
                (Some(one), Some(other)) => Some(Moment::min(one, other)),
                (one, other) => one.or(other),
            };
        }
        if self.valid_term(now).is_some() {
            live.insert(self.me.node.clone());
            let deadline = self.ground.deadline();
            self.wake_at(deadline);
        }
        self.wake_at(look_again);
        if live != *self.live {
            if live.iter().any(|node| self.lost.contains(node)) {
                self.steady_from = now + self.settings.return_pause;
            }
            self.lost.extend(self.live.difference(&live).cloned());
            self.lost.retain(|node| !live.contains(node));
            self.live = Arc::new(live);
            self.quiet_since = now;
            self.stirred = true;
        }
    }

    fn valid_term(&self, now: Moment) -> Option<Term> {
        let valid = self
            .ground
            .deadline()
            .is_some_and(|deadline| now < deadline);
        self.tenure.term().filter(|_| valid)
    }

    /// Whether this node, in its present term, is the holder.
    pub(super) fn is_mine(&self, found: &Possession) -> bool {
        let term = self.tenure.term();
        term.is_some_and(|term| found.is_of(&self.me.node, term))
    }

    fn contends(&self) -> bool {
        self.mode == Mode::Serving && self.fit
    }

    fn pass(&mut self, desired: DesiredVips, now: Moment, actions: &mut Vec<Action>) {
        let shares = self.count_shares(&desired);
        let term = self.valid_term(now);
        let mut pass = Pass {
            now,
            desired,
            shares,
            term,
            giving: 0,
            taking: 0,
            recording: 0,
            closed: self.tenure.is_writing() || !self.tenure.is_writable(),
            releasing: 0,
            offers: 0,
        };
        self.gated = false;
        for claim in self.claims.values() {
            pass.giving += usize::from(claim.is_leaving());
            pass.closed |= claim.submitted().is_some();
            let writing = claim.request.is_some() && !claim.is_leaving();
            pass.recording += usize::from(writing && claim.held);
            pass.taking += usize::from(writing && !claim.held);
        }
        let desired = pass.desired.keys();
        let there = self.table.services().map(|(name, _)| name);
        let mut names: Vec<LeaseName> = desired
            .chain(there)
            .chain(self.claims.keys())
            .cloned()
            .collect();
        // A merge of three sorted runs, which the stable sort makes of it.
        names.sort();
        names.dedup();
        let mut vacant = false;
        for name in names {
            let mut claim = self.claims.remove(&name).unwrap_or_default();
            vacant |= self.contest_one(&name, &mut claim, &mut pass, actions);
            if !claim.is_idle() {
                self.claims.insert(name, claim);
            }
        }
        self.send_offers(&pass);
        if !vacant {
            self.rebalance(&pass, now);
        }
        self.desired = Some(pass.desired);
    }

    /// Does what one VIP needs. Tells whether the VIP is wanted by a live node and in nobody's hands.
    fn contest_one(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        pass: &mut Pass,
        actions: &mut Vec<Action>,
    ) -> bool {
        let seen = self.table.service(vip).cloned();
        let found = self.table.possession(vip).cloned();
        if let (Some(seen), Some(found)) = (&seen, &found)
            && self.is_mine(found)
        {
            claim.vacant_since = None;
            self.keep_or_give(vip, claim, (seen, found), pass, actions);
            return false;
        }
        claim.giving = false;
        claim.offer = None;
        if claim.held {
            self.stop_answering(vip, claim, actions);
        }
        let patience = self.settings.lease_duration;
        let from = claim::vacant_from(&self.table, seen.as_ref(), found.as_ref(), patience);
        let Some(from) = from else {
            claim.vacant_since = None;
            return false;
        };
        let gone = |seen: &Seen<ServiceLease>| seen.revision.is_none() && !seen.torn;
        if seen.as_ref().is_some_and(gone) && found.as_ref().is_some_and(|found| !found.recorded) {
            // Given up, then cleared away. By the record alone, once the bequest is no longer told of, the VIP
            // would seem to be held.
            self.table.forget(vip);
        }
        let since = *claim.vacant_since.get_or_insert(pass.now.max(from));
        if pass.now < from {
            self.wake_at(Some(from));
            return false;
        }
        let revision = seen.and_then(|seen| seen.revision);
        self.take_or_clear(vip, claim, (revision, found.as_ref()), since, pass, actions)
    }

    /// Writes a service lease, unless a write is under way or the last one failed a moment ago.
    fn claim_write(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        expected: Option<super::Revision>,
        record: Option<ServiceLease>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if claim.request.is_some() || now < claim.retry_at {
            self.wake_at(Some(
                claim.retry_at.max(now + self.settings.lease_retry_period),
            ));
            return;
        }
        self.wake_at(Some(now + self.settings.lease_renew_deadline));
        let record = record.map(Record::Service);
        claim.request = Some(self.write(vip.clone(), expected, record, now, actions));
    }
}
