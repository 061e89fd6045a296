//! The record as it should be: the allocator's word, Service by Service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::{Allocator, Changes, Outcome, ServiceId};

use super::{is_ours, is_recorded, request, set_pools};
use crate::model::{
    AssignedAddress, Assignment, AssignmentRecord, DesiredState, ObjectName, Service, ServiceName,
};

/// Proposals that may still be on their way into the store. More than a store has time to refuse between
/// two reports; one that is forgotten costs an import, nothing else.
const REMEMBERED: usize = 64;

/// Allocates, and keeps the record that should be.
#[derive(Debug)]
pub(super) struct Ledger {
    allocator: Allocator,
    record: AssignmentRecord,
    /// Who has each address, the oldest first.
    holders: BTreeMap<IpAddr, BTreeSet<(u64, ServiceName)>>,
    /// Services whose entries may differ from the store's.
    unsaved: BTreeSet<ServiceName>,
    proposed: VecDeque<Arc<AssignmentRecord>>,
}

impl Ledger {
    /// Imports `committed`, the record as the store has it, and allocates what is missing. Where the store has `lost` it, this
    /// is a memory that may be old: what the Services' own status says goes before it.
    pub(super) fn new(
        state: &DesiredState,
        own: &BTreeSet<IpAddr>,
        committed: &AssignmentRecord,
        lost: bool,
    ) -> Self {
        let mut ledger = Self {
            allocator: Allocator::new(),
            record: committed.clone(),
            holders: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            proposed: VecDeque::new(),
        };
        for (name, entry) in &committed.services {
            for vip in entry.vips() {
                let holders = ledger.holders.entry(vip).or_default();
                holders.insert((entry.created, name.clone()));
            }
        }
        set_pools(&mut ledger.allocator, state);
        ledger.allocator.set_forbidden(own.clone());
        for service in state.services.values().filter(|service| is_ours(service)) {
            let mut request = ledger.request(service);
            if lost && !service.assigned.is_empty() {
                request.current.clone_from(&service.assigned);
            }
            ledger.allocator.import(request);
        }
        ledger.allocator.start();
        let names: BTreeSet<ServiceName> = committed
            .services
            .keys()
            .chain(state.services.keys())
            .cloned()
            .collect();
        for name in names {
            ledger.write(state, &name);
        }
        ledger
    }

    /// Takes in the pools and the nodes' addresses.
    pub(super) fn set_ground(&mut self, state: &DesiredState, own: &BTreeSet<IpAddr>) {
        let changes = self.allocator.set_forbidden(own.clone());
        self.take_over(state, &changes);
        let changes = set_pools(&mut self.allocator, state);
        self.take_over(state, &changes);
    }

    /// Takes in that a Service came, changed or went.
    pub(super) fn service_changed(&mut self, state: &DesiredState, name: &ServiceName) {
        let service = state.services.get(name);
        let changes = match service.filter(|service| is_ours(service)) {
            Some(service) => {
                let request = self.request(service);
                self.allocator.upsert_service(request)
            }
            None => self.allocator.remove_service(&id(name)),
        };
        self.take_over(state, &changes);
        self.write(state, name);
    }

    /// Takes in what the store has. False where it is neither a proposal of this ledger nor what it had.
    pub(super) fn committed(&mut self, record: &Arc<AssignmentRecord>) -> bool {
        let ours = |proposed: &Arc<AssignmentRecord>| {
            Arc::ptr_eq(proposed, record) || **proposed == **record
        };
        let known = self.proposed.iter().any(ours);
        if known {
            // Those that were made from the same revision can no longer be written.
            self.proposed.clear();
            self.unsaved = self.record.changed(record);
        }
        known
    }

