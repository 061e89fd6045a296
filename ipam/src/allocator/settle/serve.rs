//! Serving one service: what it lacks and can have, and a place in the queues for the rest.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Work;
use super::entry::outcome;
use crate::allocator::Allocator;
use crate::allocator::services::Slot;
use crate::allocator::waiting::Ticket;
use crate::outcome::Refusal;
use crate::range::Family;
use crate::request::{ServiceRequest, Turn};

impl Allocator {
    /// Gives a service what it lacks and can have; states the outcome and queues it for the rest.
    pub(super) fn serve(&mut self, turn: &Turn, work: &mut Work) {
        let Some(slot) = self.services.slot(&turn.1) else {
            return;
        };
        self.note(slot, work);
        let Some(entry) = self.services.at_mut(slot) else {
            return;
        };
        let request = Arc::clone(&entry.request);
        let tickets = std::mem::take(&mut entry.tickets);
        self.waiting.leave(turn, &tickets);
        let (refusals, tickets) = if request.requested.is_empty() {
            self.serve_families(slot, &request, work)
        } else {
            self.serve_requested(slot, &request, work)
        };
        if !refusals.is_empty() {
            self.waiting.enter(turn, &tickets);
        }
        if let Some(entry) = self.services.at_mut(slot) {
            entry.outcome = Some(outcome(&request, &entry.held, refusals));
            entry.tickets = tickets;
        }
    }

    fn serve_requested(
        &mut self,
        slot: Slot,
        request: &ServiceRequest,
        work: &mut Work,
    ) -> (Vec<Refusal>, Vec<Ticket>) {
        let (mut refusals, mut tickets) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for &address in request
            .requested
            .iter()
            .filter(|address| seen.insert(**address))
        {
            if self.holds(slot, address) {
                continue;
            }
            match self.refuse_address(request, address) {
                None => self.assign(slot, address, work),
                Some(refusal) => {
                    refusals.push(refusal);
                    tickets.push(Ticket::Address(address));
                }
            }
        }
        (refusals, tickets)
    }

    fn serve_families(
        &mut self,
        slot: Slot,
        request: &ServiceRequest,
        work: &mut Work,
    ) -> (Vec<Refusal>, Vec<Ticket>) {
        if let Some(key) = request.key() {
            while let Some(set) = self.set_to_join(slot, request, key) {
                for address in set {
                    self.assign(slot, address, work);
                }
            }
        }
        let (mut refusals, mut tickets) = (Vec::new(), Vec::new());
        for family in self.missing(slot, request) {
            if let Some(address) = self.lowest_free(request, family) {
                self.assign(slot, address, work);
                continue;
            }
            refusals.push(self.refuse_family(request, family));
            match &request.pool {
                // A pool that is not there or not for this service has no ticket: should it come,
                // or be relabelled, everybody who waits is asked anew.
                Some(name) => {
                    if self
                        .pools
                        .by_name(name)
                        .is_some_and(|state| state.admits(request))
                    {
                        tickets.push(Ticket::Pool(name.as_str().into(), family));
                    }
                }
                None => tickets.extend(
                    self.pools
                        .classes
                        .admitting(request)
                        .map(|id| Ticket::Class(id, family)),
                ),
            }
            if let Some(key) = request.key() {
                tickets.push(Ticket::Key(key.to_owned()));
            }
        }
        tickets.sort_unstable();
        tickets.dedup();
        (refusals, tickets)
    }

    /// The families wanted of which the service has no address, the primary one first.
    fn missing(&self, slot: Slot, request: &ServiceRequest) -> Vec<Family> {
        let held = self.services.at(slot).map_or(&[][..], |entry| &entry.held);
        let has = |family| {
            held.iter()
                .any(|assigned| Family::of(assigned.address) == family)
        };
        request
            .families
            .wanted()
            .filter(|&family| !has(family))
            .collect()
    }

    /// What a service lacks of the best set it may join: all families first, then any.
    fn set_to_join(&self, slot: Slot, request: &ServiceRequest, key: &str) -> Option<Vec<IpAddr>> {
        let missing = self.missing(slot, request);
        let held = self.services.at(slot)?.set();
        let mut partly = None;
        for set in self.groups.sets(key) {
            let covers = |family| set.iter().any(|&address| Family::of(address) == family);
            let covered = missing.iter().filter(|&&family| covers(family)).count();
            // What is held already must be of the set: two sets are never mixed.
            if covered == 0 || !held.iter().all(|address| set.contains(address)) {
                continue;
            }
            let all = covered == missing.len();
            if !all && partly.is_some() {
                continue;
            }
            let lacking: Vec<IpAddr> = set
                .iter()
                .copied()
                .filter(|&address| {
                    request.families.wants(Family::of(address)) && !held.contains(&address)
                })
                .collect();
            if !lacking
                .iter()
                .all(|&address| self.may_join(request, address))
            {
                continue;
            }
            if all {
                return Some(lacking);
            }
            partly = Some(lacking);
        }
        partly
    }

    /// Whether an address others have may newly be shared; as [`Self::refuse_address`], without the
    /// words.
    fn may_join(&self, request: &ServiceRequest, address: IpAddr) -> bool {
        self.is_legal(request, address)
            && self
                .pools
                .containing(address)
                .any(|state| state.is_live() && state.admits(request))
    }

    /// The lowest free address of the oldest pool that may give one.
    fn lowest_free(&self, request: &ServiceRequest, family: Family) -> Option<IpAddr> {
        let state = match &request.pool {
            Some(name) => self
                .pools
                .by_name(name)
                .filter(|state| state.is_open(family) && state.admits(request)),
            None => self
                .pools
                .classes
                .admitting(request)
                .filter_map(|class| self.pools.classes.first_open(class, family))
                .min()
                .and_then(|order| self.pools.at(order)),
        };
        state?.free[family].first().map(|bits| family.address(bits))
    }
}
