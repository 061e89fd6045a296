//! What this node's lease says of the VIPs that went from it: the bequests there are, those that are offered
//! now, without those that nobody needs any more.
//!
//! An entry `VIP@k` is needed as long as somebody may judge by a service lease of transition `k`. It goes
//! [`Settings::memory`](super::Settings::memory) after this node first saw the service lease past `k`, or saw
//! that it is gone and nobody desires the VIP; by then whoever is allowed to fence has seen that too. It goes
//! with a renewal and costs no write of its own.

use std::sync::Arc;

use super::Election;
use super::bequest::Bequests;
use super::ground::Ground;
use super::moment::Moment;
use super::name::LeaseName;

impl<G: Ground> Election<G> {
    /// The bequests that a write of the own lease carries from now on, made of those in it. Offers are on
    /// their way from here on.
    pub(super) fn bequeath(&mut self, known: &Arc<Bequests>, now: Moment) -> Arc<Bequests> {
        let offered = self.claims.values().any(|claim| claim.offer.is_some());
        let offered = offered || !self.inherited.is_empty();
        let spent = known
            .iter()
            .filter(|(vip, transition, _)| self.is_spent(vip, *transition));
        let spent: Vec<_> = spent
            .map(|(vip, transition, _)| (vip.clone(), transition))
            .collect();
        let before = std::mem::take(&mut self.spent);
        self.spent = spent
            .into_iter()
            .map(|key| {
                let since = before.get(&key).copied().unwrap_or(now);
                (key, since)
            })
            .collect();
        let memory = self.settings.memory;
        let stays = |vip: &LeaseName, transition: u64| {
            let since = self.spent.get(&(vip.clone(), transition));
            since.is_none_or(|since| now.since(*since) < memory)
        };
        let pruned = self.spent.values().any(|since| now.since(*since) >= memory);
        if !offered && !pruned {
            return Arc::clone(known);
        }
        let kept = known
            .iter()
            .filter(|(vip, transition, _)| stays(vip, *transition));
        let mut bequests: Bequests = kept
            .map(|(vip, transition, bequest)| (vip.clone(), transition, bequest.clone()))
            .collect();
        if self.tenure.term().is_some() {
            for (vip, transition, bequest) in self.inherited.iter() {
                bequests.add(vip.clone(), transition, bequest.clone());
            }
            for (vip, claim) in &self.claims {
                if let Some(offer) = &claim.offer {
                    bequests.add(vip.clone(), offer.transition, offer.bequest.clone());
                }
            }
            self.submit_offers();
        }
        Arc::new(bequests)
    }

    /// Whether nobody whose view is up to date goes by what this node's lease says of `vip` as of
    /// `transition`.
    fn is_spent(&self, vip: &LeaseName, transition: u64) -> bool {
        let desired = self.desired.as_ref();
        let unwanted = desired.is_some_and(|desired| !desired.contains_key(vip));
        match self.table.service(vip) {
            None => unwanted,
            Some(seen) if seen.revision.is_none() => unwanted,
            Some(seen) => seen
                .present()
                .is_some_and(|lease| lease.transitions > transition),
        }
    }
}
