//! Which addresses go with which lease, and who has each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::election::LeaseName;
use crate::model::ServiceName;

/// A Service that has an address, in the order of age.
pub(super) type Holder = (u64, ServiceName);

/// Addresses by lease, kept Service by Service.
#[derive(Debug, Default)]
pub(super) struct LeaseIndex {
    by_service: HashMap<ServiceName, (u64, BTreeSet<IpAddr>)>,
    holders: BTreeMap<IpAddr, BTreeSet<Holder>>,
    lease_of: BTreeMap<IpAddr, LeaseName>,
    by_lease: BTreeMap<LeaseName, BTreeSet<IpAddr>>,
}

impl LeaseIndex {
    /// Replaces what one Service has: its age and addresses. `owners` are the record's exceptions to "the oldest
    /// holder owns the lease". Adds the leases whose addresses or sharers may have changed to `concerned`.
    pub(super) fn set(
        &mut self,
        name: &ServiceName,
        entry: Option<(u64, BTreeSet<IpAddr>)>,
        owners: Option<&BTreeMap<IpAddr, ServiceName>>,
        concerned: &mut BTreeSet<LeaseName>,
    ) {
        let before = match &entry {
            Some(entry) => self.by_service.insert(name.clone(), entry.clone()),
            None => self.by_service.remove(name),
        };
        let (had_created, had) = before.unwrap_or_default();
        let (created, has) = entry.unwrap_or_default();
        for address in &had {
            if let Some(holders) = self.holders.get_mut(address) {
                holders.remove(&(had_created, name.clone()));
            }
        }
        for address in &has {
            self.holders
                .entry(*address)
                .or_default()
                .insert((created, name.clone()));
        }
        for address in had.union(&has) {
            self.settle(
                *address,
                owners.and_then(|owners| owners.get(address)),
                concerned,
            );
        }
    }

    /// The addresses of a lease with those who have them, ascending.
    pub(super) fn addresses(
        &self,
        lease: &LeaseName,
    ) -> impl Iterator<Item = (IpAddr, &BTreeSet<Holder>)> {
        let addresses = self.by_lease.get(lease).into_iter().flatten();
        addresses.filter_map(|address| Some((*address, self.holders.get(address)?)))
    }

    /// Every lease there is.
    pub(super) fn names(&self) -> impl Iterator<Item = &LeaseName> {
        self.by_lease.keys()
    }

    fn settle(
        &mut self,
        address: IpAddr,
        owner: Option<&ServiceName>,
        concerned: &mut BTreeSet<LeaseName>,
    ) {
        let oldest = self.holders.get(&address).and_then(BTreeSet::first);
        let lease = oldest.map(|(_, oldest)| {
            let owner = owner.unwrap_or(oldest);
            LeaseName::of_service(&owner.namespace, &owner.name)
        });
        if lease.is_none() {
            self.holders.remove(&address);
        }
        let before = match &lease {
            Some(lease) => self.lease_of.insert(address, lease.clone()),
            None => self.lease_of.remove(&address),
        };
        if before != lease {
            if let Some(before) = &before
                && let Some(addresses) = self.by_lease.get_mut(before)
            {
                addresses.remove(&address);
                if addresses.is_empty() {
                    self.by_lease.remove(before);
                }
            }
            if let Some(lease) = &lease {
                self.by_lease
                    .entry(lease.clone())
                    .or_default()
                    .insert(address);
            }
        }
        concerned.extend(before);
        concerned.extend(lease);
    }
}
