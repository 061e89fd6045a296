//! What befalls a cluster.

use std::time::Duration;

use crate::election::Event;
use crate::node::tests::cluster::*;

/// Something goes wrong, or right again.
pub(super) fn befall(cluster: &mut Cluster) {
    let size = cluster.machines.len();
    let node = cluster.rng.place(size);
    let running = cluster.machines[node].process.is_some();
    let paused = cluster.machines[node].paused_until > cluster.now;
    // Those that only nodes with a memory know come last.
    let what = cluster.rng.below(if cluster.remembers { 36 } else { 30 });
    cluster.say(node, || format!("mishap {what}"));
    match what {
        0 if running && !paused => cluster.kill(node),
        1 if running => cluster.power_off(node),
        2..=4 if !paused && !cluster.is_harmed() => {
            if running {
                cluster.kill(node);
            }
            cluster.start(node);
        }
        5 | 6 => {
            let span = cluster.rng.millis(20, 4000);
            cluster.freeze(node, span);
        }
        7 | 8 => {
            let threads = [Thread::Quorum, Thread::Election, Thread::Announce];
            let thread = threads[cluster.rng.place(threads.len())];
            let span = cluster.rng.millis(20, 4000);
            cluster.stop_thread(node, thread, span);
        }
        9 | 10 => {
            let span = cluster.rng.millis(20, 5000);
            let told = cluster.rng.chance(5000);
            cluster.pause(node, span, told);
        }
        11 => {
            let span = cluster.rng.millis(100, 6000);
            cluster.machines[node].store_down_until = cluster.now + span;
        }
        12 => {
            let until = cluster.now + cluster.rng.millis(100, 9000);
            let machines = cluster.machines.iter_mut();
            machines.for_each(|machine| machine.store_down_until = until);
        }
        13 => {
            let span = cluster.rng.millis(100, 6000);
            cluster.machines[node].deaf_until = cluster.now + span;
        }
        14 => {
            let to = cluster.rng.place(size);
            cluster.cut[node][to] = true;
        }
        15 => (0..size).for_each(|to| cluster.cut[node][to] = true),
        16 => (0..size).for_each(|from| cluster.cut[from][node] = true),
        17 => part(cluster),
        18..=20 => cluster.cut.iter_mut().for_each(|row| row.fill(false)),
        21 if running => cluster.tell(node, Event::Stop),
        22 if running => {
            let drain = cluster.rng.chance(5000);
            cluster.tell(node, Event::Drain(drain));
        }
        23 if running => {
            let fit = cluster.rng.chance(6000);
            cluster.tell(node, Event::Fit(fit));
        }
        24 | 25 => plan_anew(cluster),
        26 => {
            let vip = cluster.rng.place(cluster.vips.len());
            cluster.delete(vip);
        }
        27 => {
            // Everything works for a while.
            cluster.cut.iter_mut().for_each(|row| row.fill(false));
            cluster.weather = FAIR;
            cluster.run(Duration::from_secs(3));
        }
        30..=32 if !cluster.is_harmed() => all_restart_in_the_dark(cluster),
        33 | 34 if !paused && !cluster.is_harmed() => {
            let span = cluster.rng.millis(500, 9000);
            cluster.machines[node].store_down_until = cluster.now + span;
            cluster.restart(node);
        }
        35 if !paused && !cluster.is_harmed() => {
            // What a running process has written it does not write again.
            cluster.kill(node);
            cluster.forget_leases(node);
            cluster.restart(node);
        }
        _ => cluster.weather = if cluster.rng.chance(6000) { FOUL } else { FAIR },
    }
}

/// The store goes away for all, and every process or machine ends and starts.
fn all_restart_in_the_dark(cluster: &mut Cluster) {
    let until = cluster.now + cluster.rng.millis(500, 12_000);
    for node in 0..cluster.machines.len() {
        cluster.machines[node].store_down_until = until;
        if cluster.rng.chance(2000) {
            cluster.power_off(node);
        }
        cluster.restart(node);
    }
}

/// Two sides that do not hear each other.
fn part(cluster: &mut Cluster) {
    let size = cluster.machines.len();
    let side: Vec<bool> = (0..size).map(|_| cluster.rng.chance(5000)).collect();
    let one_way = cluster.rng.chance(3000);
    for from in 0..size {
        for to in 0..size {
            cluster.cut[from][to] = side[from] != side[to] && (side[from] || !one_way);
        }
    }
}

/// The planner changes its mind, and the nodes hear of it one after the other.
fn plan_anew(cluster: &mut Cluster) {
    let mut desired = cluster.everywhere();
    for nodes in desired.values_mut() {
        nodes.retain(|_| !cluster.rng.chance(3000));
    }
    desired.retain(|_, _| !cluster.rng.chance(1500));
    for node in 0..cluster.machines.len() {
        let delay = cluster.rng.millis(0, 500);
        cluster.desire(node, desired.clone(), delay);
    }
}
