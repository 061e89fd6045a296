//! Random histories against the rules, stated once more in `model` by looking at everything.
//!
//! After every event: nobody has what he may not have, nothing legal moved, every refusal is true
//! and nothing refused could be given, what became free went to the oldest who could use it, counts
//! add up, the reported changes are the changes, and a restart that imports everything in any order
//! ends with the very same outcomes.

mod events;
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use landfall_ipam::{
    Allocator, Changes, Family, Lacking, Outcome, Pool, Reason, ServiceId, ServiceRequest,
};
use proptest::prelude::*;

use self::events::{Event, history};
use self::model::{World, addresses, may_share};

type Checked = Result<(), TestCaseError>;

/// The allocator beside the world it should describe.
struct Trial {
    allocator: Allocator,
    world: World,
    outcomes: BTreeMap<ServiceId, Outcome>,
}

fn built(world: &World) -> Vec<Pool> {
    world
        .pools
        .iter()
        .map(|pool| pool.build().expect("the pool was built before"))
        .collect()
}

/// A fresh allocator that imports `services` as they stand, turned round by `seed`.
fn restarted(world: &World, seed: u64) -> (Allocator, Changes) {
    let mut allocator = Allocator::new();
    allocator.set_pools(built(world)).expect("names are unique");
    allocator.set_forbidden(world.forbidden.clone());
    let mut requests: Vec<ServiceRequest> = world.services.values().cloned().collect();
    for request in &mut requests {
        request.current = world.held[&request.id].iter().copied().collect();
        if seed & 1 == 1 {
            request.current.reverse();
        }
    }
    let count = requests.len() as u64;
    for left in (1..=count).rev() {
        let place = usize::try_from((seed / count) % left).expect("a place in the list");
        allocator.import(requests.remove(place));
    }
    let changes = allocator.start();
    (allocator, changes)
}

