//! Giving and taking addresses, and the order in which services are served.
//!
//! Owns the working-off of one event: first every address that became illegal is released, so that
//! all that is free is known; then services are served from the oldest on, those the event concerns
//! and those whose tickets it made good, until nobody is left whom something free could help. Fed by
//! the public events of [`super::Allocator`]; feeds [`Changes`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Allocator;
use super::waiting::Ticket;
use crate::outcome::{Assigned, Changes, Outcome, Refusal, ServiceChange};
use crate::range::Family;
use crate::request::{FamilyRequest, ServiceId, ServiceRequest, Turn};
use crate::sharing::incompatibility;

/// What the allocator knows of one service.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) request: Arc<ServiceRequest>,
    /// What it has, ascending by address.
    pub(super) held: Vec<Assigned>,
    pub(super) outcome: Option<Outcome>,
    tickets: Vec<Ticket>,
    /// How it stood before the event being worked off, once the event has touched it.
    before: Option<Before>,
}

impl Entry {
    pub(super) fn new(request: Arc<ServiceRequest>) -> Self {
        Self {
            request,
            held: Vec::new(),
            outcome: None,
            tickets: Vec::new(),
            before: None,
        }
    }

    fn set(&self) -> Vec<IpAddr> {
        self.held.iter().map(|assigned| assigned.address).collect()
    }

    fn has(&self, address: IpAddr) -> bool {
        self.held
            .binary_search_by_key(&address, |assigned| assigned.address)
            .is_ok()
    }
}

/// How a service stood before the event.
#[derive(Clone, Debug)]
struct Before {
    addresses: Vec<IpAddr>,
    outcome: Option<Outcome>,
}

/// One event being worked off.
#[derive(Debug, Default)]
pub(super) struct Work {
    touched: Vec<ServiceId>,
    removed: Option<(ServiceId, Before)>,
    due: BTreeSet<Turn>,
    /// Tickets made good during the event, each with the oldest service that held it when that was
    /// last looked up; at most one call per ticket is current, others are dropped when met.
    calls: BTreeSet<(Turn, Ticket)>,
}

impl Work {
    /// Has the service served.
    pub(super) fn wake(&mut self, turn: &Turn) {
        if !self.due.contains(turn) {
            self.due.insert(turn.clone());
        }
    }

    /// Has all of them served; cheap when they come in order and nobody is due yet.
    pub(super) fn wake_all(&mut self, turns: impl Iterator<Item = Turn>) {
        self.due.append(&mut turns.collect());
    }
}

