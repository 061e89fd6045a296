//! Random histories: never a right within a term that is over; and once things are well, everyone has a right, and a
//! dead member's is over within the bound.
//!
//! `LANDFALL_QUORUM_STEPS=100000000` runs as many steps, `LANDFALL_SEED=17` that history alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::cluster::*;

/// Seeds that once found a fault.
const REGRESSIONS: &[u64] = &[9, 108, 292];

/// How many steps are made at least unless `LANDFALL_QUORUM_STEPS` says otherwise.
const STEPS: u64 = 10_000_000;
/// How many nodes a history has; more of those with few, which take fewer steps.
const SIZES: [usize; 16] = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9];

/// What histories were made of.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    histories: u64,
    steps: u64,
    fences: u64,
    records: u64,
}

fn history(seed: u64) -> Course {
    let size = SIZES[usize::try_from(seed % SIZES.len() as u64).unwrap_or(0)];
    let mut cluster = Cluster::new(size, seed);
    for node in 0..size {
        if node == 0 || cluster.rng.chance(8000) {
            cluster.start(node);
        }
    }
    let calm = cluster.rng.millis(0, 3000);
    cluster.run(calm);
    cluster.weather = FOUL;
    for _ in 0..25 {
        mishap(&mut cluster, size);
        let span = cluster.rng.millis(1, 900);
        cluster.run(span);
    }
    heal(&mut cluster, size);
    everyone_has_a_right(&mut cluster, size);
    if size > 1 {
        one_dies(&mut cluster, size);
    }
    Course {
        histories: 1,
        steps: cluster.steps,
        fences: cluster.fences,
        records: cluster.records,
    }
}

fn mishap(cluster: &mut Cluster, size: usize) {
    let node = cluster.rng.place(size);
    let running = cluster.nodes[node].quorum.is_some();
    match cluster.rng.below(19) {
        0 if running => cluster.kill(node),
        1 if running => cluster.power_off(node),
        2..=4 => {
            if running {
                cluster.kill(node);
            }
            cluster.nodes[node].resumes = cluster.rng.chance(5000);
            cluster.start(node);
        }
        5 | 6 => {
            let span = cluster.rng.millis(20, 4000);
            cluster.freeze(node, span);
        }
        7 | 8 => {
            let span = cluster.rng.millis(100, 6000);
            cluster.nodes[node].store_down_until = cluster.now + span;
        }
        9 | 10 => {
            let span = cluster.rng.millis(100, 6000);
            cluster.nodes[node].deaf_until = cluster.now + span;
        }
        11 => {
            let to = cluster.rng.place(size);
            cluster.cut[node][to] = true;
        }
        12 => (0..size).for_each(|to| cluster.cut[node][to] = true),
        13 => (0..size).for_each(|from| cluster.cut[from][node] = true),
        14 => {
            let side: Vec<bool> = (0..size).map(|_| cluster.rng.chance(5000)).collect();
            for from in 0..size {
                for to in 0..size {
                    cluster.cut[from][to] = side[from] != side[to];
                }
            }
        }
        15 | 16 => cluster.cut.iter_mut().for_each(|row| row.fill(false)),
        17 if running => cluster.leave(node),
        _ => cluster.weather = if cluster.rng.chance(6000) { FOUL } else { FAIR },
    }
}

/// Everything works again; who left or died starts, who runs goes on.
fn heal(cluster: &mut Cluster, size: usize) {
    cluster.weather = FAIR;
    cluster
        .nodes
        .iter_mut()
        .for_each(|node| node.resumes = false);
    cluster.cut.iter_mut().for_each(|row| row.fill(false));
    cluster.run(Duration::from_secs(2));
    for node in 0..size {
        let now = cluster.now;
        let it = &mut cluster.nodes[node];
        it.store_down_until = now;
        it.deaf_until = now;
        let gone = it.quorum.is_none() || it.is_leaving();
        if gone {
            cluster.kill(node);
            cluster.start(node);
        }
    }
    cluster.run(Duration::from_secs(8));
}

fn everyone_has_a_right(cluster: &mut Cluster, size: usize) {
    // A node that flapped at the end is given the time for one more term.
    for _ in 0..20 {
        if (0..size).all(|node| cluster.is_entitled(node) && !cluster.nodes[node].view.refused) {
            break;
        }
        cluster.run(Duration::from_millis(500));
    }
    for node in 0..size {
        assert!(
            cluster.is_entitled(node),
            "{node} of {size} has no right once things are well"
        );
    }
    let record = cluster.record.as_ref().map(|(_, record)| record);
    let settled =
        record.is_some_and(|record| record.previous.is_none() && record.members.len() == size);
    assert!(settled, "{record:?}");
}

fn one_dies(cluster: &mut Cluster, size: usize) {
    let dead = cluster.rng.place(size);
    let term = cluster.nodes[dead].view.term;
    // A frozen one's kernel goes on to the last moment of its right.
    if cluster.rng.chance(5000) {
        cluster.power_off(dead);
    } else {
        cluster.freeze(dead, Duration::from_secs(10));
    }
    let Some(term) = term else {
        panic!("it had a right")
    };
    let by_quorum = size > 2;
    // A promise, two heartbeats, and what messages and disks take; or the lease.
    let bound = Duration::from_millis(if by_quorum {
        324 + 100 + 3 * 3 + 8
    } else {
        3200
    });
    let mut taken = Duration::ZERO;
    while cluster.over[dead] < Some(term) {
        assert!(
            taken <= bound,
            "{dead} of {size} is not over after {taken:?}"
        );
        cluster.run(Duration::from_millis(2));
        taken += Duration::from_millis(2);
        for node in (0..size).filter(|node| *node != dead) {
            assert!(
                cluster.is_entitled(node),
                "{node} lost its right when {dead} of {size} died"
            );
        }
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
fn no_right_within_a_term_that_is_over_and_one_for_all_once_things_are_well() {
    let only = number("LANDFALL_SEED");
    let enough = number("LANDFALL_QUORUM_STEPS").unwrap_or(STEPS);
    let next = AtomicU64::new(only.unwrap_or(0));
    let made = AtomicU64::new(0);
    let work = || {
        let mut sum = Course::default();
        while made.load(Ordering::Relaxed) < enough {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let Ok(course) = std::panic::catch_unwind(|| history(seed)) else {
                panic!("the history of seed {seed} failed: LANDFALL_SEED={seed} runs it alone");
            };
            sum.histories += 1;
            sum.steps += course.steps;
            sum.fences += course.fences;
            sum.records += course.records;
            made.fetch_add(course.steps, Ordering::Relaxed);
            if only.is_some() {
                break;
            }
        }
        sum
    };
    let workers = if only.is_some() {
        1
    } else {
        thread::available_parallelism().map_or(1, usize::from)
    };
    let courses: Vec<Course> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Course>| worker.join();
        workers
            .into_iter()
            .map(|worker| join(worker).unwrap_or_else(|_| panic!("see above")))
            .collect()
    });
    let sum = |of: fn(&Course) -> u64| courses.iter().map(of).sum::<u64>();
    let (histories, steps) = (sum(|course| course.histories), sum(|course| course.steps));
    let (fences, records) = (sum(|course| course.fences), sum(|course| course.records));
    println!(
        "{histories} histories, {steps} steps, {fences} terms fenced, {records} records written"
    );
    // Histories in which nothing happens would show nothing.
    assert!(only.is_some() || (steps >= enough && fences >= histories && records >= histories * 4));
}

#[test]
fn histories_that_once_failed_pass() {
    for seed in REGRESSIONS {
        history(*seed);
    }
}