impl Trial {
    fn new() -> Self {
        let mut allocator = Allocator::new();
        allocator.start();
        Self {
            allocator,
            world: World::default(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Lets the event happen to both and checks everything.
    fn step(&mut self, event: &Event) -> Checked {
        let before = self.world.clone();
        let mut upserted = None;
        let changes = match event {
            Event::Pools(pools) => {
                self.world.pools.clone_from(pools);
                self.set_pools()
            }
            Event::OnePool(index, pool) => {
                self.world.pools.retain(|other| other.name != pool.name);
                if *index < self.world.pools.len() {
                    self.world.pools.remove(*index);
                }
                self.world.pools.push(pool.clone());
                self.set_pools()
            }
            Event::Upsert(request) => {
                upserted = Some(request.id.clone());
                self.world
                    .services
                    .insert(request.id.clone(), (**request).clone());
                self.allocator.upsert_service((**request).clone())
            }
            Event::Remove(id) => {
                self.world.services.remove(id);
                self.allocator.remove_service(id)
            }
            Event::Forbid(addresses) => {
                self.world.forbidden.clone_from(addresses);
                self.allocator.set_forbidden(addresses.clone())
            }
            Event::Restart(seed) => {
                self.allocator = restarted(&self.world, *seed).0;
                Changes::default()
            }
        };
        let mut outcomes = BTreeMap::new();
        self.world.held.clear();
        for id in self.world.services.keys() {
            let outcome = self.allocator.outcome(id);
            let outcome = outcome.ok_or_else(|| TestCaseError::fail(format!("{id} has none")))?;
            self.world.held.insert(id.clone(), addresses(outcome));
            outcomes.insert(id.clone(), outcome.clone());
        }
        let outcomes_before = std::mem::replace(&mut self.outcomes, outcomes);
        if matches!(event, Event::Restart(_)) {
            prop_assert_eq!(
                &outcomes_before,
                &self.outcomes,
                "a restart changes nothing"
            );
        } else {
            self.changes_are_told(&before, &outcomes_before, upserted.as_ref(), &changes)?;
        }
        self.everything_had_is_legal()?;
        self.nothing_legal_moved(&before, upserted.as_ref())?;
        self.outcomes_are_true()?;
        self.the_oldest_came_first(&before)?;
        self.lowest_of_the_oldest_pool(&before, upserted.as_ref())?;
        self.counts_add_up()
    }

    fn set_pools(&mut self) -> Changes {
        self.world
            .pools
            .sort_by_key(|pool| (pool.created, pool.name.clone()));
        self.allocator
            .set_pools(built(&self.world))
            .expect("names are unique")
    }

    fn everything_had_is_legal(&self) -> Checked {
        for (id, held) in &self.world.held {
            let service = &self.world.services[id];
            for &address in held {
                prop_assert!(
                    self.world.is_legal_alone(service, address),
                    "{id} has {address} and may not"
                );
                for other in self.world.holders(address) {
                    prop_assert!(
                        other.id == *id || may_share(service, other),
                        "{id} and {} have {address}",
                        other.id
                    );
                }
                prop_assert!(self.allocator.holders(address).any(|holder| holder == id));
            }
        }
        let listed: BTreeSet<(IpAddr, ServiceId)> = self
            .allocator
            .assignments()
            .flat_map(|(address, ids)| ids.into_iter().map(move |id| (address, id.clone())))
            .collect();
        let held = self.world.held.iter();
        let held = held.flat_map(|(id, held)| held.iter().map(|address| (*address, id.clone())));
        prop_assert_eq!(listed, held.collect::<BTreeSet<_>>());
        Ok(())
    }

    fn nothing_legal_moved(&self, before: &World, upserted: Option<&ServiceId>) -> Checked {
        for (id, held) in &before.held {
            let Some(service) = self.world.services.get(id) else {
                continue;
            };
            for &address in held.difference(&self.world.held[id]) {
                let ousted = upserted == Some(id)
                    && before
                        .holders(address)
                        .iter()
                        .any(|other| other.id != *id && !may_share(service, other));
                prop_assert!(
                    ousted || !self.world.is_legal_alone(service, address),
                    "{id} lost {address}, which is legal"
                );
            }
        }
        Ok(())
    }

    fn outcomes_are_true(&self) -> Checked {
        for (id, outcome) in &self.outcomes {
            let service = &self.world.services[id];
            let held = &self.world.held[id];
            let lacking: BTreeSet<Lacking> = outcome
                .refusals()
                .iter()
                .map(|refusal| refusal.lacking)
                .collect();
            let expected: BTreeSet<Lacking> = if service.requested.is_empty() {
                let has = |family| held.iter().any(|address| Family::of(*address) == family);
                service
                    .families
                    .wanted()
                    .filter(|f| !has(*f))
                    .map(Lacking::Family)
                    .collect()
            } else {
                let missing = service
                    .requested
                    .iter()
                    .filter(|address| !held.contains(*address));
                missing.map(|address| Lacking::Address(*address)).collect()
            };
            prop_assert_eq!(&lacking, &expected, "{} is told what it lacks", id);
            match outcome {
                Outcome::Refused { .. } => prop_assert!(held.is_empty() && !lacking.is_empty()),
                Outcome::Partial { .. } => prop_assert!(!held.is_empty() && !lacking.is_empty()),
                Outcome::Satisfied { .. } => prop_assert!(!held.is_empty()),
            }
            prop_assert_eq!(
                outcome.is_satisfied(),
                outcome.reason() == Reason::Satisfied
            );
            for refusal in outcome.refusals() {
                if let Err(why) = self.world.disprove(service, refusal) {
                    return Err(TestCaseError::fail(format!("{id}: {refusal:?}: {why}")));
                }
                prop_assert!(refusal.message.ends_with('.'), "{}", refusal.message);
                prop_assert!(refusal.message.contains(": "), "{}", refusal.message);
            }
            for assigned in outcome.addresses() {
                let first =
                    self.world.pools.iter().find(|pool| {
                        pool.admits(service) && pool.usable().contains(&assigned.address)
                    });
                prop_assert_eq!(first.map(|pool| pool.name.as_str()), Some(&*assigned.pool));
            }
        }
        Ok(())
    }

    fn the_oldest_came_first(&self, before: &World) -> Checked {
        for (id, held) in &self.world.held {
            let taker = &self.world.services[id];
            let had = before.held.get(id);
            let fresh = held
                .iter()
                .filter(|address| had.is_none_or(|had| !had.contains(*address)))
                .filter(|address| self.world.holders(**address).len() == 1);
            for &address in fresh {
                for (other, outcome) in &self.outcomes {
                    let waiter = &self.world.services[other];
                    let older = (waiter.created, other) < (taker.created, id);
                    let wants = outcome
                        .refusals()
                        .iter()
                        .any(|refusal| refusal.lacking == Lacking::Family(Family::of(address)));
                    let could = self
                        .world
                        .giving(waiter)
                        .iter()
                        .any(|pool| pool.usable().contains(&address));
                    prop_assert!(
                        !(older && wants && could),
                        "{id} took {address}, for which the older {other} waits"
                    );
                }
            }
        }
        Ok(())
    }

    fn lowest_of_the_oldest_pool(&self, before: &World, upserted: Option<&ServiceId>) -> Checked {
        let Some(id) = upserted.filter(|id| !before.services.contains_key(*id)) else {
            return Ok(());
        };
        let service = &self.world.services[id];
        if service.key().is_some() || !service.requested.is_empty() || !service.current.is_empty() {
            return Ok(());
        }
        for &address in &self.world.held[id] {
            let free = |candidate: &IpAddr| {
                Family::of(*candidate) == Family::of(address) && before.is_free(*candidate)
            };
            let lowest = self
                .world
                .giving(service)
                .iter()
                .find_map(|pool| pool.usable().into_iter().find(free));
            prop_assert_eq!(lowest, Some(address));
        }
        Ok(())
    }

    fn counts_add_up(&self) -> Checked {
        let conflicts = self.world.conflicts();
        for pool in &self.world.pools {
            let status = self
                .allocator
                .pool_status(&pool.name)
                .expect("the pool is known");
            let usable = pool.usable();
            let used = usable
                .iter()
                .filter(|a| !self.world.holders(**a).is_empty())
                .count();
            let free = usable
                .iter()
                .filter(|address| self.world.is_free(**address))
                .count();
            let reserved = usable.intersection(&self.world.forbidden).count();
            prop_assert_eq!(status.total, usable.len() as u128);
            prop_assert_eq!(status.used, used as u128);
            prop_assert_eq!(status.available, free as u128);
            prop_assert_eq!(status.reserved, reserved as u128);
            prop_assert_eq!(status.disabled, pool.disabled);
            match (&status.conflict, conflicts.get(&pool.name)) {
                (None, None) => {}
                (Some(conflict), Some(with)) => prop_assert!(with.contains(&*conflict.with)),
                (told, expected) => prop_assert!(false, "{told:?}, expected {expected:?}"),
            }
        }
        prop_assert_eq!(
            self.allocator.pool_statuses().count(),
            self.world.pools.len()
        );
        Ok(())
    }

    fn changes_are_told(
        &self,
        before: &World,
        outcomes_before: &BTreeMap<ServiceId, Outcome>,
        upserted: Option<&ServiceId>,
        changes: &Changes,
    ) -> Checked {
        let ids: BTreeSet<&ServiceId> =
            outcomes_before.keys().chain(self.outcomes.keys()).collect();
        let nothing = BTreeSet::new();
        for id in ids {
            let (old, new) = (outcomes_before.get(id), self.outcomes.get(id));
            let Some(change) = changes.services.get(id) else {
                prop_assert_eq!(old, new, "{} changed and nobody was told", id);
                continue;
            };
            prop_assert_eq!(change.outcome.as_ref(), new);
            let status: BTreeSet<IpAddr> = match old {
                Some(outcome) => addresses(outcome),
                None => {
                    prop_assert_eq!(upserted, Some(id));
                    self.world.services[id].current.iter().copied().collect()
                }
            };
            let now = self.world.held.get(id).unwrap_or(&nothing);
            prop_assert_eq!(&change.lost, &status.difference(now).copied().collect());
            prop_assert_eq!(&change.gained, &now.difference(&status).copied().collect());
        }
        let named = changes
            .services
            .keys()
            .all(|id| self.outcomes.contains_key(id) || before.services.contains_key(id));
        prop_assert!(named, "only services there are or were are named");
        Ok(())
    }
}

/// `least` cases, or more if `PROPTEST_CASES` asks for more. Failures are kept as tests by hand.
fn cases(least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if default.cases > 256 {
        default.cases
    } else {
        least
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn every_history_keeps_the_rules(events in history(), seed in any::<u64>()) {
        let mut trial = Trial::new();
        for event in &events {
            trial.step(event)?;
        }
        trial.step(&Event::Restart(seed))?;
    }
}

proptest! {
    #![proptest_config(cases(250))]

    #[test]
    fn the_same_events_give_the_same_result(events in history()) {
        let run = || {
            let mut trial = Trial::new();
            events.iter().try_for_each(|event| trial.step(event)).map(|()| trial.outcomes)
        };
        prop_assert_eq!(run()?, run()?);
    }

    #[test]
    fn imports_in_any_order_adopt_the_same(events in history(), seeds in any::<[u64; 3]>()) {
        // Statuses made up at random: addresses may be illegal, or claimed by several.
        let mut world = World::default();
        for event in events {
            match event {
                Event::Pools(pools) => {
                    world.pools = pools;
                    world.pools.sort_by_key(|pool| (pool.created, pool.name.clone()));
                }
                Event::Upsert(request) => {
                    world.held.insert(request.id.clone(), request.current.iter().copied().collect());
                    world.services.insert(request.id.clone(), *request);
                }
                Event::Forbid(addresses) => world.forbidden = addresses,
                Event::OnePool(..) | Event::Remove(_) | Event::Restart(_) => {}
            }
        }
        let [first, second, third] = seeds.map(|seed| restarted(&world, seed).1);
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(&first, &third);
        prop_assert_eq!(first.services.len(), world.services.len(), "all are named");
    }
}
