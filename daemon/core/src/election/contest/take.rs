//! What nobody holds: take it in one's turn, or clear away its lease where nobody wants it.

use std::time::Duration;

use super::Pass;
use crate::election::Election;
use crate::election::claim::{self, Claim};
use crate::election::ground::Ground;
use crate::election::message::Action;
use crate::election::moment::Moment;
use crate::election::name::LeaseName;
use crate::election::record::Revision;
use crate::election::rendezvous::ranked;
use crate::election::table::Possession;
use crate::model::NodeName;

/// Writes that take leases, under way at once.
const TAKING_AT_ONCE: usize = 64;
/// How soon nodes that are joining are looked at again.
const JOINING: Duration = Duration::from_millis(100);
/// A lease that nobody wants is removed after this.
const CLEAR_AWAY_AFTER: Duration = Duration::from_secs(10);

impl<G: Ground> Election<G> {
    pub(super) fn take_or_clear(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        (revision, found): (Option<Revision>, Option<&Possession>),
        since: Moment,
        pass: &mut Pass,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(term) = pass.term else { return false };
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
        // What somebody had before is missed by its clients.
        let settled = match found {
            Some(_) => self.settled_at,
            None => self.settled(pass.now),
        };
        let at = (since.max(settled) + turn).max(claim.retry_at);
        if pass.now < at {
            self.wake_at(Some(at));
        } else if pass.taking < TAKING_AT_ONCE {
            pass.taking += 1;
            let first = match found {
                Some(_) => 0,
                None => self.table.first_transition(vip),
            };
            let record = claim::taking(found, first, &self.me.node, term, self.unix);
            self.claim_write(vip, claim, revision, Some(record), pass.now, actions);
        }
        true
    }

    /// From when on VIPs that nobody ever had are taken. Nodes that start together have leases before they have rights: for a while they
    /// are waited for, so that all share from the start.
    fn settled(&self, now: Moment) -> Moment {
        let longest = self.settled_at + self.settings.lease_duration;
        let mut peers = self.table.nodes().filter_map(|(_, seen)| {
            let lease = seen.present().filter(|lease| lease.fenced_by.is_none())?;
            Some((&lease.node, seen.changed_at + lease.duration))
        });
        let joins = |(node, until): (&NodeName, Moment)| {
            *node != self.me.node && now < until && !self.live.contains(node)
        };
        if now < longest && peers.any(joins) {
            return (now + JOINING).min(longest);
        }
        self.settled_at
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
        let place = ranked(vip.as_str(), &*self.live)
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
}
