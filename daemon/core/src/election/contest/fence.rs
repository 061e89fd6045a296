//! Fencing: ending the term of a peer that has lapsed, and passing on all that it held, by one
//! compare-and-swap on its node lease.
//!
//! # By which view
//!
//! The write expects the revision that was judged, so it cannot miss what the peer itself gave away. But an
//! entry that the peer no longer tells of (it was recorded, `election::will`) is missed by a node whose view
//! of the service lease is older than that record: it would name an heir for what had gone elsewhere long
//! ago. So a node fences only while its view of the whole store was complete within half of the time that
//! entries are kept after their record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::election::Election;
use crate::election::bequest::{Bequest, Bequests};
use crate::election::ground::{Ground, Lapse, PeerLease};
use crate::election::message::{Action, DesiredVips};
use crate::election::moment::Moment;
use crate::election::name::LeaseName;
use crate::election::record::{
    BootId, Cause, Fence, Holder, Incarnation, NodeLease, Record, Revision, Term,
};
use crate::election::rendezvous::{Shares, ranked};
use crate::election::table::Standing;
use crate::model::NodeName;

/// By how much a node lets the one preferred before it go first when fencing.
const FENCE_STAGGER: Duration = Duration::from_millis(20);

impl<G: Ground> Election<G> {
    /// Ends the terms of peers that have lapsed.
    pub(super) fn fence(&mut self, desired: &DesiredVips, now: Moment, actions: &mut Vec<Action>) {
        if !self.contends() || self.valid_term(now).is_none() || !self.has_fresh_view(now) {
            self.lapsed.clear();
            return;
        }
        let mut shares = None;
        let before = std::mem::take(&mut self.lapsed);
        for peer in self.unfenced_peers() {
            let name = LeaseName::of_node(&peer);
            let Some((expected, mut lease)) = self.fenced(&peer) else {
                continue;
            };
            let changed_at = self.table.node(&peer).map_or(now, |seen| seen.changed_at);
            let question = PeerLease {
                node: &peer,
                term: lease.term,
                changed_at,
                duration: lease.duration,
            };
            match self.ground.lapse(&question, now) {
                Lapse::Unknown => continue,
                Lapse::At(at) => {
                    self.wake_at(Some(at));
                    continue;
                }
                Lapse::Over => {}
            }
            // A node that holds nothing harms nobody: one that goes on renewing its lease is only cut off from its peers.
            let idle = !self.table.possessions().any(|(_, found)| {
                let holder = found.holder.as_ref();
                holder.is_some_and(|holder| holder.node == peer)
            });
            let silent_at = changed_at + lease.duration;
            if idle && now < silent_at {
                self.wake_at(Some(silent_at));
                continue;
            }
            let since = before.get(&name).copied().unwrap_or(now);
            self.lapsed.insert(name.clone(), since);
            let rank = ranked(name.as_str(), &*self.live)
                .iter()
                .position(|node| **node == self.me.node);
            let turn = FENCE_STAGGER * u32::try_from(rank.unwrap_or(0)).unwrap_or(u32::MAX);
            let at = since + turn;
            let at = self.fencing.get(&name).map_or(at, |retry| at.max(*retry));
            if now < at {
                self.wake_at(Some(at));
                continue;
            }
            let shares = shares.get_or_insert_with(|| self.count_shares(desired));
            lease.bequests = self.pass_on(&peer, &lease, desired, shares, now);
            let retry_at = now + self.settings.lease_renew_deadline;
            self.fencing.insert(name.clone(), retry_at);
            self.wake_at(Some(retry_at));
            self.write(name, expected, Some(Record::Node(lease)), now, actions);
        }
        self.fencing
            .retain(|_, retry_at| now < *retry_at + self.settings.lease_duration);
    }

    /// Whether all that was in the store a while ago has been seen.
    pub(in crate::election) fn has_fresh_view(&self, now: Moment) -> bool {
        let good_for = self.settings.view_good_for();
        self.view_of.is_some_and(|of| now.since(of) <= good_for)
    }

    /// Peers whose lease is there without a fence, and those that hold something without any.
    fn unfenced_peers(&self) -> BTreeSet<NodeName> {
        let leases = self.table.nodes().filter_map(|(_, seen)| {
            let lease = seen.record.as_ref()?;
            (seen.revision.is_some() && lease.fenced_by.is_none()).then_some(&lease.node)
        });
        let holders = self.table.possessions().filter_map(|(_, found)| {
            let holder = found.holder.as_ref()?;
            (self.table.standing(holder) == Standing::Holding).then_some(&holder.node)
        });
        leases
            .chain(holders)
            .filter(|node| **node != self.me.node)
            .cloned()
            .collect()
    }

    /// The revision to expect of a peer's lease, and the lease with a fence in it.
    fn fenced(&self, peer: &NodeName) -> Option<(Option<Revision>, NodeLease)> {
        let seen = self.table.node(peer)?;
        let known = seen.record.as_ref();
        let duration = known.map_or(self.settings.lease_duration, |lease| lease.duration);
        let duration = if seen.torn {
            duration.max(self.settings.lease_duration)
        } else {
            duration
        };
        let fence = Fence {
            node: self.me.node.clone(),
            incarnation: self.me.incarnation,
        };
        let lease = NodeLease {
            node: peer.clone(),
            incarnation: known.map_or(Incarnation(0), |lease| lease.incarnation),
            boot: known.map_or(BootId(0), |lease| lease.boot),
            term: self.table.greatest_term(peer).unwrap_or_default(),
            renewals: known.map_or(0, |lease| lease.renewals),
            duration,
            fenced_by: Some(fence),
            bequests: known
                .map(|lease| Arc::clone(&lease.bequests))
                .unwrap_or_default(),
            payload: known.map_or_else(|| "".into(), |lease| lease.payload.clone()),
        };
        Some((seen.revision, lease))
    }

    /// The bequests of a peer's lease, and heirs for all that it holds. What nobody can announce is left
    /// without one, and so becomes vacant.
    fn pass_on(
        &self,
        peer: &NodeName,
        lease: &NodeLease,
        desired: &DesiredVips,
        shares: &mut Shares,
        now: Moment,
    ) -> Arc<Bequests> {
        let mut bequests = Bequests::clone(&lease.bequests);
        for (vip, found) in self.table.possessions() {
            // What is remembered of a lease that is gone is no ground to name an heir.
            let there = self
                .table
                .service(vip)
                .is_some_and(|seen| seen.revision.is_some());
            if !there || !found.is_of(peer, lease.term) {
                continue;
            }
            let takes_part = |node: &&NodeName| {
                *node != peer
                    && self.live.contains(*node)
                    && (**node != self.me.node || self.contends())
            };
            let able = || desired.get(vip).into_iter().flatten().filter(takes_part);
            let fresh = able().filter(|node| self.ground.is_fresh(node, now));
            let heir = shares.choose(vip, fresh);
            let Some(heir) = heir.or_else(|| shares.choose(vip, able())) else {
                continue;
            };
            let Some(term) = self.present_term(heir) else {
                continue;
            };
            if vip.carries_addresses() {
                shares.add(heir);
            }
            let bequest = Bequest {
                heir: Some(Holder {
                    node: heir.clone(),
                    term,
                }),
                cause: Cause::Takeover,
            };
            bequests.add(vip.clone(), found.transition, bequest);
        }
        Arc::new(bequests)
    }

    fn present_term(&self, node: &NodeName) -> Option<Term> {
        let lease = self.table.node(node)?.present()?;
        Some(lease.term)
    }
}
