//! What the allocator tells when asked.
//!
//! Owns the read side: outcomes, counts and listings. Reads the allocator's state and changes
//! nothing; feeds status, metrics and the command line.

use std::net::IpAddr;

use super::Allocator;
use super::pools::PoolState;
use crate::outcome::Outcome;
use crate::pool::PoolStatus;
use crate::range::Family;
use crate::request::{ServiceId, ServiceRequest};

impl Allocator {
    /// What became of a service; `None` when it is unknown or the import phase is not over.
    pub fn outcome(&self, id: &ServiceId) -> Option<&Outcome> {
        self.services.get(id)?.outcome.as_ref()
    }

    /// The request of a service as the allocator knows it.
    pub fn request(&self, id: &ServiceId) -> Option<&ServiceRequest> {
        self.services
            .get(id)
            .map(|entry| &*entry.request)
            .or_else(|| self.imported.get(id))
    }

    /// The services that have `address`, the oldest first.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceId> {
        self.occupancy
            .holders(address)
            .iter()
            .map(|holder| &holder.id)
    }

    /// Every address somebody has, with its holders, the oldest first; IPv4 first, ascending.
    pub fn assignments(&self) -> impl Iterator<Item = (IpAddr, Vec<&ServiceId>)> {
        self.occupancy
            .iter()
            .map(|(address, holders)| (address, holders.iter().map(|holder| &holder.id).collect()))
    }

    /// The services that lack something, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &ServiceId> {
        self.waiting.everyone().map(|(_, id)| id)
    }

    /// The pool `name` as it was defined.
    pub fn pool(&self, name: &str) -> Option<&crate::pool::Pool> {
        self.pools.by_name(name).map(|state| &state.pool)
    }

    /// Counts and state of the pool `name`.
    pub fn pool_status(&self, name: &str) -> Option<PoolStatus> {
        self.pools.by_name(name).map(|state| self.status(state))
    }

    /// Counts and state of every pool, the oldest first.
    pub fn pool_statuses(&self) -> impl Iterator<Item = PoolStatus> {
        self.pools.iter().map(|state| self.status(state))
    }

    fn status(&self, state: &PoolState) -> PoolStatus {
        let sum = |count: &dyn Fn(Family) -> u128| {
            Family::ALL
                .into_iter()
                .fold(0_u128, |sum, family| sum.saturating_add(count(family)))
        };
        let reserved = sum(&|family| {
            state.usable[family]
                .iter()
                .map(|(first, last)| {
                    self.forbidden
                        .range(family.address(first)..=family.address(last))
                        .count() as u128
                })
                .sum()
        });
        PoolStatus {
            name: state.pool.order().name,
            total: sum(&|family| state.usable[family].len()),
            used: state.used,
            reserved,
            available: sum(&|family| state.free[family].len()),
            disabled: state.pool.disabled(),
            conflict: state.conflict.clone(),
        }
    }
}