impl Allocator {
    /// Notes how a service stands before the event first changes it.
    fn note(&mut self, id: &ServiceId, work: &mut Work) {
        let Some(entry) = self.services.get_mut(id) else {
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
        work.touched.push(id.clone());
    }

    /// Takes a service in, with those addresses of its status that are legal. It is for the caller
    /// to wake it.
    pub(super) fn adopt(&mut self, request: ServiceRequest, work: &mut Work) {
        let request = Arc::new(request);
        let id = request.id.clone();
        self.services
            .insert(id.clone(), Entry::new(Arc::clone(&request)));
        self.note(&id, work);
        for &address in &request.current {
            if self.is_legal(&request, address) {
                self.assign(&id, address, work);
            }
        }
    }

    /// Replaces the request of a known service and releases what it makes illegal.
    pub(super) fn replace_request(&mut self, request: ServiceRequest, work: &mut Work) {
        let id = request.id.clone();
        let request = Arc::new(request);
        self.note(&id, work);
        let Some(entry) = self.services.get_mut(&id) else {
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
            self.occupancy.remove(address, &id);
            self.occupancy.add(address, Arc::clone(&request));
            self.wake_address(address, work);
        }
        self.revalidate(&id, work);
        work.wake(&request.turn());
    }

    /// Forgets a service.
    pub(super) fn forget(&mut self, id: &ServiceId, work: &mut Work) {
        self.note(id, work);
        let Some(entry) = self.services.get(id) else {
            return;
        };
        for address in entry.set() {
            self.release(id, address, work);
        }
        if let Some(entry) = self.services.remove(id) {
            work.removed = entry.before.map(|before| (id.clone(), before));
            self.waiting.leave(&entry.request.turn(), &entry.tickets);
            work.due.remove(&entry.request.turn());
        }
    }

    /// Releases what a service may not have any longer and names the pools of the rest anew.
    pub(super) fn revalidate(&mut self, id: &ServiceId, work: &mut Work) {
        let Some(entry) = self.services.get(id) else {
            return;
        };
        let request = Arc::clone(&entry.request);
        for assigned in entry.held.clone() {
            if !self.is_legal(&request, assigned.address) {
                self.release(id, assigned.address, work);
                work.wake(&request.turn());
                continue;
            }
            let pool = self.pool_of(&request, assigned.address);
            if pool.as_ref().is_some_and(|pool| *pool != assigned.pool) {
                self.note(id, work);
                self.rename_pool(id, assigned.address, pool);
                work.wake(&request.turn());
            }
        }
    }

    fn rename_pool(&mut self, id: &ServiceId, address: IpAddr, pool: Option<Arc<str>>) {
        let Some(entry) = self.services.get_mut(id) else {
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

    /// Serves everybody the event concerns, the oldest first, and tells what changed.
    pub(super) fn finish(&mut self, mut work: Work) -> Changes {
        while let Some((turn, called_by)) = self.next_turn(&mut work) {
            work.due.remove(&turn);
            self.serve(&turn, &mut work);
            // Whoever was called for a free address has taken it; were it not so, calling again
            // would not help either.
            if let Some(ticket) = called_by
                && self
                    .services
                    .get(&turn.1)
                    .is_some_and(|entry| entry.tickets.contains(&ticket))
            {
                debug_assert!(false, "{} was called by {ticket:?} in vain", turn.1);
                work.calls.remove(&(turn, ticket));
            }
        }
        let pools = self.pools.take_touched();
        let removed = work
            .removed
            .map(|(id, before)| (id, change(before.addresses, None)));
        let services = &mut self.services;
        let changed = work.touched.into_iter().filter_map(|id| {
            let entry = services.get_mut(&id)?;
            let before = entry.before.take()?;
            let same = entry.outcome == before.outcome && entry.set() == before.addresses;
            (!same).then(|| (id, change(before.addresses, entry.outcome.clone())))
        });
        Changes {
            services: changed.chain(removed).collect(),
            pools,
        }
    }

    /// The oldest of those due and of those for whom an address became free; with the ticket that
    /// called the latter.
    fn next_turn(&mut self, work: &mut Work) -> Option<(Turn, Option<Ticket>)> {
        for (class, pool, family) in self.pools.take_opened() {
            self.call(Ticket::Class(class, family), work);
            self.call(Ticket::Pool(pool, family), work);
        }
        loop {
            let due = work.due.first();
            let Some(call) = work.calls.first() else {
                return due.map(|turn| (turn.clone(), None));
            };
            if let Some(due) = due
                && *due <= call.0
            {
                return Some((due.clone(), None));
            }
            let (turn, ticket) = call.clone();
            if self.is_good(&ticket) && self.waiting.queue(&ticket).next() == Some(&turn) {
                return Some((turn, Some(ticket)));
            }
            let (_, ticket) = work.calls.pop_first()?;
            self.call(ticket, work);
        }
    }

    /// Calls the oldest service that waits for `ticket`, if it is good.
    fn call(&self, ticket: Ticket, work: &mut Work) {
        let first = self
            .waiting
            .queue(&ticket)
            .next()
            .filter(|_| self.is_good(&ticket))
            .cloned();
        if let Some(turn) = first {
            work.calls.insert((turn, ticket));
        }
    }

    /// Whether an address is free for the holders of `ticket`.
    fn is_good(&self, ticket: &Ticket) -> bool {
        match ticket {
            Ticket::Class(class, family) => self.pools.classes.is_open(*class, *family),
            Ticket::Pool(name, family) => self
                .pools
                .by_name(name)
                .is_some_and(|state| state.is_open(*family)),
            // Whoever waits for these is woken by name.
            Ticket::Address(_) | Ticket::Key(_) => false,
        }
    }

    /// Gives a service what it lacks and can have; states the outcome and queues it for the rest.
    fn serve(&mut self, turn: &Turn, work: &mut Work) {
        let id = &turn.1;
        self.note(id, work);
        let Some(entry) = self.services.get_mut(id) else {
            return;
        };
        let request = Arc::clone(&entry.request);
        let tickets = std::mem::take(&mut entry.tickets);
        self.waiting.leave(turn, &tickets);
        let (refusals, tickets) = if request.requested.is_empty() {
            self.serve_families(&request, work)
        } else {
            self.serve_requested(&request, work)
        };
        if !refusals.is_empty() {
            self.waiting.enter(turn, &tickets);
        }
        if let Some(entry) = self.services.get_mut(id) {
            entry.outcome = Some(outcome(&request, &entry.held, refusals));
            entry.tickets = tickets;
        }
    }

    fn serve_requested(
        &mut self,
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
            if self.holds(&request.id, address) {
                continue;
            }
            match self.refuse_address(request, address) {
                None => self.assign(&request.id, address, work),
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
        request: &ServiceRequest,
        work: &mut Work,
    ) -> (Vec<Refusal>, Vec<Ticket>) {
        if let Some(key) = request.key() {
            while let Some(set) = self.set_to_join(request, key) {
                for address in set {
                    self.assign(&request.id, address, work);
                }
            }
        }
        let (mut refusals, mut tickets) = (Vec::new(), Vec::new());
        for family in self.missing(request) {
            if let Some(address) = self.lowest_free(request, family) {
                self.assign(&request.id, address, work);
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
    fn missing(&self, request: &ServiceRequest) -> Vec<Family> {
        let held = self
            .services
            .get(&request.id)
            .map_or(&[][..], |entry| &entry.held);
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
    fn set_to_join(&self, request: &ServiceRequest, key: &str) -> Option<Vec<IpAddr>> {
        let missing = self.missing(request);
        let held = self.services.get(&request.id)?.set();
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

    /// Whether a service may have an address, or go on having it.
    fn is_legal(&self, request: &ServiceRequest, address: IpAddr) -> bool {
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
    fn pool_of(&self, request: &ServiceRequest, address: IpAddr) -> Option<Arc<str>> {
        let state = self
            .pools
            .containing(address)
            .find(|state| state.admits(request))?;
        Some(state.pool.order().name)
    }

    fn holds(&self, id: &ServiceId, address: IpAddr) -> bool {
        self.services
            .get(id)
            .is_some_and(|entry| entry.has(address))
    }

    /// Gives `address` to a service, which may have it.
    fn assign(&mut self, id: &ServiceId, address: IpAddr, work: &mut Work) {
        let Some(entry) = self.services.get(id) else {
            return;
        };
        let request = Arc::clone(&entry.request);
        let Some(pool) = self.pool_of(&request, address) else {
            return;
        };
        self.note(id, work);
        let Some(entry) = self.services.get_mut(id) else {
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
    fn release(&mut self, id: &ServiceId, address: IpAddr, work: &mut Work) {
        self.note(id, work);
        let Some(entry) = self.services.get_mut(id) else {
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
        if self.occupancy.remove(address, id) {
            self.pools
                .vacate(address, self.forbidden.contains(&address));
        }
        self.wake_address(address, work);
    }

    fn wake_sharers(&self, key: &str, work: &mut Work) {
        for turn in self.waiting.queue(&Ticket::Key(key.to_owned())) {
            work.wake(turn);
        }
    }

    /// Has everybody served who waits for `address`.
    pub(super) fn wake_address(&self, address: IpAddr, work: &mut Work) {
        for turn in self.waiting.for_addresses(address, address) {
            work.wake(turn);
        }
    }
}

/// The change from having `before` to `outcome`.
fn change(before: Vec<IpAddr>, outcome: Option<Outcome>) -> ServiceChange {
    let before: BTreeSet<IpAddr> = before.into_iter().collect();
    let now: BTreeSet<IpAddr> = outcome
        .iter()
        .flat_map(Outcome::addresses)
        .map(|assigned| assigned.address)
        .collect();
    ServiceChange {
        lost: before.difference(&now).copied().collect(),
        gained: now.difference(&before).copied().collect(),
        outcome,
    }
}

/// The outcome for what a service has and what was refused.
fn outcome(request: &ServiceRequest, held: &[Assigned], refusals: Vec<Refusal>) -> Outcome {
    if held.is_empty() {
        return Outcome::Refused { refusals };
    }
    let addresses: Vec<Assigned> = request
        .families
        .wanted()
        .flat_map(|family| {
            held.iter()
                .filter(move |assigned| Family::of(assigned.address) == family)
        })
        .cloned()
        .collect();
    let either = request.requested.is_empty()
        && matches!(request.families, FamilyRequest::PreferDualStack(_));
    if refusals.is_empty() || either {
        Outcome::Satisfied {
            addresses,
            unmet: refusals,
        }
    } else {
        Outcome::Partial {
            addresses,
            refusals,
        }
    }
}
