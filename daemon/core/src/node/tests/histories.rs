//! Random histories: never two answers for one VIP; and once a majority is connected, one within the bound.
//!
//! `LANDFALL_SIMULATION=100000` runs as many histories, `LANDFALL_FIRST=5000` begins with that seed, `LANDFALL_SEED=17` runs
//! that one alone and tells what happens.

mod mishap;
mod promise;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::*;
use crate::simulation::figures;

/// Seeds that once found a fault.
const REGRESSIONS: &[u64] = &[127];

/// How many histories run at least unless `LANDFALL_SIMULATION` says otherwise, and how many steps they make at least.
const HISTORIES: u64 = 2_000;
const STEPS: u64 = 10_000_000;
/// How many nodes a history has; more of those with few, which take fewer steps.
const SIZES: [usize; 32] = [
    1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 6, 7, 8, 9,
];

fn history(seed: u64, loud: bool) -> Counts {
    let size = SIZES[usize::try_from(seed % SIZES.len() as u64).unwrap_or(0)];
    let vips = 1 + usize::try_from(seed / 32 % 5).unwrap_or(0);
    let mut cluster = Cluster::new(size, vips, seed);
    cluster.loud = loud;
    // A fifth of the histories; the others are as they were before nodes remembered.
    cluster.remembers = seed % 5 == 1;
    // A history is short: with the usual memory no bequest would be pruned in most of them.
    cluster.settings.memory = Duration::from_secs([60, 12, 6][cluster.rng.place(3)]);
    cluster.settings.return_pause = Duration::from_secs(3);
    // A seventh of the histories; the others are as they were before writes could be slow throughout.
    if seed % 7 == 3 {
        cluster.slow_writes = Duration::from_millis(200);
    }
    for node in 0..size {
        cluster.machines[node].desired = cluster.everywhere();
        if node == 0 || cluster.rng.chance(8000) {
            cluster.start(node);
        }
    }
    let calm = cluster.rng.millis(0, 5000);
    cluster.run(calm);
    cluster.weather = FOUL;
    for _ in 0..20 {
        mishap::befall(&mut cluster);
        let longest = if cluster.rng.chance(2000) { 5000 } else { 900 };
        let span = cluster.rng.millis(1, longest);
        cluster.run(span);
    }
    promise::keep(&mut cluster);
    cluster.counts
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

/// Runs histories from `first` on until there are `histories` and `steps` of them. Gives their number, what has happened in
/// them, and the seeds of those that failed.
fn run(first: u64, histories: u64, steps: u64) -> (u64, Counts, Vec<u64>) {
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let sum = Mutex::new(Counts::default());
    let work = || {
        loop {
            let enough = sum.lock().is_ok_and(|sum| sum.steps >= steps);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if enough && seed >= first + histories {
                next.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| history(seed, false))) {
                Ok(counts) => sum.lock().iter_mut().for_each(|sum| sum.add(&counts)),
                Err(_) => {
                    println!(
                        "the history of seed {seed} failed: LANDFALL_SEED={seed} runs it alone"
                    );
                    failed
                        .lock()
                        .iter_mut()
                        .for_each(|failed| failed.push(seed));
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| _ = scope.spawn(work)));
    let sum = sum
        .into_inner()
        .unwrap_or_else(|_| panic!("no worker panics"));
    let failed = failed
        .into_inner()
        .unwrap_or_else(|_| panic!("no worker panics"));
    (next.into_inner() - first, sum, failed)
}

#[test]
fn never_two_answers_in_random_histories_of_whole_nodes_and_one_within_the_bound() {
    if let Some(seed) = number("LANDFALL_SEED") {
        println!("{:?}", history(seed, true));
        return;
    }
    let first = number("LANDFALL_FIRST").unwrap_or(0);
    let begun = Instant::now();
    let (histories, counts, failed) = match number("LANDFALL_SIMULATION") {
        Some(histories) => run(first, histories, 0),
        None => run(first, HISTORIES, STEPS),
    };
    println!("{histories} histories in {:?}, {counts:?}", begun.elapsed());
    figures::record("simulation.steps", "steps", counts.steps as f64);
    figures::record("simulation.violations", "histories", failed.len() as f64);
    assert!(failed.is_empty(), "histories failed: {failed:?}");
    // Histories in which nothing happens would show nothing.
    assert!(counts.fences >= histories / 2 && counts.records >= histories * 2);
    assert!(counts.bequests >= histories * 2);
    assert!(counts.recalled >= histories / 10 && counts.restarts_in_the_dark >= histories / 100);
}

#[test]
fn histories_of_whole_nodes_that_once_failed_pass() {
    for seed in REGRESSIONS {
        history(*seed, false);
    }
}
