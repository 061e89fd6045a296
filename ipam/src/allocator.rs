//! The allocator: sole owner of which service has which address.
//!
//! Owns pools, services and assignments. Fed by events (pools, services, the nodes' addresses);
//! answers each with [`Changes`]. What holds is said at the head of the crate.

mod classes;
mod conflicts;
mod groups;
mod occupancy;
mod pools;
mod refuse;
mod report;
mod services;
mod settle;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use self::groups::Groups;
use self::occupancy::Occupancy;
use self::pools::PoolTable;
use self::services::Services;
use self::settle::Work;
use self::waiting::Waiting;
use crate::outcome::Changes;
use crate::pool::{DuplicatePool, Pool};
use crate::range::Family;
use crate::request::{ServiceId, ServiceRequest, Turn};

/// Allocates addresses of pools to services.
///
/// It begins in the import phase: pools, nodes' addresses and services are taken in and nothing is
/// allocated, until [`Allocator::start`].
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    started: bool,
    /// Services heard of in the import phase.
    imported: HashMap<ServiceId, ServiceRequest>,
    pools: PoolTable,
    occupancy: Occupancy,
    groups: Groups,
    services: Services,
    waiting: Waiting,
    forbidden: BTreeSet<IpAddr>,
}

impl Allocator {
    /// An allocator without pools and services, in the import phase.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the import phase is over.
    pub const fn is_started(&self) -> bool {
        self.started
    }

    /// Takes in a service that existed before the allocator did, with the addresses of its status
    /// in [`ServiceRequest::current`]. The order of imports does not matter; of two imports of one
    /// service the later counts. After [`Allocator::start`] this is the same as
    /// [`Allocator::upsert_service`].
    pub fn import(&mut self, request: ServiceRequest) -> Changes {
        self.upsert_service(request)
    }

    /// Ends the import phase: adopts every imported address that is legal, older services first,
    /// then allocates what is missing, older services first. Names every imported service.
    pub fn start(&mut self) -> Changes {
        let mut work = Work::default();
        self.started = true;
        let mut imported: Vec<ServiceRequest> =
            std::mem::take(&mut self.imported).into_values().collect();
        imported.sort_unstable_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        self.services.reserve(imported.len());
        work.wake_all(imported.iter().map(ServiceRequest::turn));
        for request in imported {
            self.adopt(request, &mut work);
        }
        self.finish(work)
    }

    /// Takes in a new service, or a new request of a known one.
    ///
    /// A new service keeps those addresses of [`ServiceRequest::current`] that are legal and not
    /// another's. For a known one `current` is not read: the allocator knows better than a status
    /// that lags behind.
    pub fn upsert_service(&mut self, mut request: ServiceRequest) -> Changes {
        if !self.started {
            self.imported.insert(request.id.clone(), request);
            return Changes::default();
        }
        let mut work = Work::default();
        let known = self.services.slot(&request.id);
        let known = known.and_then(|slot| Some((slot, self.services.at(slot)?)));
        match known {
            None => {
                work.wake(&request.turn());
                self.adopt(request, &mut work);
            }
            Some((slot, entry)) => {
                request.current.clone_from(&entry.request.current);
                if *entry.request == request {
                    return Changes::default();
                }
                self.replace_request(slot, request, &mut work);
            }
        }
        self.finish(work)
    }

    /// Forgets a service and frees its addresses. An unknown one changes nothing.
    pub fn remove_service(&mut self, id: &ServiceId) -> Changes {
        self.imported.remove(id);
        let mut work = Work::default();
        if let Some(slot) = self.services.slot(id) {
            self.forget(slot, &mut work);
        }
        self.finish(work)
    }

    /// Replaces the list of pools. Only services with addresses in ranges that came, went, or are
    /// for other services now are looked at, and those that wait.
    ///
    /// # Errors
    /// Two pools have one name; then nothing changes.
    pub fn set_pools(&mut self, pools: Vec<Pool>) -> Result<Changes, DuplicatePool> {
        let reshaped = self
            .pools
            .replace(pools, &self.occupancy, &self.forbidden)?;
        let mut work = Work::default();
        let mut concerned: BTreeSet<Turn> = BTreeSet::new();
        for family in Family::ALL {
            for (first, last) in reshaped.regions[family].iter() {
                for (_, holders) in self.occupancy.within(family, first, last) {
                    concerned.extend(holders.iter().map(|holder| holder.turn()));
                }
            }
            for (first, last) in reshaped.blocks[family].iter() {
                let (first, last) = (family.address(first), family.address(last));
                for turn in self.waiting.for_addresses(first, last) {
                    work.wake(turn);
                }
            }
        }
        if reshaped.structural {
            for turn in self.waiting.everyone() {
                work.wake(turn);
            }
        }
        for (_, id) in &concerned {
            if let Some(slot) = self.services.slot(id) {
                self.revalidate(slot, &mut work);
            }
        }
        Ok(self.finish(work))
    }

    /// Replaces the set of addresses that are nodes' own: never given, and taken from whoever has
    /// one.
    pub fn set_forbidden(&mut self, addresses: BTreeSet<IpAddr>) -> Changes {
        let before = std::mem::replace(&mut self.forbidden, addresses);
        let mut work = Work::default();
        let changed: Vec<IpAddr> = self
            .forbidden
            .symmetric_difference(&before)
            .copied()
            .collect();
        let mut concerned: BTreeSet<Turn> = BTreeSet::new();
        for address in changed {
            self.wake_address(address, &mut work);
            let holders = self.occupancy.holders(address);
            if holders.is_empty() {
                self.pools
                    .set_reserved(address, self.forbidden.contains(&address));
            }
            concerned.extend(holders.iter().map(|holder| holder.turn()));
        }
        for (_, id) in &concerned {
            if let Some(slot) = self.services.slot(id) {
                self.revalidate(slot, &mut work);
            }
        }
        self.finish(work)
    }
}
