//! What happens, told one thing at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::*;
use crate::election::*;

const SECOND: Duration = Duration::from_secs(1);

fn running(nodes: usize, services: usize, seed: u64) -> (Cluster, Vec<LeaseName>) {
    let mut cluster = Cluster::new(nodes, seed);
    let vips = vips(services);
    let desired = everywhere(&vips, &cluster);
    for node in 0..nodes {
        cluster.desire(node, desired.clone(), Duration::ZERO);
        cluster.start(node);
    }
    cluster.run(SECOND * 5);
    (cluster, vips)
}

fn holders(cluster: &Cluster, vips: &[LeaseName]) -> BTreeMap<LeaseName, usize> {
    let one = |vip: &LeaseName| match cluster.answering(vip)[..] {
        [node] => (vip.clone(), node),
        ref nodes => panic!("{vip} is answered by {nodes:?}"),
    };
    vips.iter().map(one).collect()
}

fn most(cluster: &Cluster, vips: &[LeaseName]) -> usize {
    let mut counts = BTreeMap::new();
    holders(cluster, vips)
        .into_values()
        .for_each(|node| *counts.entry(node).or_insert(0) += 1);
    counts.into_values().max().unwrap_or(0)
}

/// The longest time without an answer for any of `vips` during `span`.
fn longest_gap(cluster: &mut Cluster, vips: &[LeaseName], span: Duration) -> Duration {
    let begin = cluster.now;
    let mut last: BTreeMap<LeaseName, Duration> =
        vips.iter().map(|vip| (vip.clone(), begin)).collect();
    let mut longest = Duration::ZERO;
    let end = begin + span;
    while cluster.now < end {
        cluster.run(Duration::from_millis(1));
        for (vip, at) in &mut last {
            longest = longest.max(cluster.now - *at);
            if !cluster.answering(vip).is_empty() {
                *at = cluster.now;
            }
        }
    }
    longest
}

#[test]
fn nodes_that_start_together_share_evenly_from_the_start() {
    for seed in 0..20 {
        let (cluster, vips) = running(5, 12, seed);
        assert_eq!(most(&cluster, &vips), 3, "seed {seed}");
    }
}

#[test]
fn idle_nodes_write_once_a_second_each_whatever_the_number_of_services() {
    for services in [1, 100] {
        let (mut cluster, _) = running(5, services, 1);
        // Nodes that all took at the same instant may have one or two too many.
        cluster.run(SECOND * 15);
        let (writes, service_writes) = (cluster.writes, cluster.service_writes);
        cluster.run(SECOND * 60);
        assert!(
            (290..=305).contains(&(cluster.writes - writes)),
            "{}",
            cluster.writes - writes
        );
        assert_eq!(cluster.service_writes, service_writes);
    }
}

#[test]
fn a_dead_nodes_vips_are_answered_within_the_lease_and_half_a_second() {
    for seed in 0..20 {
        let (mut cluster, vips) = running(3, 6, seed);
        let before = holders(&cluster, &vips);
        let dead = before[&vips[0]];
        cluster.power_off(dead);
        let gap = longest_gap(&mut cluster, &vips, SECOND * 5);
        assert!(gap < Duration::from_millis(3500), "seed {seed}: {gap:?}");
        let after = holders(&cluster, &vips);
        for (vip, node) in &before {
            assert!(
                *node == dead || after[vip] == *node,
                "{vip} moved needlessly"
            );
        }
        assert_eq!(most(&cluster, &vips), 3);
    }
}

/// How long after a node's death every VIP is answered again, in steps of 5 ms.
fn outage(cluster: &mut Cluster, dead: usize, vips: &[LeaseName]) -> Duration {
    let death = cluster.now;
    cluster.power_off(dead);
    let mut silent: Vec<_> = vips.iter().collect();
    while cluster.now < death + SECOND * 6 {
        cluster.run(Duration::from_millis(5));
        silent.retain(|vip| cluster.answering(vip).is_empty());
        if silent.is_empty() {
            break;
        }
    }
    assert!(silent.is_empty(), "{} have no answer", silent.len());
    cluster.now - death
}

