//! The table of pools: what is free in each, and which pools contain an address.
//!
//! Owns every pool's state and keeps it in step with the occupancy of addresses. Fed by lists of
//! pools, and by addresses being taken and given back; feeds allocation and status.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::classes::{ClassId, Classes};
use super::conflicts::conflicts;
use super::occupancy::Occupancy;
use crate::interval::IntervalSet;
use crate::pool::{Conflict, DuplicatePool, Pool, PoolOrder};
use crate::range::{Family, PerFamily, bits_of};
use crate::request::ServiceRequest;

/// One pool and what became of its addresses.
#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pub(super) pool: Pool,
    class: ClassId,
    /// What may be handed out in principle.
    pub(super) usable: PerFamily<IntervalSet>,
    /// Usable, nobody's, and no node's own.
    pub(super) free: PerFamily<IntervalSet>,
    /// Usable addresses somebody has.
    pub(super) used: u128,
    pub(super) conflict: Option<Conflict>,
}

impl PoolState {
    /// Whether new addresses may be given.
    pub(super) fn is_live(&self) -> bool {
        !self.pool.disabled() && self.conflict.is_none()
    }

    /// Whether a new address of `family` can be given.
    pub(super) fn is_open(&self, family: Family) -> bool {
        self.is_live() && !self.free[family].is_empty()
    }

    /// Whether the pool is for the service.
    pub(super) fn admits(&self, request: &ServiceRequest) -> bool {
        request
            .pool
            .as_deref()
            .is_none_or(|name| name == self.pool.name())
            && self
                .pool
                .selector()
                .is_none_or(|selector| selector.matches(request))
    }

    /// Whether `address` may be handed out in principle.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.usable[Family::of(address)].contains(bits_of(address))
    }
}

/// What a new list of pools changes for services.
#[derive(Debug, Default)]
pub(super) struct Reshaped {
    /// Addresses whose pools are others now, or are for other services.
    pub(super) regions: PerFamily<IntervalSet>,
    /// Every address of the blocks of changed pools, before and after; what is said to those who
    /// ask for one of them may be another thing now.
    pub(super) blocks: PerFamily<IntervalSet>,
    /// Whether pools came, went, were enabled, disabled, relabelled, or got or lost a conflict or
    /// the whole of a family: everybody who waits may wait for something else now.
    pub(super) structural: bool,
}

impl Reshaped {
    fn mention(&mut self, pool: &Pool) {
        for block in pool.blocks() {
            let (first, last) = block.range().bounds();
            self.blocks[block.range().family()].insert(first, last);
        }
    }
}

/// All pools, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolTable {
    states: BTreeMap<PoolOrder, PoolState>,
    by_name: BTreeMap<Arc<str>, PoolOrder>,
    pub(super) classes: Classes,
    /// Usable ranges of pools without conflict, which are disjoint: lowest to highest and owner.
    cover: PerFamily<BTreeMap<u128, (u128, PoolOrder)>>,
    conflicting: BTreeSet<PoolOrder>,
    /// Pools whose status may have changed since it was last asked.
    touched: BTreeSet<Arc<str>>,
    /// Pools, with class, that got a free address of a family since it was last asked.
    opened: BTreeSet<(ClassId, Arc<str>, Family)>,
}

