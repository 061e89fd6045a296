//! What this node holds: answer for it and record that, or give it away by a bequest in the own lease.

use std::time::Duration;

use super::Pass;
use crate::election::bequest::Bequest;
use crate::election::claim::{self, Claim, Offer};
use crate::election::ground::Ground;
use crate::election::message::Action;
use crate::election::name::LeaseName;
use crate::election::record::{Cause, Holder, ServiceLease};
use crate::election::table::{Possession, Seen};
use crate::election::{Election, Mode};

/// VIPs given away by one write of the own lease: each is out of answers from its release until that is done.
const GIVING_AT_ONCE: usize = 64;
/// Records of VIPs that came by bequest, under way at once.
const RECORDS_AT_ONCE: usize = 16;
/// How long confirmed releases wait for the others of their batch.
const GATHER: Duration = Duration::from_millis(5);

impl<G: Ground> Election<G> {
    pub(super) fn keep_or_give(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        (seen, found): (&Seen<ServiceLease>, &Possession),
        pass: &mut Pass,
        actions: &mut Vec<Action>,
    ) {
        let offered = |offer: &Offer| offer.transition == found.transition;
        if claim.submitted().is_some_and(offered) {
            return;
        }
        claim.offer = None;
        if self.inherited.get(vip, found.transition).is_some() {
            // Given away by the process before, as far as can be known, and again by the next write.
            return;
        }
        let able = pass
            .desired
            .get(vip)
            .is_some_and(|nodes| nodes.contains(&self.me.node));
        let able = able && self.fit && self.mode != Mode::Stopping;
        let must_give = !able || (self.mode == Mode::Draining) || claim.giving;
        let cause = match self.mode {
            Mode::Draining | Mode::Stopping => Cause::Drained,
            _ if !able => Cause::Unable,
            _ => Cause::HandOver,
        };
        let heir = if must_give {
            self.heir(vip, claim, pass)
        } else {
            None
        };
        if able && heir.is_none() {
            claim.giving = false;
            self.keep(vip, claim, (seen, found), pass, actions);
            return;
        }
        if claim.stopped {
            claim.giving = true;
            if let Some(heir) = heir.as_ref().filter(|_| vip.carries_addresses()) {
                pass.shares.add(&heir.node);
            }
            claim.offer = Some(Offer {
                transition: found.transition,
                bequest: Bequest { heir, cause },
                submitted: false,
            });
            pass.offers += 1;
        } else if claim.stopping {
            pass.releasing += 1;
        } else if pass.closed || pass.giving >= GIVING_AT_ONCE {
            self.gated = true;
        } else {
            pass.giving += 1;
            pass.releasing += 1;
            claim.giving = true;
            // Also where this process never held it: the one before may have.
            self.stop_answering(vip, claim, actions);
        }
    }

    fn keep(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        (seen, found): (&Seen<ServiceLease>, &Possession),
        pass: &mut Pass,
        actions: &mut Vec<Action>,
    ) {
        if !claim.held && !claim.stopping {
            let continued = found.since < self.tenure.since;
            let cause = if continued {
                Cause::Continued
            } else {
                found.cause
            };
            claim.held = true;
            claim.stopped = false;
            actions.push(Action::Hold {
                vip: vip.clone(),
                cause,
            });
        }
        let told = found.recorded && seen.present().is_some();
        if told || claim.request.is_some() || !claim.held {
            return;
        }
        if pass.recording >= RECORDS_AT_ONCE {
            return;
        }
        pass.recording += 1;
        let record = match &seen.record {
            Some(record) if found.recorded => record.clone(),
            _ => claim::recording(found, self.unix),
        };
        self.claim_write(vip, claim, seen.revision, Some(record), pass.now, actions);
    }

    pub(super) fn stop_answering(
        &mut self,
        vip: &LeaseName,
        claim: &mut Claim,
        actions: &mut Vec<Action>,
    ) {
        claim.held = false;
        claim.stopping = true;
        claim.stopped = false;
        actions.push(Action::Release { vip: vip.clone() });
    }

    /// Has the own lease written once the batch of releases is confirmed, or waited for long enough.
    pub(super) fn send_offers(&mut self, pass: &Pass) {
        if pass.offers == 0 {
            self.offers_since = None;
            return;
        }
        let at = *self.offers_since.get_or_insert(pass.now) + GATHER;
        if pass.releasing > 0 && pass.now < at {
            self.wake_at(Some(at));
        } else {
            self.tenure.hurry(pass.now);
        }
    }

    /// Who should have a VIP that this node gives away: for an even share only a node below the cap.
    fn heir(&self, vip: &LeaseName, claim: &Claim, pass: &Pass) -> Option<Holder> {
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

    /// Marks every offer as on its way.
    pub(in crate::election) fn submit_offers(&mut self) {
        for claim in self.claims.values_mut() {
            if let Some(offer) = &mut claim.offer {
                offer.submitted = true;
            }
        }
        self.offers_since = None;
    }
}
