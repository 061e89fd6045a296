//! Why something cannot be given, in words.
//!
//! Owns the choice of reason and the sentence that names the field and the remedy. Reads the
//! allocator's state and changes nothing; feeds outcomes. For addresses it is also the test whether
//! one can be given: what is not refused is given.

use std::net::IpAddr;

use super::Allocator;
use super::pools::PoolState;
use crate::outcome::{Lacking, Reason, Refusal};
use crate::range::Family;
use crate::request::ServiceRequest;
use crate::sharing::incompatibility;

/// How many pools a sentence names at most.
const NAMED: usize = 3;

impl Allocator {
    /// Why `address` cannot newly be given to the service, alone or shared; `None` when it can.
    pub(super) fn refuse_address(
        &self,
        request: &ServiceRequest,
        address: IpAddr,
    ) -> Option<Refusal> {
        let refusal = |reason, message| {
            Some(Refusal {
                lacking: Lacking::Address(address),
                reason,
                message,
            })
        };
        let family = Family::of(address);
        if self.forbidden.contains(&address) {
            let message = format!(
                "landfall.dev/ips: {address} is a node's own address and must stay with the node; \
                 request another one."
            );
            return refusal(Reason::ReservedAddress, message);
        }
        if !request.families.wants(family) {
            let message = format!(
                "landfall.dev/ips: {address} is {family}, which the service does not have; request \
                 {}, or add {family} to spec.ipFamilies.",
                family.other()
            );
            return refusal(Reason::NoPool, message);
        }
        let containing: Vec<&PoolState> = self.pools.containing(address).collect();
        if containing.is_empty() {
            return refusal(Reason::NoPool, self.outside(address));
        }
        let admitting: Vec<&PoolState> = containing
            .iter()
            .copied()
            .filter(|state| state.admits(request))
            .collect();
        if admitting.is_empty() {
            let names = names(containing.into_iter());
            let message = match &request.pool {
                Some(pool) => format!(
                    "landfall.dev/pool: {address} is in {names} and cannot be had from pool \
                     \"{pool}\"; request an address of a pool that the service names and whose \
                     spec.serviceSelector selects it."
                ),
                None => format!(
                    "spec.serviceSelector: {address} is in {names}, not meant for this service; \
                     change the service's labels or request another address."
                ),
            };
            return refusal(Reason::PoolSelectorMismatch, message);
        }
        if !admitting.iter().any(|state| state.is_live()) {
            let message = format!(
                "landfall.dev/ips: {address} is in {}.",
                closed(admitting[0])
            );
            return refusal(Reason::NoPool, message);
        }
        let others = || {
            self.occupancy
                .holders(address)
                .iter()
                .filter(|holder| holder.id != request.id)
        };
        let (holder, cause) = others()
            .find_map(|holder| incompatibility(request, holder).map(|cause| (holder, cause)))?;
        if request.key().is_none() {
            let message = format!(
                "landfall.dev/ips: {address} belongs to service {}; request another address, or \
                 give both services the same landfall.dev/sharing-key.",
                holder.id
            );
            return refusal(Reason::AlreadyAllocated, message);
        }
        let message = format!(
            "landfall.dev/ips: {address} belongs to service {} and cannot be shared with it because \
             {cause}.",
            holder.id
        );
        refusal(Reason::AlreadyAllocatedIncompatibleService, message)
    }

    /// Says that no pool hands out `address`.
    fn outside(&self, address: IpAddr) -> String {
        let reserving = self.pools.iter().find_map(|state| {
            let block = state
                .pool
                .blocks()
                .iter()
                .find(|block| block.range().contains(address))?;
            Some((&state.pool, block))
        });
        match reserving {
            Some((pool, block)) => format!(
                "landfall.dev/ips: {address} is the first or the last address of {block} in pool \
                 \"{}\"; request another one, or set that pool's spec.allowFirstLastIPs to \"Yes\".",
                pool.name()
            ),
            None => format!(
                "landfall.dev/ips: no pool contains {address}; request an address of a pool, or add \
                 it to a pool's spec.blocks."
            ),
        }
    }

