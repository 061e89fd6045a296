//! Random histories: whatever happens, never two answers; and once things are well, one.
//!
//! `LANDFALL_HISTORIES=20000` runs as many, `LANDFALL_SEED=17` that one alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::cluster::*;
use crate::election::*;

/// Seeds that once found a fault.
const REGRESSIONS: &[u64] = &[61, 1871, 14713, 16543];

/// How many histories run unless `LANDFALL_HISTORIES` says otherwise.
const COUNT: u64 = 2000;
const NODES: usize = 5;
const SECOND: Duration = Duration::from_secs(1);

/// What one history was made of.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    steps: u64,
    harms: u64,
    moves: u64,
    bequests: u64,
    pruned: u64,
}

fn history(seed: u64) -> Course {
    let mut cluster = Cluster::new(NODES, seed);
    // A history is short: with the usual memory no entry would be pruned in most of them.
    cluster.settings.memory = SECOND * [60, 12, 6][usize::try_from(seed % 3).unwrap_or(0)];
    // Nor would shares be even again at its end with the usual patience for nodes that were lost.
    cluster.settings.return_pause = SECOND * 3;
    // In every other history whoever starts goes by what it remembers until it has read the store.
    for node in &mut cluster.nodes {
        node.resumes = seed.is_multiple_of(2);
    }
    let mut all = vips(7);
    all.push(LeaseName::allocator());
    for node in 0..NODES {
        let desired = everywhere(&all, &cluster);
        cluster.desire(node, desired, Duration::ZERO);
        cluster.start(node);
    }
    cluster.weather = FOUL;
    for _ in 0..30 {
        mishap(&mut cluster, &all);
        let span = cluster.rng.millis(1, 3000);
        cluster.run(span);
    }
    heal(&mut cluster, &all);
    cluster.run(SECOND * 12);
    let unanswered = |cluster: &Cluster, vips: &[LeaseName]| -> Vec<_> {
        let silent = vips.iter().filter(|vip| cluster.answering(vip).len() != 1);
        silent.cloned().collect()
    };
    // One may be on its way to another node, for an even share; which takes a moment.
    let moving = unanswered(&cluster, &all);
    assert!(moving.len() <= 1, "{moving:?} once things are well");
    cluster.run(Duration::from_millis(100));
    assert_eq!(unanswered(&cluster, &moving), [], "once things are well");
    // At most seven VIPs may have to move for an even share, one in three seconds.
    cluster.run(SECOND * 30);
    let before: Vec<_> = all
        .iter()
        .filter(|vip| vip.carries_addresses())
        .map(|vip| cluster.answering(vip))
        .collect();
    let mut counts = BTreeMap::new();
    before
        .iter()
        .flatten()
        .for_each(|node| *counts.entry(*node).or_insert(0) += 1);
    assert!(
        counts.values().all(|count| *count <= 2),
        "uneven: {counts:?}"
    );
    assert_eq!(unanswered(&cluster, &all), [], "once shares are even");
    let writes = cluster.service_writes;
    cluster.run(SECOND * 10);
    assert_eq!(cluster.service_writes, writes, "no lease moves any more");
    Course {
        steps: cluster.steps,
        harms: cluster.harms,
        moves: cluster.service_writes,
        bequests: cluster.bequests,
        pruned: cluster.pruned,
    }
}