#[test]
fn seven_hundred_vips_of_a_dead_node_move_within_the_same_bound() {
    for seed in 0..6 {
        let (mut cluster, vips) = running(3, 700, seed);
        cluster.run(SECOND * 5);
        // A write takes each of a node's three writers 5 ms.
        cluster.weather = SLOW_DISK;
        let phase = cluster.rng.millis(0, 1000);
        cluster.run(SECOND + phase);
        let outage = outage(&mut cluster, 0, &vips);
        assert!(
            outage <= Duration::from_millis(3500),
            "seed {seed}: {outage:?}"
        );
        assert!(most(&cluster, &vips) <= 352, "{}", most(&cluster, &vips));
    }
}

#[test]
fn a_frozen_nodes_kernel_is_silent_before_another_answers_and_stays_so_when_thawed() {
    for seed in 0..20 {
        let (mut cluster, vips) = running(3, 3, seed);
        let frozen = holders(&cluster, &vips)[&vips[0]];
        cluster.freeze(frozen, SECOND * 10);
        cluster.run(SECOND * 4);
        let successor = holders(&cluster, &vips)[&vips[0]];
        assert_ne!(successor, frozen);
        cluster.run(SECOND * 7);
        assert_eq!(holders(&cluster, &vips)[&vips[0]], successor);
    }
}

#[test]
fn a_restarted_agent_goes_on_without_a_gap_or_a_service_lease_write() {
    for seed in 0..20 {
        let (mut cluster, vips) = running(3, 6, seed);
        let before = holders(&cluster, &vips);
        let writes = cluster.service_writes;
        for _ in 0..5 {
            cluster.nodes[1].holds.clear();
            cluster.kill(1);
            cluster.run(Duration::from_millis(200));
            cluster.start(1);
            let gap = longest_gap(&mut cluster, &vips, SECOND * 2);
            assert!(gap <= Duration::from_millis(1), "seed {seed}: {gap:?}");
        }
        assert_eq!(holders(&cluster, &vips), before);
        assert_eq!(cluster.service_writes, writes);
        assert!(
            cluster.nodes[1]
                .holds
                .iter()
                .all(|(_, cause)| *cause == Cause::Continued)
        );
    }
}

#[test]
fn a_rebooted_node_waits_like_a_stranger_and_holds_nothing_of_its_old_term() {
    let (mut cluster, vips) = running(3, 3, 3);
    cluster.power_off(0);
    cluster.start(0);
    cluster.run(SECOND);
    assert!(matches!(
        cluster.nodes[0].election.as_ref().map(Election::membership),
        Some(Membership::Outside)
    ));
    cluster.run(SECOND * 5);
    assert_eq!(holders(&cluster, &vips).len(), 3);
}

#[test]
fn an_orderly_stop_hands_over_with_a_gap_under_50_ms() {
    for seed in 0..20 {
        let (mut cluster, vips) = running(3, 60, seed);
        cluster.send(0, Event::Stop);
        let gap = longest_gap(&mut cluster, &vips, SECOND * 3);
        assert!(gap <= Duration::from_millis(50), "seed {seed}: {gap:?}");
        assert!(cluster.nodes[0].stopped);
        assert!(holders(&cluster, &vips).values().all(|node| *node != 0));
        assert_eq!(most(&cluster, &vips), 30);
        let name = LeaseName::of_node(&cluster.nodes[0].name);
        let Some((_, Content::Record(Record::Node(lease)))) = cluster.store.get(&name) else {
            panic!("no lease")
        };
        assert!(lease.fenced_by.is_some(), "it has resigned");
    }
}

#[test]
fn a_drained_node_keeps_what_nobody_else_can_announce_and_an_undrained_one_takes_part_again() {
    let (mut cluster, vips) = running(3, 6, 4);
    let mut desired = everywhere(&vips, &cluster);
    let only = cluster.nodes[0].name.clone();
    desired.insert(vips[0].clone(), [only].into());
    for node in 0..3 {
        cluster.desire(node, desired.clone(), Duration::ZERO);
    }
    cluster.run(SECOND * 3);
    cluster.send(0, Event::Drain(true));
    cluster.run(SECOND * 3);
    let drained = holders(&cluster, &vips);
    assert_eq!(drained.values().filter(|node| **node == 0).count(), 1);
    assert_eq!(drained[&vips[0]], 0);
    cluster.send(0, Event::Drain(false));
    cluster.run(SECOND * 30);
    assert_eq!(most(&cluster, &vips), 2);
}

