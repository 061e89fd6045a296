//! What is promised once things are well.

use std::time::Duration;

use crate::election::Event;
use crate::node::tests::cluster::*;
use crate::quorum::record::MemberRecord;

const SECOND: Duration = Duration::from_secs(1);
/// Within this every wanted VIP has an answer, once every node runs and a majority is connected.
const RECOVERY: Duration = Duration::from_secs(10);

/// Heals the cluster and holds it to its promises.
pub(super) fn keep(cluster: &mut Cluster) {
    heal(cluster);
    let size = cluster.machines.len();
    let taken = until_all_answer(cluster, RECOVERY);
    cluster.counts.slowest_recovery = taken;
    until_all_are_members(cluster);
    match cluster.rng.below(8) {
        0..=2 if size > 1 => one_dies(cluster),
        3 if size > 2 && cluster.remembers => all_restart_in_the_dark(cluster),
        3 if size > 2 => store_goes(cluster),
        4.. if size > 2 => minority_fails(cluster),
        _ => {}
    }
}

fn heal(cluster: &mut Cluster) {
    cluster.weather = FAIR;
    cluster.cut.iter_mut().for_each(|row| row.fill(false));
    let now = cluster.now;
    for machine in &mut cluster.machines {
        machine.store_down_until = now;
        machine.deaf_until = now;
    }
    // What hangs goes on, and who leaves has left.
    cluster.run(SECOND * 6);
    let harmed = cluster.is_harmed();
    for node in 0..cluster.machines.len() {
        let desired = cluster.everywhere();
        let gone = cluster.machines[node].process.is_none() || cluster.machines[node].leaving;
        if harmed {
            // Nobody is left who could write the lease again.
            cluster.power_off(node);
        } else if gone {
            cluster.kill(node);
        }
        cluster.desire(node, desired, Duration::ZERO);
        if harmed || gone {
            cluster.start(node);
        }
        cluster.tell(node, Event::Drain(false));
        cluster.tell(node, Event::Fit(true));
    }
}

fn silent(cluster: &Cluster) -> Vec<usize> {
    let vips = 0..cluster.vips.len();
    vips.filter(|vip| cluster.answerers(*vip).is_empty())
        .collect()
}

/// Runs until every VIP is answered. Gives how long that took.
fn until_all_answer(cluster: &mut Cluster, bound: Duration) -> Duration {
    let begin = cluster.now;
    while !silent(cluster).is_empty() {
        let taken = cluster.now - begin;
        assert!(
            taken <= bound,
            "{:?} of {} nodes are not answered after {taken:?}",
            silent(cluster),
            cluster.machines.len()
        );
        cluster.run(Duration::from_millis(5));
    }
    cluster.now - begin
}

/// Runs until everyone is a member and has a right, and that stays so for two seconds. A node that flapped at the end is
/// given the time for one more term.
fn until_all_are_members(cluster: &mut Cluster) {
    let size = cluster.machines.len();
    let mut well = 0;
    for _ in 0..120 {
        let settled =
            |record: &MemberRecord| record.previous.is_none() && record.members.len() == size;
        let settled = cluster.record().is_some_and(settled);
        let all = settled && (0..size).all(|node| cluster.is_entitled(node));
        well = if all { well + 1 } else { 0 };
        if well == 8 {
            return;
        }
        cluster.run(Duration::from_millis(250));
    }
    let entitled: Vec<_> = (0..size).map(|node| cluster.is_entitled(node)).collect();
    panic!("entitled {entitled:?}, record {:?}", cluster.record());
}

/// One node dies, or freezes, or loses its network: what it had is answered by others soon.
fn one_dies(cluster: &mut Cluster) {
    let size = cluster.machines.len();
    let dead = cluster.rng.place(size);
    match cluster.rng.below(3) {
        0 => cluster.power_off(dead),
        1 => cluster.freeze(dead, SECOND * 60),
        _ => cut_off(cluster, dead),
    }
    // A promise, heartbeats, verdicts on disk, the fence and what comes of it; or the lease.
    let by_quorum = size > 2;
    let bound = Duration::from_millis(if by_quorum { 600 } else { 4000 });
    cluster.run(Duration::from_millis(if by_quorum { 310 } else { 3000 }));
    let taken = until_all_answer(cluster, bound);
    if by_quorum {
        cluster.counts.slowest_takeover = Duration::from_millis(310) + taken;
    }
}

fn cut_off(cluster: &mut Cluster, node: usize) {
    for other in 0..cluster.machines.len() {
        cluster.cut[node][other] = true;
        cluster.cut[other][node] = true;
    }
    let until = cluster.now + SECOND * 60;
    cluster.machines[node].store_down_until = until;
}

/// The store goes away: nothing moves.
fn store_goes(cluster: &mut Cluster) {
    // Whatever moves for an even share has moved.
    cluster.run(SECOND * 25);
    let vips = 0..cluster.vips.len();
    let before: Vec<_> = vips.clone().map(|vip| cluster.answerers(vip)).collect();
    let until = cluster.now + SECOND * 60;
    let machines = cluster.machines.iter_mut();
    machines.for_each(|machine| machine.store_down_until = until);
    for _ in 0..200 {
        cluster.run(Duration::from_millis(50));
        let now: Vec<_> = vips.clone().map(|vip| cluster.answerers(vip)).collect();
        assert_eq!(now, before, "nothing moves while the store is away");
    }
}

/// The store goes away and every process is killed: all that was answered is answered again, by the same nodes.
fn all_restart_in_the_dark(cluster: &mut Cluster) {
    // Whatever moves for an even share has moved, and is remembered.
    cluster.run(SECOND * 25);
    let vips = 0..cluster.vips.len();
    let before: Vec<_> = vips.clone().map(|vip| cluster.answerers(vip)).collect();
    let until = cluster.now + SECOND * 60;
    for node in 0..cluster.machines.len() {
        cluster.machines[node].store_down_until = until;
        cluster.restart(node);
    }
    // Until the last has started, and has waited for the store.
    cluster.run(SECOND * 3);
    until_all_answer(cluster, SECOND * 2);
    for _ in 0..100 {
        cluster.run(Duration::from_millis(50));
        let now: Vec<_> = vips.clone().map(|vip| cluster.answerers(vip)).collect();
        assert_eq!(now, before, "nothing moves in the dark");
    }
    cluster.counts.restarts_in_the_dark += 1;
}

/// Fewer than half of the granters fail in all ways at once: the others answer for everything.
fn minority_fails(cluster: &mut Cluster) {
    let size = cluster.machines.len();
    let most = (size.min(7) - 1) / 2;
    let failing = 1 + cluster.rng.place(most);
    for _ in 0..failing {
        let node = cluster.rng.place(size);
        let how = cluster.rng.below(5);
        cluster.say(node, || format!("fails {how}"));
        match how {
            0 => cluster.power_off(node),
            1 => cluster.freeze(node, SECOND * 60),
            2 => cut_off(cluster, node),
            3 => (0..size).for_each(|to| cluster.cut[node][to] = true),
            _ => (0..size).for_each(|from| cluster.cut[from][node] = true),
        }
    }
    cluster.run(SECOND);
    let taken = until_all_answer(cluster, SECOND * 9);
    cluster.counts.slowest_majority = SECOND + taken;
    // And go on doing so.
    cluster.run(SECOND * 2);
    until_all_answer(cluster, SECOND);
}
