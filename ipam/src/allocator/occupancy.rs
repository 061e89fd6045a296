//! Who has which address, over all pools.
//!
//! Owns the one record that makes double allocation impossible: an address is looked up here before
//! it is given, whichever pool it comes from. Fed by the settling of services; feeds pools (what is
//! free) and the sharing rule (who else is there).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::range::{Family, PerFamily, bits_of};
use crate::request::{ServiceId, ServiceRequest};

/// The holders of every address that has any, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Occupancy {
    holders: PerFamily<BTreeMap<u128, Vec<Arc<ServiceRequest>>>>,
}

impl Occupancy {
    /// The services that have `address`, the oldest first.
    pub(super) fn holders(&self, address: IpAddr) -> &[Arc<ServiceRequest>] {
        self.holders[Family::of(address)]
            .get(&bits_of(address))
            .map_or(&[], Vec::as_slice)
    }

    /// Makes `request` a holder of `address`; true when it is the first one.
    pub(super) fn add(&mut self, address: IpAddr, request: Arc<ServiceRequest>) -> bool {
        let holders = self.holders[Family::of(address)]
            .entry(bits_of(address))
            .or_default();
        let place = holders.partition_point(|holder| {
            (holder.created, &holder.id) < (request.created, &request.id)
        });
        holders.insert(place, request);
        holders.len() == 1
    }

    /// Takes `service` from the holders of `address`; true when it was the last one.
    pub(super) fn remove(&mut self, address: IpAddr, service: &ServiceId) -> bool {
        let family = &mut self.holders[Family::of(address)];
        let Some(holders) = family.get_mut(&bits_of(address)) else {
            return false;
        };
        holders.retain(|holder| holder.id != *service);
        let last = holders.is_empty();
        if last {
            family.remove(&bits_of(address));
        }
        last
    }

    /// Occupied addresses of `family` within `first..=last` with their holders, ascending.
    pub(super) fn within(
        &self,
        family: Family,
        first: u128,
        last: u128,
    ) -> impl Iterator<Item = (IpAddr, &[Arc<ServiceRequest>])> {
        self.holders[family]
            .range(first..=last)
            .map(move |(&bits, holders)| (family.address(bits), holders.as_slice()))
    }

    /// Every occupied address with its holders, IPv4 first, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, &[Arc<ServiceRequest>])> {
        Family::ALL
            .into_iter()
            .flat_map(|family| self.within(family, 0, family.max()))
    }
}
