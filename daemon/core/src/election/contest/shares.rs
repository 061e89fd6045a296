//! Even shares: how many VIPs each node has, and which one to hand over where this one has too many.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::Pass;
use crate::election::Election;
use crate::election::claim::Claim;
use crate::election::ground::Ground;
use crate::election::message::DesiredVips;
use crate::election::moment::Moment;
use crate::election::name::LeaseName;
use crate::election::record::{Holder, Record};
use crate::election::rendezvous::{Shares, weight};
use crate::model::NodeName;

impl<G: Ground> Election<G> {
    pub(super) fn count_shares(&self, desired: &DesiredVips) -> Shares {
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
            if let Some(holder) = self.promised(name).or_else(|| self.table.holder(name)) {
                shares.add(&holder.node);
            }
        }
        shares
    }

    /// Whom this node's writes under way name as the holder.
    fn promised(&self, vip: &LeaseName) -> Option<&Holder> {
        let claim = self.claims.get(vip)?;
        if let Some(offer) = claim.submitted() {
            return offer.bequest.heir.as_ref();
        }
        let write = &self.pending.get(&claim.request?)?.write;
        match write.record.as_ref()? {
            Record::Service(lease) => lease.holder.as_ref(),
            Record::Node(_) | Record::Members(_) => None,
        }
    }

    /// Chooses one VIP to hand over where this node has the most of all and too many, and nothing has
    /// moved for a while. The next pass does it.
    pub(super) fn rebalance(&mut self, pass: &Pass, now: Moment) {
        let me = &self.me.node;
        let moving = self.claims.values().any(Claim::is_leaving);
        if !self.contends() || pass.term.is_none() || moving || pass.shares.overloaded() != Some(me)
        {
            return;
        }
        let at = (self.quiet_since + self.settings.rebalance_pause).max(self.steady_from);
        if now < at {
            self.wake_at(Some(at));
            return;
        }
        let held = self.claims.iter().filter(|(name, claim)| {
            claim.held
                && self
                    .table
                    .possession(name)
                    .is_some_and(|found| self.is_mine(found))
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
                    Reverse(weight(name.as_str(), poorest)),
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
