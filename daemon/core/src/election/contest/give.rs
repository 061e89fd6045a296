//! What this node holds: answer for it, or give it away in two writes with a confirmation in between.

use super::Pass;
use crate::election::claim::{self, Claim};
use crate::election::ground::Ground;
use crate::election::message::Action;
use crate::election::name::LeaseName;
use crate::election::record::{Cause, Holder, ServiceLease};
use crate::election::table::Seen;
use crate::election::{Election, Mode};

/// Hand-overs under way at once: each VIP is out of answers only while its own is.
const GIVING_AT_ONCE: usize = 8;

impl<G: Ground> Election<G> {
    pub(super) fn keep_or_give(
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
}
