//! Giving one address and taking it back, in step with every index, and whether a service may have it.

use std::net::IpAddr;
use std::sync::Arc;

use super::Work;
use super::entry::Before;
use crate::allocator::Allocator;
use crate::allocator::services::Slot;
use crate::allocator::waiting::Ticket;
use crate::outcome::Assigned;
use crate::range::Family;
use crate::request::ServiceRequest;
use crate::sharing::incompatibility;

impl Allocator {
    /// Notes how a service stands before the event first changes it.
    pub(super) fn note(&mut self, slot: Slot, work: &mut Work) {
        let Some(entry) = self.services.at_mut(slot) else {
            return;
        };
        if entry.before.is_some() {
            return;
        }
        // A service not heard of before stands as its status says.
        let known = entry.outcome.is_some();
        let addresses = if known {
            entry.set()
        } else {
            entry.request.current.clone()
        };
        entry.before = Some(Before {
            addresses,
            outcome: entry.outcome.clone(),
        });
        work.touched.push(slot);
    }

    /// Whether a service may have an address, or go on having it.
    pub(super) fn is_legal(&self, request: &ServiceRequest, address: IpAddr) -> bool {
        !self.forbidden.contains(&address)
            && request.families.wants(Family::of(address))
            && (request.requested.is_empty() || request.requested.contains(&address))
            && self
                .occupancy
                .holders(address)
                .iter()
                .all(|holder| holder.id == request.id || incompatibility(request, holder).is_none())
            && self
                .pools
                .containing(address)
                .any(|state| state.admits(request))
    }

    /// The pool an address of a service is counted to: the oldest that is for the service.
    pub(super) fn pool_of(&self, request: &ServiceRequest, address: IpAddr) -> Option<Arc<str>> {
        let state = self
            .pools
            .containing(address)
            .find(|state| state.admits(request))?;
        Some(state.pool.order().name)
    }

    pub(super) fn holds(&self, slot: Slot, address: IpAddr) -> bool {
        self.services
            .at(slot)
            .is_some_and(|entry| entry.has(address))
    }

    /// Gives `address` to a service, which may have it.
    pub(super) fn assign(&mut self, slot: Slot, address: IpAddr, work: &mut Work) {
        let Some(entry) = self.services.at(slot) else {
            return;
        };
        let request = Arc::clone(&entry.request);
        let Some(pool) = self.pool_of(&request, address) else {
            return;
        };
        self.note(slot, work);
        let Some(entry) = self.services.at_mut(slot) else {
            return;
        };
        let before = entry.set();
        let Err(place) = before.binary_search(&address) else {
            return;
        };
        entry.held.insert(place, Assigned { address, pool });
        if let Some(key) = request.key() {
            let now = entry.set();
            self.groups.remove(key, &before);
            self.groups.add(key, now);
            self.wake_sharers(key, work);
        }
        if self.occupancy.add(address, request) {
            self.pools.occupy(address);
        }
        self.wake_address(address, work);
    }

    /// Takes `address` from a service.
    pub(super) fn release(&mut self, slot: Slot, address: IpAddr, work: &mut Work) {
        self.note(slot, work);
        let Some(entry) = self.services.at_mut(slot) else {
            return;
        };
        let before = entry.set();
        let Ok(place) = before.binary_search(&address) else {
            return;
        };
        entry.held.remove(place);
        let (now, request) = (entry.set(), Arc::clone(&entry.request));
        if let Some(key) = request.key() {
            self.groups.remove(key, &before);
            self.groups.add(key, now);
            self.wake_sharers(key, work);
        }
        if self.occupancy.remove(address, &request.id) {
            self.pools
                .vacate(address, self.forbidden.contains(&address));
        }
        self.wake_address(address, work);
    }

    pub(super) fn wake_sharers(&self, key: &str, work: &mut Work) {
        for turn in self.waiting.queue(&Ticket::Key(key.to_owned())) {
            work.wake(turn);
        }
    }

    /// Has everybody served who waits for `address`.
    pub(in crate::allocator) fn wake_address(&self, address: IpAddr, work: &mut Work) {
        for turn in self.waiting.for_addresses(address, address) {
            work.wake(turn);
        }
    }
}
