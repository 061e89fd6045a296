//! What an event says of a service: new, another, gone, or under other pools.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Entry, Work};
use crate::allocator::Allocator;
use crate::allocator::services::Slot;
use crate::request::ServiceRequest;

impl Allocator {
    /// Takes a service in, with those addresses of its status that are legal. It is for the caller
    /// to wake it.
    pub(in crate::allocator) fn adopt(&mut self, request: ServiceRequest, work: &mut Work) {
        let request = Arc::new(request);
        let slot = self.services.insert(Entry::new(Arc::clone(&request)));
        self.note(slot, work);
        for &address in &request.current {
            if self.is_legal(&request, address) {
                self.assign(slot, address, work);
            }
        }
    }

    /// Replaces the request of a known service and releases what it makes illegal.
    pub(in crate::allocator) fn replace_request(
        &mut self,
        slot: Slot,
        request: ServiceRequest,
        work: &mut Work,
    ) {
        let request = Arc::new(request);
        self.note(slot, work);
        let Some(entry) = self.services.at_mut(slot) else {
            return;
        };
        let old = std::mem::replace(&mut entry.request, Arc::clone(&request));
        let tickets = std::mem::take(&mut entry.tickets);
        let set = entry.set();
        self.waiting.leave(&old.turn(), &tickets);
        if let Some(key) = old.key() {
            self.groups.remove(key, &set);
            self.wake_sharers(key, work);
        }
        if let Some(key) = request.key() {
            self.groups.add(key, set.clone());
            self.wake_sharers(key, work);
        }
        for &address in &set {
            self.occupancy.remove(address, &request.id);
            self.occupancy.add(address, Arc::clone(&request));
            self.wake_address(address, work);
        }
        self.revalidate(slot, work);
        work.wake(&request.turn());
    }

    /// Forgets a service.
    pub(in crate::allocator) fn forget(&mut self, slot: Slot, work: &mut Work) {
        self.note(slot, work);
        let Some(entry) = self.services.at(slot) else {
            return;
        };
        for address in entry.set() {
            self.release(slot, address, work);
        }
        if let Some(entry) = self.services.remove(slot) {
            let turn = entry.request.turn();
            self.waiting.leave(&turn, &entry.tickets);
            work.due.remove(&turn);
            work.removed = entry.before.map(|before| (turn.1, before));
        }
    }

    /// Releases what a service may not have any longer and names the pools of the rest anew.
    pub(in crate::allocator) fn revalidate(&mut self, slot: Slot, work: &mut Work) {
        let Some(entry) = self.services.at(slot) else {
            return;
        };
        let request = Arc::clone(&entry.request);
        for assigned in entry.held.clone() {
            if !self.is_legal(&request, assigned.address) {
                self.release(slot, assigned.address, work);
                work.wake(&request.turn());
                continue;
            }
            let pool = self.pool_of(&request, assigned.address);
            if pool.as_ref().is_some_and(|pool| *pool != assigned.pool) {
                self.note(slot, work);
                self.rename_pool(slot, assigned.address, pool);
                work.wake(&request.turn());
            }
        }
    }

    fn rename_pool(&mut self, slot: Slot, address: IpAddr, pool: Option<Arc<str>>) {
        let Some(entry) = self.services.at_mut(slot) else {
            return;
        };
        let held = entry
            .held
            .iter_mut()
            .find(|assigned| assigned.address == address);
        if let (Some(held), Some(pool)) = (held, pool) {
            held.pool = pool;
        }
    }
}
