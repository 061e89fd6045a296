//! What is kept of one service, and what is said of it when an event has been worked off.

use std::net::IpAddr;
use std::sync::Arc;

use crate::allocator::waiting::Ticket;
use crate::outcome::{Assigned, Outcome, Refusal, ServiceChange};
use crate::range::Family;
use crate::request::{FamilyRequest, ServiceRequest};

/// What the allocator knows of one service.
#[derive(Clone, Debug)]
pub(in crate::allocator) struct Entry {
    pub(in crate::allocator) request: Arc<ServiceRequest>,
    /// What it has, ascending by address.
    pub(in crate::allocator) held: Vec<Assigned>,
    pub(in crate::allocator) outcome: Option<Outcome>,
    pub(super) tickets: Vec<Ticket>,
    /// How it stood before the event being worked off, once the event has touched it.
    pub(super) before: Option<Before>,
}

impl Entry {
    pub(in crate::allocator) fn new(request: Arc<ServiceRequest>) -> Self {
        Self {
            request,
            held: Vec::new(),
            outcome: None,
            tickets: Vec::new(),
            before: None,
        }
    }

    pub(super) fn set(&self) -> Vec<IpAddr> {
        self.held.iter().map(|assigned| assigned.address).collect()
    }

    /// Whether it has exactly `addresses`, which ascend unless they are those of a status.
    pub(super) fn has_just(&self, addresses: &[IpAddr]) -> bool {
        let held = self.held.iter().map(|assigned| &assigned.address);
        held.eq(addresses)
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.held
            .binary_search_by_key(&address, |assigned| assigned.address)
            .is_ok()
    }
}

/// How a service stood before the event.
#[derive(Clone, Debug)]
pub(in crate::allocator) struct Before {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) outcome: Option<Outcome>,
}

/// The change from having `before` to `outcome`.
pub(super) fn change(before: Vec<IpAddr>, outcome: Option<Outcome>) -> ServiceChange {
    let has = |address| {
        let mut now = outcome.iter().flat_map(Outcome::addresses);
        now.any(|assigned| assigned.address == address)
    };
    let lost = before.iter().copied().filter(|&address| !has(address));
    let gained = outcome
        .iter()
        .flat_map(Outcome::addresses)
        .map(|assigned| assigned.address)
        .filter(|address| !before.contains(address));
    ServiceChange {
        lost: lost.collect(),
        gained: gained.collect(),
        outcome,
    }
}

/// The outcome for what a service has and what was refused.
pub(super) fn outcome(
    request: &ServiceRequest,
    held: &[Assigned],
    refusals: Vec<Refusal>,
) -> Outcome {
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
