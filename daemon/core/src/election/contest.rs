//! The contest for VIPs: who is alive, whom to fence, what to take, hold, give and clear away.
//!
//! Level-triggered: each pass looks at the whole view and does what is missing, so nothing rests on
//! having seen an edge (a lost watch event, a lease lost and never tried for again). A pass costs time
//! in proportion to the VIPs and runs only when something it depends on has changed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::claim::{self, Claim};
use super::ground::Ground;
use super::message::{Action, DesiredVips};
use super::moment::Moment;
use super::name::LeaseName;
use super::record::{
    BootId, Cause, Fence, Holder, Incarnation, NodeLease, Record, ServiceLease, Term,
};
use super::rendezvous::{Shares, ranked};
use super::table::{Seen, Standing};
use super::{Election, Mode};
use crate::model::NodeName;

/// Hand-overs under way at once: each VIP is out of answers only while its own is.
const GIVING_AT_ONCE: usize = 8;
/// Writes that take leases, under way at once.
const TAKING_AT_ONCE: usize = 64;
/// By how much a node lets the one preferred before it go first when fencing.
const FENCE_STAGGER: Duration = Duration::from_millis(20);
/// A lease that nobody wants is removed after this.
const CLEAR_AWAY_AFTER: Duration = Duration::from_secs(10);

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

    /// Ends the terms of peers that have lapsed and hold something.
    fn fence(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if !self.contends() || self.valid_term(now).is_none() {
            return;
        }
        let holders = self.table.services().filter_map(|(_, seen)| {
            seen.record
                .as_ref()?
                .holder
                .as_ref()
                .filter(|holder| holder.node != self.me.node)
        });
        let holding = holders.filter(|holder| self.table.standing(holder) == Standing::Holding);
        let peers: BTreeSet<NodeName> = holding.map(|holder| holder.node.clone()).collect();
        for peer in peers {
            let Some(seen) = self.table.node(&peer) else {
                continue;
            };
            let known = seen.record.as_ref();
            let duration = known.map_or(self.settings.lease_duration, |lease| lease.duration);
            let duration = if seen.torn {
                duration.max(self.settings.lease_duration)
            } else {
                duration
            };
            let name = LeaseName::of_node(&peer);
            let rank = ranked(name.as_str(), &self.live)
                .iter()
                .position(|node| **node == self.me.node);
            let turn = FENCE_STAGGER * u32::try_from(rank.unwrap_or(0)).unwrap_or(u32::MAX);
            let at = self.ground.lapses_at(seen.changed_at, duration) + turn;
            let at = self
                .fencing
                .get(&name)
                .map_or(at, |retry_at| at.max(*retry_at));
            if now < at {
                self.wake_at(Some(at));
                continue;
            }
            let fence = Fence {
                node: self.me.node.clone(),
                incarnation: self.me.incarnation,
            };
            let lease = NodeLease {
                node: peer.clone(),
                incarnation: known.map_or(Incarnation(0), |lease| lease.incarnation),
                boot: known.map_or(BootId(0), |lease| lease.boot),
                term: self.table.greatest_term(&peer).unwrap_or_default(),
                renewals: known.map_or(0, |lease| lease.renewals),
                duration,
                fenced_by: Some(fence),
                payload: known.map_or_else(|| "".into(), |lease| lease.payload.clone()),
            };
            let expected = seen.revision;
            let retry_at = now + self.settings.lease_renew_deadline;
            self.fencing.insert(name.clone(), retry_at);
            self.wake_at(Some(retry_at));
            self.write(name, expected, Some(Record::Node(lease)), now, actions);
        }
        self.fencing
            .retain(|_, retry_at| now < *retry_at + self.settings.lease_duration);
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
        let mut names: BTreeSet<LeaseName> = pass.desired.keys().cloned().collect();
        names.extend(self.table.services().map(|(name, _)| name.clone()));
        names.extend(self.claims.keys().cloned());
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

    fn count_shares(&self, desired: &DesiredVips) -> Shares {
        let mut sharing = BTreeSet::new();
        let mut vips = 0;
        let takes_part = |node: &NodeName| {
            self.live.contains(node) && (*node != self.me.node || self.contends())
        };
        for (_, candidates) in desired.iter().filter(|(name, _)| name.carries_addresses()) {
            let before = sharing.len();
            let able: Vec<_> = candidates.iter().filter(|node| takes_part(node)).collect();
            vips += usize::from(!able.is_empty());
            if before < self.live.len() {
                sharing.extend(able.into_iter().cloned());
            }
        }
        let mut shares = Shares::new(vips, &sharing);
        for name in desired.keys().filter(|name| name.carries_addresses()) {
            if let Some(holder) = self.promised(name).or_else(|| self.holder(name)) {
                shares.add(&holder.node);
            }
        }
        shares
    }

    /// Whom this node's write under way names as the holder.
    fn promised(&self, vip: &LeaseName) -> Option<&Holder> {
        let write = &self.pending.get(&self.claims.get(vip)?.request?)?.write;
        match write.record.as_ref()? {
            Record::Service(lease) => lease.holder.as_ref(),
            Record::Node(_) => None,
        }
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

    fn keep_or_give(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        seen: &Seen<ServiceLease>,
        pass: &mut Pass,
        actions: &mut Vec<Action>,
    ) {
        let Some(record) = &seen.record else { return };
        let able = pass
            .desired
            .get(vip)
            .is_some_and(|nodes| nodes.contains(&self.me.node));
        let able = able && self.fit && self.mode != Mode::Stopping;
        let must_give = !able || (self.mode == Mode::Draining) || claim.giving;
        let successor = if must_give {
            self.successor(vip, claim, pass)
        } else {
            None
        };
        if able && successor.is_none() {
            claim.giving = false;
        }
        let keep = able && (!must_give || successor.is_none());
        let damaged = seen.present().is_none();
        if keep && !record.leaving && !claim.held && !claim.stopping {
            let continued = seen.changed_at < self.tenure.since;
            let cause = if continued {
                Cause::Continued
            } else {
                record.cause
            };
            claim.held = true;
            claim.stopped = false;
            actions.push(Action::Hold {
                vip: vip.clone(),
                cause,
            });
        }
        if claim.request.is_some() {
            return;
        }
        // The mark or the successor's name: two writes and a confirmation in between.
        let next = if keep && (record.leaving || damaged) {
            ServiceLease {
                leaving: false,
                ..record.clone()
            }
        } else if keep {
            return;
        } else if !record.leaving || damaged {
            if !claim.giving && !claim.stopping && pass.giving >= GIVING_AT_ONCE {
                return;
            }
            pass.giving += usize::from(!claim.is_leaving());
            claim.giving = true;
            ServiceLease {
                leaving: true,
                ..record.clone()
            }
        } else if claim.stopped {
            claim::giving(record, successor, self.unix)
        } else {
            claim.giving = true;
            if !claim.stopping {
                self.stop_answering(vip, claim, actions);
            }
            return;
        };
        if let Some(holder) = next
            .holder
            .as_ref()
            .filter(|holder| holder.node != self.me.node && vip.carries_addresses())
        {
            pass.shares.add(&holder.node);
        }
        self.claim_write(vip, claim, seen.revision, Some(next), pass.now, actions);
    }

    fn stop_answering(&mut self, vip: &LeaseName, claim: &mut Claim, actions: &mut Vec<Action>) {
        claim.held = false;
        claim.stopping = true;
        claim.stopped = false;
        actions.push(Action::Release { vip: vip.clone() });
    }

    /// Who should have a VIP that this node gives away: for an even share only a node below the cap.
    fn successor(&self, vip: &LeaseName, claim: &Claim, pass: &Pass) -> Option<Holder> {
        let candidates = pass.desired.get(vip)?;
        let others = candidates
            .iter()
            .filter(|node| **node != self.me.node && self.live.contains(*node));
        let chosen = pass.shares.choose(vip, others)?;
        let even = claim.giving && self.contends() && candidates.contains(&self.me.node);
        if even && pass.shares.count(chosen) >= pass.shares.cap() {
            return None;
        }
        let lease = self.table.node(chosen)?.present()?;
        Some(Holder {
            node: chosen.clone(),
            term: lease.term,
        })
    }

    fn take_or_clear(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        seen: Option<&Seen<ServiceLease>>,
        since: Moment,
        pass: &mut Pass,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(term) = pass.term else { return false };
        let revision = seen.and_then(|seen| seen.revision);
        let Some(candidates) = pass.desired.get(vip) else {
            self.clear_away(vip, claim, revision.is_some(), since, pass.now, actions);
            return false;
        };
        let able: Vec<&NodeName> = candidates
            .iter()
            .filter(|node| self.live.contains(*node))
            .collect();
        let Some(chosen) = pass.shares.choose(vip, able.iter().copied()) else {
            return false;
        };
        if vip.carries_addresses() {
            pass.shares.add(chosen);
        }
        if !self.contends()
            || !able.contains(&&self.me.node)
            || claim.stopping
            || claim.request.is_some()
        {
            return true;
        }
        // The one chosen may see things otherwise; the others step in one after the other.
        let behind = ranked(
            vip.as_str(),
            able.iter().copied().filter(|node| *node != chosen),
        );
        let place = behind
            .iter()
            .position(|node| **node == self.me.node)
            .map_or(0, |place| place + 1);
        let turn = self.settings.lease_retry_period * 2 * u32::try_from(place).unwrap_or(u32::MAX);
        let at = (since.max(self.settled_at) + turn).max(claim.retry_at);
        if pass.now < at {
            self.wake_at(Some(at));
        } else if pass.taking < TAKING_AT_ONCE {
            pass.taking += 1;
            let last = seen.and_then(|seen| seen.record.as_ref());
            let record = claim::taking(last, &self.me.node, term, self.unix);
            self.claim_write(vip, claim, revision, Some(record), pass.now, actions);
        }
        true
    }

    fn clear_away(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        there: bool,
        since: Moment,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if !there {
            claim.vacant_since = None;
            return;
        }
        let place = ranked(vip.as_str(), &self.live)
            .iter()
            .position(|node| **node == self.me.node);
        let turns = u32::try_from(place.unwrap_or(0))
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let at = since + CLEAR_AWAY_AFTER * turns;
        if now < at {
            self.wake_at(Some(at));
        } else {
            let revision = self.table.service(vip).and_then(|seen| seen.revision);
            self.claim_write(vip, claim, revision, None, now, actions);
        }
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

    /// Chooses one VIP to hand over where this node has the most of all and too many, and nothing has
    /// moved for a while. The next pass does it.
    fn rebalance(&mut self, pass: &Pass, now: Moment) {
        let me = &self.me.node;
        let moving = self.claims.values().any(Claim::is_leaving);
        if !self.contends() || pass.term.is_none() || moving || pass.shares.overloaded() != Some(me)
        {
            return;
        }
        let at = self.quiet_since + self.settings.rebalance_pause;
        if now < at {
            self.wake_at(Some(at));
            return;
        }
        let term = self.tenure.term();
        let held = self.claims.iter().filter(|(name, claim)| {
            claim.held
                && term.is_some_and(|term| claim::is_held_by(self.table.service(name), me, term))
        });
        let offers = held
            .filter(|(name, _)| name.carries_addresses())
            .filter_map(|(name, _)| {
                let candidates = pass.desired.get(name)?.iter();
                let below = candidates.filter(|node| {
                    *node != me
                        && self.live.contains(*node)
                        && pass.shares.count(node) < pass.shares.cap()
                });
                let poorest = below.min_by_key(|node| pass.shares.count(node))?;
                Some((
                    pass.shares.count(poorest),
                    std::cmp::Reverse(super::rendezvous::weight(name.as_str(), poorest)),
                    name.clone(),
                ))
            });
        let Some((_, _, name)) = offers.min() else {
            return;
        };
        if let Some(claim) = self.claims.get_mut(&name) {
            claim.giving = true;
            self.stirred = true;
            self.wake_at(Some(now));
        }
    }
}
