//! Fencing: ending the term of a peer that has lapsed, so that what it held is free.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::election::Election;
use crate::election::ground::Ground;
use crate::election::message::Action;
use crate::election::moment::Moment;
use crate::election::name::LeaseName;
use crate::election::record::{BootId, Fence, Incarnation, NodeLease, Record};
use crate::election::rendezvous::ranked;
use crate::election::table::Standing;
use crate::model::NodeName;

/// By how much a node lets the one preferred before it go first when fencing.
const FENCE_STAGGER: Duration = Duration::from_millis(20);

impl<G: Ground> Election<G> {
    /// Ends the terms of peers that have lapsed and hold something.
    pub(super) fn fence(&mut self, now: Moment, actions: &mut Vec<Action>) {
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
}