fn mishap(cluster: &mut Cluster, all: &[LeaseName]) {
    let node = usize::try_from(cluster.rng.below(NODES as u64)).unwrap_or(0);
    let running = cluster.nodes[node].election.is_some();
    match cluster.rng.below(17) {
        0 if running => cluster.kill(node),
        1 if running => cluster.power_off(node),
        2 | 3 if !cluster.has_unrecorded_holders() => {
            if running && !cluster.nodes[node].stopped {
                cluster.kill(node);
            }
            cluster.start(node);
        }
        4 | 5 => {
            let span = cluster.rng.millis(100, 8000);
            cluster.freeze(node, span);
        }
        6 => {
            let span = cluster.rng.millis(100, 7000);
            cluster.store_down_until = cluster.now + span;
        }
        7 => cluster.send(node, Event::Stop),
        8 => {
            let drain = cluster.rng.per_mille(500);
            cluster.send(node, Event::Drain(drain));
        }
        9 => {
            let fit = cluster.rng.per_mille(600);
            cluster.send(node, Event::Fit(fit));
        }
        10 | 11 => {
            // The planner changes its mind, and the nodes hear of it one after the other.
            let mut desired = everywhere(all, cluster);
            for nodes in desired.values_mut() {
                nodes.retain(|_| !cluster.rng.per_mille(300));
            }
            desired.retain(|_, _| !cluster.rng.per_mille(150));
            for node in 0..NODES {
                let delay = cluster.rng.millis(0, 500);
                cluster.desire(node, desired.clone(), delay);
            }
        }
        12 => {
            // Several at once.
            for node in 0..NODES {
                if cluster.rng.per_mille(400) {
                    let span = cluster.rng.millis(500, 6000);
                    cluster.freeze(node, span);
                }
            }
        }
        13..=15 => {
            let harm = cluster
                .rng
                .pick(vec![Harm::Delete, Harm::Rot, Harm::Overwrite]);
            let names = cluster.store.keys().cloned().collect();
            let name = cluster.rng.pick(names);
            if let (Some(name), Some(harm)) = (name, harm) {
                cluster.harm(&name, harm);
            }
        }
        _ => {
            cluster.weather = if cluster.rng.per_mille(500) {
                FAIR
            } else {
                FOUL
            }
        }
    }
}

fn heal(cluster: &mut Cluster, all: &[LeaseName]) {
    cluster.weather = FAIR;
    cluster.store_down_until = cluster.now;
    cluster.run(SECOND * 5);
    let unrecorded = cluster.has_unrecorded_holders();
    let desired = everywhere(all, cluster);
    for node in 0..NODES {
        if unrecorded {
            // Nobody is left who could write the lease again.
            cluster.power_off(node);
        }
        cluster.kill(node);
        cluster.desire(node, desired.clone(), Duration::ZERO);
        cluster.start(node);
    }
}

/// A number from the environment.
///
/// # Panics
/// The variable is there and is no number.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable}={text} is not a number"),
    }
}

#[test]
fn never_two_answers_in_random_histories_and_one_once_things_are_well() {
    let only = number("LANDFALL_SEED");
    let end = number("LANDFALL_HISTORIES").unwrap_or(COUNT);
    let (first, end) = only.map_or((0, end), |seed| (seed, seed + 1));
    let next = AtomicU64::new(first);
    let work = || {
        let mut sum = Course::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return sum;
            }
            let Ok(course) = std::panic::catch_unwind(|| history(seed)) else {
                panic!("the history of seed {seed} failed: LANDFALL_SEED={seed} runs it alone");
            };
            sum.steps += course.steps;
            sum.harms += course.harms;
            sum.moves += course.moves;
            sum.bequests += course.bequests;
            sum.pruned += course.pruned;
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let courses: Vec<Course> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| panic!("see above")))
            .collect()
    });
    let histories = end - first;
    let sum = |of: fn(&Course) -> u64| courses.iter().map(of).sum::<u64>();
    let (steps, harms, moves) = (
        sum(|course| course.steps),
        sum(|course| course.harms),
        sum(|course| course.moves),
    );
    let (bequests, pruned) = (sum(|course| course.bequests), sum(|course| course.pruned));
    println!(
        "{histories} histories, {steps} steps, {harms} leases harmed, {moves} service leases written, \
         {bequests} bequests, {pruned} of them pruned"
    );
    // Histories in which nothing happens would show nothing.
    assert!(only.is_some() || (steps > histories * 1000 && harms >= histories / 2));
    assert!(only.is_some() || (bequests > histories * 10 && pruned > histories * 5));
}

#[test]
fn histories_that_once_failed_pass() {
    for seed in REGRESSIONS {
        history(*seed);
    }
}
