//! Addresses: which Service has which, and what to write into the shared record.
//!
//! Fed by Services, pools, the nodes' own addresses and the [record](crate::model::AssignmentRecord) as the
//! store has it; feeds the service table and the announcement planner with what the record says, the lease
//! effect with the record to be written, and status with conditions and counts.
//!
//! Every node acts on the record alone. The node that holds the lease `landfall-allocator` also runs a
//! `Ledger`: it imports the record, allocates what is missing, and proposes the record that should be. The
//! effect writes it by compare-and-swap on the revision it was made from and reports what then is there;
//! only then does anybody act on it. Two allocators at once (the lease does not fence) so lose nothing but a
//! write. Nothing is allocated, and nobody is dropped from the record, before every source has synced.

mod ledger;
mod request;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::{Allocator, Pool, PoolStatus};

use crate::election::Revision;
use crate::model::{
    AssignedAddress, Assignment, AssignmentRecord, DesiredState, ObservedAssignments, Service,
    ServiceName, ServiceType,
};

use self::ledger::Ledger;
pub use self::request::request;

/// Name of the record of assignments in the lease store.
pub const ASSIGNMENTS_RECORD: &str = "landfall-assignments";
/// Name of the lease whose holder allocates.
pub const ALLOCATOR_LEASE: &str = "landfall-allocator";
/// Reason of a Service of ours that no allocator has answered yet.
pub const REASON_PENDING: &str = "pending";

/// Reason of a Service of ours that the record has no room for.
pub const REASON_RECORD_FULL: &str = "record_full";

/// Whether `service` gets its addresses from us. Of LoadBalancer Services the model has only those of our class.
fn is_ours(service: &Service) -> bool {
    service.service_type == ServiceType::LoadBalancer
}

/// Whether `service` has an entry in the record: it is ours, or its external addresses need a lease.
fn is_recorded(service: &Service) -> bool {
    is_ours(service) || !service.external_ips.is_empty()
}

/// The address planner's part of the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AddressPlan {
    /// What is in force for each Service of ours and each with external addresses.
    pub services: Arc<BTreeMap<ServiceName, Arc<Assignment>>>,
    /// The pools with their sizes and conflicts; used counts are those of `services`.
    pub pools: Arc<Vec<PoolView>>,
    /// The record to be written; nothing where the store has it already, or another node allocates.
    pub proposal: Option<Arc<Proposal>>,
}

/// A pool and its state, apart from how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// The pool.
    pub pool: Pool,
    /// Its size, conflicts and reserved addresses; `used` is 0 here.
    pub status: PoolStatus,
}

/// A compare-and-swap of the record of assignments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The revision it was made from and replaces; nothing where there is no record.
    pub expected: Option<Revision>,
    /// The new record. To be handed back, the same `Arc`, once it is written.
    pub record: Arc<AssignmentRecord>,
}

/// Follows the record, and allocates where this node is the one to do it.
#[derive(Debug, Default)]
pub(super) struct AddressPlanner {
    committed: Option<ObservedAssignments>,
    /// Services that the record has no room for, as found by this node.
    left_out: Arc<BTreeSet<ServiceName>>,
    ledger: Option<Ledger>,
    allocating: bool,
    rebuild: bool,
    /// The store lost its record, or has it again, since this was last looked at.
    lost_changed: bool,
    own: BTreeSet<IpAddr>,
    plan: AddressPlan,
}

impl AddressPlanner {
    /// The record as the store has it.
    pub(super) fn record(&self) -> Option<&AssignmentRecord> {
        self.committed.as_ref().map(|committed| &*committed.record)
    }