    /// The record to be written, unless `committed` is it already and is not `lost` to the store.
    pub(super) fn snapshot(
        &mut self,
        committed: &AssignmentRecord,
        lost: bool,
    ) -> Option<Arc<AssignmentRecord>> {
        let services = (&self.record.services, &committed.services);
        self.unsaved
            .retain(|name| services.0.get(name) != services.1.get(name));
        let same = self.unsaved.is_empty() && self.record.leases == committed.leases;
        if same && !lost {
            return None;
        }
        if let Some(last) = self.proposed.back().filter(|last| ***last == self.record) {
            return Some(Arc::clone(last));
        }
        let record = Arc::new(self.record.clone());
        if self.proposed.len() == REMEMBERED {
            self.proposed.pop_front();
        }
        self.proposed.push_back(Arc::clone(&record));
        Some(record)
    }

    fn request(&self, service: &Service) -> landfall_ipam::ServiceRequest {
        let entry = self.record.services.get(&service.name);
        let recorded = entry.map(|entry| entry.addresses.iter().map(|assigned| assigned.address));
        let mut current: Vec<IpAddr> = recorded.into_iter().flatten().collect();
        // The status follows the record, and both together would be more than the Service asked for.
        if current.is_empty() {
            current.clone_from(&service.assigned);
        }
        request(
            service,
            entry.map_or(service.created, |entry| entry.created),
            current,
        )
    }

    fn take_over(&mut self, state: &DesiredState, changes: &Changes) {
        for id in changes.services.keys() {
            self.write(state, &ObjectName::new(id.namespace(), id.name()));
        }
    }

    /// Brings the entry of one Service in line with the state and the allocator.
    fn write(&mut self, state: &DesiredState, name: &ServiceName) {
        let service = state.services.get(name);
        let entry = service
            .filter(|service| is_recorded(service))
            .map(|service| {
                let known = self.record.services.get(name);
                let created = known.map_or(service.created, |known| known.created);
                entry(service, created, self.allocator.outcome(&id(name)))
            });
        let before = self.record.services.get(name);
        if before.map(|before| &**before) == entry.as_ref() {
            return;
        }
        let before = before.map(Arc::clone);
        let vips = |entry: &Assignment| {
            entry
                .vips()
                .map(|vip| (vip, entry.created))
                .collect::<BTreeSet<_>>()
        };
        let had = before.as_deref().map(vips).unwrap_or_default();
        let has = entry.as_ref().map(vips).unwrap_or_default();
        for (vip, created) in has.difference(&had) {
            self.change_holders(*vip, |holders| {
                holders.insert((*created, name.clone()));
            });
        }
        for (vip, created) in had.difference(&has) {
            self.change_holders(*vip, |holders| {
                holders.remove(&(*created, name.clone()));
            });
        }
        match entry {
            Some(entry) => self.record.services.insert(name.clone(), Arc::new(entry)),
            None => self.record.services.remove(name),
        };
        self.unsaved.insert(name.clone());
    }

    /// Changes who has `vip`, and keeps its lease as long as somebody has it throughout.
    fn change_holders(
        &mut self,
        vip: IpAddr,
        change: impl FnOnce(&mut BTreeSet<(u64, ServiceName)>),
    ) {
        let holders = self.holders.entry(vip).or_default();
        let oldest =
            |holders: &BTreeSet<(u64, ServiceName)>| holders.first().map(|(_, name)| name.clone());
        let kept = self.record.leases.remove(&vip).or_else(|| oldest(holders));
        change(holders);
        let first = oldest(holders);
        if first.is_none() {
            self.holders.remove(&vip);
        } else if kept.is_some() && kept != first {
            self.record.leases.extend(kept.map(|kept| (vip, kept)));
        }
    }
}

fn id(name: &ServiceName) -> ServiceId {
    ServiceId::new(&name.namespace, &name.name)
}

fn entry(service: &Service, created: u64, outcome: Option<&Outcome>) -> Assignment {
    let addresses = outcome.map(Outcome::addresses).unwrap_or_default();
    Assignment {
        created,
        addresses: addresses
            .iter()
            .map(|assigned| AssignedAddress {
                address: assigned.address,
                pool: Arc::clone(&assigned.pool),
            })
            .collect(),
        external_ips: service.external_ips.clone(),
        reason: outcome
            .map_or("", |outcome| outcome.reason().as_str())
            .into(),
        message: outcome.map(Outcome::message).unwrap_or_default().into(),
    }
}