impl PoolTable {
    /// The pools with their state, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PoolState> {
        self.states.values()
    }

    /// The pool `name`.
    pub(super) fn by_name(&self, name: &str) -> Option<&PoolState> {
        self.states.get(self.by_name.get(name)?)
    }

    /// The pool at `order`.
    pub(super) fn at(&self, order: &PoolOrder) -> Option<&PoolState> {
        self.states.get(order)
    }

    /// The pools in which `address` may be handed out in principle, the oldest first.
    pub(super) fn containing(&self, address: IpAddr) -> impl Iterator<Item = &PoolState> {
        self.orders_containing(address)
            .filter_map(|order| self.states.get(order))
    }

    fn orders_containing(&self, address: IpAddr) -> impl Iterator<Item = &PoolOrder> {
        let bits = bits_of(address);
        let covering = self.cover[Family::of(address)]
            .range(..=bits)
            .next_back()
            .filter(|(_, (last, _))| bits <= *last)
            .map(|(_, (_, order))| order);
        let overlapping = move |order: &&PoolOrder| {
            self.states
                .get(*order)
                .is_some_and(|state| state.contains(address))
        };
        // The one pool without conflict among those with: all in the order of their age.
        let is_older = move |order: &&PoolOrder| covering.is_some_and(|covering| *order < covering);
        let older = self.conflicting.iter().take_while(is_older);
        let younger = self.conflicting.iter().skip_while(is_older);
        older
            .filter(overlapping)
            .chain(covering)
            .chain(younger.filter(overlapping))
    }

    /// Somebody has `address`, which nobody had.
    pub(super) fn occupy(&mut self, address: IpAddr) {
        self.update(address, false, |state, family, bits| {
            state.free[family].remove(bits, bits);
            state.used += 1;
        });
    }

    /// Nobody has `address` any more; `reserved` when it is a node's own.
    pub(super) fn vacate(&mut self, address: IpAddr, reserved: bool) {
        self.update(address, !reserved, |state, family, bits| {
            if !reserved {
                state.free[family].insert(bits, bits);
            }
            state.used -= 1;
        });
    }

    /// `address`, which nobody has, became a node's own or ceased to be.
    pub(super) fn set_reserved(&mut self, address: IpAddr, reserved: bool) {
        self.update(address, !reserved, |state, family, bits| {
            if reserved {
                state.free[family].remove(bits, bits);
            } else {
                state.free[family].insert(bits, bits);
            }
        });
    }

    fn update(
        &mut self,
        address: IpAddr,
        gained: bool,
        change: impl Fn(&mut PoolState, Family, u128),
    ) {
        let (family, bits) = (Family::of(address), bits_of(address));
        let orders: Vec<PoolOrder> = self.orders_containing(address).cloned().collect();
        for order in orders {
            if let Some(state) = self.states.get_mut(&order) {
                change(state, family, bits);
            }
            self.refresh_open(&order, family, gained);
        }
    }

    /// Brings the index of open pools in step with one pool, which may have `gained` a free
    /// address, and notes that it was touched.
    fn refresh_open(&mut self, order: &PoolOrder, family: Family, gained: bool) {
        let Some(state) = self.states.get(order) else {
            return;
        };
        let open = state.is_open(family);
        self.classes.set_open(state.class, order, family, open);
        if open && gained {
            self.opened
                .insert((state.class, Arc::clone(&order.name), family));
        }
        if !self.touched.contains(&order.name) {
            self.touched.insert(Arc::clone(&order.name));
        }
    }

    /// The pools whose status may have changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched)
    }

    /// The pools that got a free address since the last call.
    pub(super) fn take_opened(&mut self) -> BTreeSet<(ClassId, Arc<str>, Family)> {
        std::mem::take(&mut self.opened)
    }

    /// Replaces the list of pools. Pools that are as before cost one comparison each.
    pub(super) fn replace(
        &mut self,
        pools: Vec<Pool>,
        occupancy: &Occupancy,
        forbidden: &BTreeSet<IpAddr>,
    ) -> Result<Reshaped, DuplicatePool> {
        let mut names = BTreeSet::new();
        if let Some(twice) = pools.iter().find(|pool| !names.insert(pool.name())) {
            return Err(DuplicatePool {
                name: twice.name().into(),
            });
        }
        let pools: BTreeMap<PoolOrder, Pool> =
            pools.into_iter().map(|pool| (pool.order(), pool)).collect();
        let mut conflicts = conflicts(pools.iter());
        let mut reshaped = Reshaped::default();

        let gone: Vec<PoolOrder> = self
            .states
            .keys()
            .filter(|order| !pools.contains_key(*order))
            .cloned()
            .collect();
        for order in gone {
            reshaped.structural = true;
            self.remove(&order, &mut reshaped);
        }
        // Withdraw all that changed from the cover before anything new enters it: ranges may have
        // moved from one pool to another.
        let mut changed = Vec::new();
        for (order, pool) in pools {
            let conflict = conflicts.remove(&order);
            let same = self
                .states
                .get(&order)
                .is_some_and(|state| state.pool == pool && state.conflict == conflict);
            if !same {
                self.uncover(&order);
                changed.push((order, pool, conflict));
            }
        }
        for (order, pool, conflict) in changed {
            self.reshape(order, pool, conflict, occupancy, forbidden, &mut reshaped);
        }
        Ok(reshaped)
    }

    fn remove(&mut self, order: &PoolOrder, reshaped: &mut Reshaped) {
        self.uncover(order);
        self.conflicting.remove(order);
        self.by_name.remove(&order.name);
        self.touched.insert(Arc::clone(&order.name));
        if let Some(state) = self.states.remove(order) {
            self.classes.leave(state.class, order);
            for family in Family::ALL {
                merge(&mut reshaped.regions[family], &state.usable[family]);
            }
            reshaped.mention(&state.pool);
        }
    }

    /// Puts a new or changed pool in place, touching only the addresses that came or went.
    fn reshape(
        &mut self,
        order: PoolOrder,
        pool: Pool,
        conflict: Option<Conflict>,
        occupancy: &Occupancy,
        forbidden: &BTreeSet<IpAddr>,
        reshaped: &mut Reshaped,
    ) {
        reshaped.mention(&pool);
        let usable = pool.usable();
        let class = self.classes.join(pool.selector(), order.clone());
        let old = self.states.remove(&order);
        let same_services = old
            .as_ref()
            .is_some_and(|old| old.pool.selector() == pool.selector());
        reshaped.structural |= !same_services
            || old.as_ref().is_none_or(|old| {
                old.pool.disabled() != pool.disabled()
                    || old.conflict != conflict
                    || Family::ALL
                        .iter()
                        .any(|&family| old.usable[family].is_empty() != usable[family].is_empty())
            });
        let (old_usable, mut free, mut used) = match old {
            Some(old) => {
                reshaped.mention(&old.pool);
                if old.class != class {
                    self.classes.leave(old.class, &order);
                }
                (old.usable, old.free, old.used)
            }
            None => (PerFamily::default(), PerFamily::default(), 0),
        };
        for family in Family::ALL {
            let removed = old_usable[family].minus(&usable[family]);
            let added = usable[family].minus(&old_usable[family]);
            for (first, last) in removed.iter() {
                free[family].remove(first, last);
                used -= occupancy.within(family, first, last).count() as u128;
            }
            for (first, last) in added.iter() {
                free[family].insert(first, last);
                for (address, _) in occupancy.within(family, first, last) {
                    free[family].remove(bits_of(address), bits_of(address));
                    used += 1;
                }
                for address in forbidden.range(family.address(first)..=family.address(last)) {
                    free[family].remove(bits_of(*address), bits_of(*address));
                }
            }
            let region = &mut reshaped.regions[family];
            merge(region, &removed);
            merge(
                region,
                if same_services {
                    &added
                } else {
                    &usable[family]
                },
            );
        }
        if conflict.is_none() {
            for family in Family::ALL {
                for (first, last) in usable[family].iter() {
                    self.cover[family].insert(first, (last, order.clone()));
                }
            }
            self.conflicting.remove(&order);
        } else {
            self.conflicting.insert(order.clone());
        }
        self.by_name.insert(Arc::clone(&order.name), order.clone());
        self.states.insert(
            order.clone(),
            PoolState {
                pool,
                class,
                usable,
                free,
                used,
                conflict,
            },
        );
        for family in Family::ALL {
            self.refresh_open(&order, family, true);
        }
    }

    /// Takes a pool's ranges out of the cover.
    fn uncover(&mut self, order: &PoolOrder) {
        let Some(state) = self.states.get(order) else {
            return;
        };
        if state.conflict.is_some() {
            return;
        }
        for family in Family::ALL {
            for (first, _) in state.usable[family].iter() {
                self.cover[family].remove(&first);
            }
        }
    }
}

fn merge(into: &mut IntervalSet, from: &IntervalSet) {
    for (first, last) in from.iter() {
        into.insert(first, last);
    }
}