    /// Addresses that belong to nodes.
    pub(super) fn own_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.own
    }

    pub(super) fn plan(&self) -> &AddressPlan {
        &self.plan
    }

    /// Takes in whether this node allocates. True only once every source has synced.
    pub(super) fn set_allocating(&mut self, allocating: bool) {
        self.rebuild |= allocating && !self.allocating;
        self.allocating = allocating;
        if !allocating {
            self.ledger = None;
            self.rebuild = false;
        }
    }

    /// Takes in the record as the store has it. Returns the Services for which it says something new.
    pub(super) fn observe(&mut self, observed: ObservedAssignments) -> BTreeSet<ServiceName> {
        let before = self.committed.take();
        self.lost_changed |= before.as_ref().is_some_and(|before| before.lost) != observed.lost;
        let changed = match &before {
            Some(before) => before.record.changed(&observed.record),
            None => observed.record.services.keys().cloned().collect(),
        };
        let repeated =
            changed.is_empty() && before.is_some_and(|before| before.revision == observed.revision);
        if let Some(ledger) = &mut self.ledger {
            let known = ledger.committed(&observed.record) || repeated;
            self.rebuild |= !known;
        }
        self.committed = Some(observed);
        changed
    }

    /// Takes in which Services the record has no room for. Returns those for which that is news.
    pub(super) fn set_left_out(
        &mut self,
        left_out: &Arc<BTreeSet<ServiceName>>,
    ) -> BTreeSet<ServiceName> {
        let before = std::mem::replace(&mut self.left_out, Arc::clone(left_out));
        before.symmetric_difference(left_out).cloned().collect()
    }

    /// Takes in pools and nodes' addresses where they changed. Returns the Services that hold an address
    /// which became, or ceased to be, a node's own, and those whose status begins or ceases to stand in for a lost record.
    pub(super) fn set_ground(
        &mut self,
        state: &DesiredState,
        own: Option<BTreeSet<IpAddr>>,
        pools_changed: bool,
    ) -> BTreeSet<ServiceName> {
        let own_changed = own.as_ref().is_some_and(|own| *own != self.own);
        let mut concerned = BTreeSet::new();
        if std::mem::take(&mut self.lost_changed) {
            let told = state.services.values().filter(|it| !it.assigned.is_empty());
            concerned.extend(told.map(|service| service.name.clone()));
        }
        if let Some(own) = own.filter(|_| own_changed) {
            let moved: BTreeSet<IpAddr> = self.own.symmetric_difference(&own).copied().collect();
            let entries = self.plan.services.iter();
            let held = entries.filter(|(_, entry)| entry.vips().any(|vip| moved.contains(&vip)));
            concerned.extend(held.map(|(name, _)| name.clone()));
            self.own = own;
        }
        if own_changed || pools_changed {
            let views = pool_views(state, &self.own);
            if *self.plan.pools != views {
                self.plan.pools = Arc::new(views);
            }
            if let Some(ledger) = &mut self.ledger {
                ledger.set_ground(state, &self.own);
            }
        }
        concerned
    }

    /// Takes in Services that came, changed or went, or whose entry in the record changed.
    pub(super) fn update(&mut self, state: &DesiredState, touched: &BTreeSet<ServiceName>) {
        if self.allocating && (self.rebuild || self.ledger.is_none()) {
            // Not before the record is known: allocating without it would hand out addresses in use.
            if let Some(committed) = &self.committed {
                let ledger = Ledger::new(state, &self.own, &committed.record, committed.lost);
                self.ledger = Some(ledger);
                self.rebuild = false;
            }
        } else if let Some(ledger) = &mut self.ledger {
            for name in touched {
                ledger.service_changed(state, name);
            }
        }
        for name in touched {
            self.follow(state, name);
        }
        self.plan.proposal = self.propose();
    }

    /// Brings what is in force for one Service in line with the record.
    fn follow(&mut self, state: &DesiredState, name: &ServiceName) {
        let service = state
            .services
            .get(name)
            .filter(|service| is_recorded(service));
        let entry = service.map(|service| self.in_force(service));
        if self.plan.services.get(name) == entry.as_ref() {
            return;
        }
        let services = Arc::make_mut(&mut self.plan.services);
        match entry {
            Some(entry) => services.insert(name.clone(), entry),
            None => services.remove(name),
        };
    }

    fn in_force(&self, service: &Service) -> Arc<Assignment> {
        let ours = is_ours(service);
        let recorded = self
            .record()
            .and_then(|record| record.services.get(&service.name));
        match recorded {
            Some(entry) if ours != entry.reason.is_empty() => Arc::clone(entry),
            None if ours && self.is_lost() && !service.assigned.is_empty() => by_status(service),
            _ => {
                let left_out = recorded.is_none() && self.left_out.contains(&service.name);
                let (reason, message) = match (ours, left_out) {
                    (false, _) => ("", ""),
                    (true, false) => (REASON_PENDING, "no node has allocated yet"),
                    (true, true) => (REASON_RECORD_FULL, RECORD_FULL),
                };
                Arc::new(Assignment {
                    created: recorded.map_or(service.created, |entry| entry.created),
                    addresses: Vec::new(),
                    external_ips: recorded
                        .map(|entry| entry.external_ips.clone())
                        .unwrap_or_default(),
                    reason: reason.into(),
                    message: message.into(),
                })
            }
        }
    }

    /// Whether the store was read and has no record that could be used.
    fn is_lost(&self) -> bool {
        self.committed
            .as_ref()
            .is_some_and(|committed| committed.lost)
    }

    fn propose(&mut self) -> Option<Arc<Proposal>> {
        let (ledger, committed) = (self.ledger.as_mut()?, self.committed.as_ref()?);
        let record = ledger.snapshot(&committed.record, committed.lost)?;
        let expected = committed.revision;
        let kept = self.plan.proposal.take();
        let same = kept.filter(|kept| kept.expected == expected && kept.record == record);
        Some(same.unwrap_or_else(|| Arc::new(Proposal { expected, record })))
    }
}

/// What is said to a Service that the record has no room for.
const RECORD_FULL: &str = "the record of assignments is as large as its object may be; delete Services that are not needed, \
     and this one gets its addresses";

/// What a Service has by its own status: until an allocator has written a new record, it goes on with that.
fn by_status(service: &Service) -> Arc<Assignment> {
    let addresses = service.assigned.iter();
    Arc::new(Assignment {
        created: service.created,
        addresses: addresses
            .map(|address| AssignedAddress {
                address: *address,
                pool: "".into(),
            })
            .collect(),
        external_ips: service.external_ips.clone(),
        reason: REASON_PENDING.into(),
        message: "the record of assignments is lost; this is what the status says".into(),
    })
}

/// The pools as they are without anybody having an address.
fn pool_views(state: &DesiredState, own: &BTreeSet<IpAddr>) -> Vec<PoolView> {
    let mut empty = Allocator::new();
    set_pools(&mut empty, state);
    empty.set_forbidden(own.clone());
    let statuses = empty.pool_statuses();
    let view = |status: PoolStatus| {
        empty.pool(&status.name).map(|pool| PoolView {
            pool: pool.clone(),
            status,
        })
    };
    statuses.filter_map(view).collect()
}

fn set_pools(allocator: &mut Allocator, state: &DesiredState) -> landfall_ipam::Changes {
    let by_name: BTreeMap<&str, &Pool> = state
        .pools
        .values()
        .map(|pool| (pool.name(), pool))
        .collect();
    let pools = by_name.into_values().cloned().collect();
    allocator
        .set_pools(pools)
        .expect("pools taken from a map by their names have different names")
}
