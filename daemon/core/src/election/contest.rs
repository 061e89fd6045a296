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

use super::claim::{self, Claim};
use super::ground::Ground;
use super::message::{Action, DesiredVips};
use super::moment::Moment;
use super::name::LeaseName;
use super::record::{Holder, Record, ServiceLease, Term};
use super::rendezvous::Shares;
use super::table::Standing;
use super::{Election, Mode};

/// One pass's view.
struct Pass {
    now: Moment,
    desired: DesiredVips,
    shares: Shares,
    /// The term, while the deadline has not passed.
    term: Option<Term>,
    giving: usize,
    taking: usize,
}

impl<G: Ground> Election<G> {
    pub(super) fn contest(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.refresh_live(now);
        if self.stirred || self.contest_due.is_some_and(|due| now >= due) {
            self.stirred = false;
            let outer = self.wake.take();
            self.table.expect_holders(now);
            self.fence(now, actions);
            if let Some(desired) = self.desired.take() {
                self.pass(desired, now, actions);
            }
            self.contest_due = std::mem::replace(&mut self.wake, outer);
        }
        self.wake_at(self.contest_due);
    }

    fn refresh_live(&mut self, now: Moment) {
        let mut live = BTreeSet::new();
        let mut first_lapse = None;
        for (_, seen) in self.table.nodes() {
            let Some(lease) = seen.present().filter(|lease| lease.fenced_by.is_none()) else {
                continue;
            };
            if lease.node == self.me.node {
                continue;
            }
            let lapses = self.ground.lapses_at(seen.changed_at, lease.duration);
            if now < lapses {
                live.insert(lease.node.clone());
                first_lapse = Some(first_lapse.map_or(lapses, |first: Moment| first.min(lapses)));
            }
        }
        if self.valid_term(now).is_some() {
            live.insert(self.me.node.clone());
            let deadline = self.ground.deadline();
            self.wake_at(deadline);
        }
        self.wake_at(first_lapse);
        if live != self.live {
            self.live = live;
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
        };
        for claim in self.claims.values() {
            pass.giving += usize::from(claim.is_leaving());
            pass.taking += usize::from(claim.request.is_some() && !claim.is_leaving());
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
        if !vacant {
            self.rebalance(&pass, now);
        }
        self.desired = Some(pass.desired);
    }

    /// The holder of a VIP whose term goes on.
    fn holder(&self, vip: &LeaseName) -> Option<&Holder> {
        let holder = self.table.service(vip)?.record.as_ref()?.holder.as_ref()?;
        (self.table.standing(holder) == Standing::Holding).then_some(holder)
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
        let mine = self
            .tenure
            .term()
            .is_some_and(|term| claim::is_held_by(seen.as_ref(), &self.me.node, term));
        if let (true, Some(seen)) = (mine, &seen) {
            claim.vacant_since = None;
            self.keep_or_give(vip, claim, seen, pass, actions);
            return false;
        }
        claim.giving = false;
        if claim.held {
            self.stop_answering(vip, claim, actions);
        }
        let from = claim::vacant_from(&self.table, seen.as_ref(), self.settings.lease_duration);
        let Some(from) = from else {
            claim.vacant_since = None;
            return false;
        };
        let since = *claim.vacant_since.get_or_insert(pass.now.max(from));
        if pass.now < from {
            self.wake_at(Some(from));
            return false;
        }
        self.take_or_clear(vip, claim, seen.as_ref(), since, pass, actions)
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