#[test]
fn the_last_node_to_stop_lets_go_and_leaves() {
    let (mut cluster, vips) = running(1, 3, 5);
    cluster.send(0, Event::Stop);
    cluster.run(SECOND);
    assert!(cluster.nodes[0].stopped);
    assert!(vips.iter().all(|vip| cluster.answering(vip).is_empty()));
}

#[test]
fn a_node_that_joins_moves_nothing_but_what_is_too_much_and_that_slowly() {
    let mut cluster = Cluster::new(5, 6);
    let vips = vips(20);
    let desired = everywhere(&vips, &cluster);
    for node in 0..4 {
        cluster.desire(node, desired.clone(), Duration::ZERO);
        cluster.start(node);
    }
    cluster.run(SECOND * 5);
    let before = holders(&cluster, &vips);
    cluster.desire(4, desired, Duration::ZERO);
    cluster.start(4);
    let gap = longest_gap(&mut cluster, &vips, SECOND * 4);
    let moved = |cluster: &Cluster| {
        holders(cluster, &vips)
            .iter()
            .filter(|(vip, node)| before[*vip] != **node)
            .count()
    };
    assert!(moved(&cluster) <= 1, "{}", moved(&cluster));
    let gap = gap.max(longest_gap(&mut cluster, &vips, SECOND * 20));
    assert_eq!(moved(&cluster), 4);
    assert_eq!(most(&cluster, &vips), 4);
    assert!(gap <= Duration::from_millis(50), "{gap:?}");
}

#[test]
fn nothing_moves_while_the_store_is_away_and_all_goes_silent_by_itself_on_this_ground() {
    let (mut cluster, vips) = running(3, 6, 8);
    let before = holders(&cluster, &vips);
    let writes = cluster.service_writes;
    cluster.store_down_until = cluster.now + SECOND * 90;
    cluster.run(SECOND * 4);
    assert!(vips.iter().all(|vip| cluster.answering(vip).is_empty()));
    cluster.run(SECOND * 90);
    assert_eq!(holders(&cluster, &vips), before);
    assert_eq!(cluster.service_writes, writes);
}

#[test]
fn a_new_vip_is_answered_within_50_ms() {
    let (mut cluster, mut all) = running(3, 3, 9);
    let vip = LeaseName::of_service("default", "new");
    all.push(vip.clone());
    let desired = everywhere(&all, &cluster);
    for node in 0..3 {
        cluster.desire(
            node,
            desired.clone(),
            Duration::from_millis(2 * node as u64),
        );
    }
    cluster.run(Duration::from_millis(50));
    assert_eq!(cluster.answering(&vip).len(), 1);
}

#[test]
fn a_vip_nobody_wants_any_more_is_let_go_and_its_lease_cleared_away() {
    let (mut cluster, all) = running(3, 3, 10);
    let desired = everywhere(&all[1..], &cluster);
    for node in 0..3 {
        cluster.desire(node, desired.clone(), Duration::ZERO);
    }
    cluster.run(Duration::from_millis(200));
    assert!(cluster.answering(&all[0]).is_empty());
    cluster.run(SECOND * 45);
    assert!(!cluster.store.contains_key(&all[0]));
    assert_eq!(holders(&cluster, &all[1..]).len(), 2);
}

#[test]
fn an_unfit_node_hands_everything_over_and_takes_nothing_until_it_is_fit() {
    let (mut cluster, vips) = running(3, 6, 11);
    cluster.send(2, Event::Fit(false));
    let gap = longest_gap(&mut cluster, &vips, SECOND * 2);
    assert!(gap <= Duration::from_millis(50), "{gap:?}");
    assert!(holders(&cluster, &vips).values().all(|node| *node != 2));
    cluster.power_off(1);
    cluster.run(SECOND * 4);
    assert!(holders(&cluster, &vips).values().all(|node| *node == 0));
}

#[test]
fn a_node_that_flaps_every_second_moves_nothing_more_than_once() {
    let (mut cluster, vips) = running(3, 6, 12);
    let before = cluster.service_writes;
    for _ in 0..30 {
        cluster.freeze(1, Duration::from_millis(1000));
        cluster.run(SECOND * 2);
    }
    assert_eq!(holders(&cluster, &vips).len(), 6);
    assert_eq!(cluster.service_writes, before);
}