    /// Why no address of `family` can be given to the service; to be asked when there is none.
    pub(super) fn refuse_family(&self, request: &ServiceRequest, family: Family) -> Refusal {
        let (reason, message) = match &request.pool {
            Some(name) => self.refuse_named(request, name, family),
            None => self.refuse_any(request, family),
        };
        Refusal {
            lacking: Lacking::Family(family),
            reason,
            message,
        }
    }

    fn refuse_named(
        &self,
        request: &ServiceRequest,
        name: &str,
        family: Family,
    ) -> (Reason, String) {
        let Some(state) = self.pools.by_name(name) else {
            let message = format!(
                "landfall.dev/pool: there is no pool \"{name}\"; create it or name another one."
            );
            return (Reason::NoPool, message);
        };
        if state.usable[family].is_empty() {
            let message = format!(
                "landfall.dev/pool: pool \"{name}\" has no {family} addresses; add an {family} \
                 block to its spec.blocks or name another pool."
            );
            return (Reason::NoPool, message);
        }
        if !state.admits(request) {
            let message = format!(
                "landfall.dev/pool: spec.serviceSelector of pool \"{name}\" does not select this \
                 service; change the service's labels or name another pool."
            );
            return (Reason::PoolSelectorMismatch, message);
        }
        if !state.is_live() {
            let message = format!("landfall.dev/pool: the service asks for {}.", closed(state));
            return (Reason::NoPool, message);
        }
        let message = format!(
            "spec.blocks: no {family} address is free in pool \"{name}\"; widen it or name another \
             pool."
        );
        (Reason::OutOfIps, message)
    }

    fn refuse_any(&self, request: &ServiceRequest, family: Family) -> (Reason, String) {
        let classes = &self.pools.classes;
        let members = |class| {
            classes
                .members(class)
                .filter_map(|order| self.pools.at(order))
                .filter(|state| !state.usable[family].is_empty())
        };
        // A few of each class are enough for the sentence; with thousands waiting, looking at all
        // would cost for nothing.
        let mut full: Vec<&PoolState> = classes
            .admitting(request)
            .flat_map(|class| {
                members(class)
                    .filter(|state| state.is_live())
                    .take(NAMED + 1)
            })
            .collect();
        if !full.is_empty() {
            full.sort_unstable_by_key(|state| state.pool.order());
            let message = format!(
                "spec.blocks: no {family} address is free in {}; widen a pool, or add one for this \
                 service.",
                names(full.into_iter())
            );
            return (Reason::OutOfIps, message);
        }
        let shut = classes
            .admitting(request)
            .filter_map(|class| members(class).next())
            .min_by_key(|state| state.pool.order());
        if let Some(shut) = shut {
            let message = format!(
                "spec.blocks: the {family} addresses for this service are in {}.",
                closed(shut)
            );
            return (Reason::NoPool, message);
        }
        let mut unselecting = self
            .pools
            .iter()
            .filter(|state| !state.usable[family].is_empty())
            .peekable();
        let message = if unselecting.peek().is_some() {
            format!(
                "spec.serviceSelector: the {family} addresses are in {}, not meant for this service; \
                 change the service's labels or the pool's selector.",
                names(unselecting)
            )
        } else {
            format!(
                "spec.blocks: no pool has {family} addresses; create a LoadBalancerIPPool with an \
                 {family} block."
            )
        };
        (Reason::NoPool, message)
    }
}

/// `pool "a"`, `pools "a" and "b"`, and so on, with at most a few names.
fn names<'a>(mut states: impl Iterator<Item = &'a PoolState>) -> String {
    let mut names: Vec<String> = states
        .by_ref()
        .take(NAMED)
        .map(|state| format!("\"{}\"", state.pool.name()))
        .collect();
    if states.next().is_some() {
        names.push("others".to_owned());
    }
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("pools {} and {last}", rest.join(", ")),
        _ => format!("pool {}", names.concat()),
    }
}

/// Names a pool that gives nothing new, with the reason and the remedy.
fn closed(state: &PoolState) -> String {
    let name = state.pool.name();
    match &state.conflict {
        Some(conflict) => format!(
            "pool \"{name}\", which overlaps the older pool \"{}\" and gives nothing new; narrow \
             the spec.blocks of one of them, or use another pool",
            conflict.with
        ),
        None => format!(
            "pool \"{name}\", which is disabled and gives nothing new; set its spec.disabled to \
             false, or use another pool"
        ),
    }
}
