//! Changes of hands by the giver's own lease, told one thing at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::*;
use crate::election::*;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A cluster in which node 0 holds every VIP, and the other nodes have just joined.
fn all_on_one(nodes: usize, services: usize, seed: u64) -> (Cluster, Vec<LeaseName>) {
    let mut cluster = Cluster::new(nodes, seed);
    let vips = vips(services);
    let desired = everywhere(&vips, &cluster);
    for node in 0..nodes {
        cluster.desire(node, desired.clone(), Duration::ZERO);
    }
    cluster.start(0);
    cluster.run(SECOND * 6);
    (1..nodes).for_each(|node| cluster.start(node));
    cluster.run(SECOND * 2);
    assert!(
        cluster.nodes[0].answers.len() + 1 >= services,
        "all but one"
    );
    (cluster, vips)
}

fn lease_of(cluster: &Cluster, node: usize) -> NodeLease {
    let name = LeaseName::of_node(&cluster.nodes[node].name);
    match cluster.store.get(&name) {
        Some((_, Content::Record(Record::Node(lease)))) => lease.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

fn recorded_transition(cluster: &Cluster, vip: &LeaseName) -> u64 {
    match cluster.store.get(vip) {
        Some((_, Content::Record(Record::Service(lease)))) => lease.transitions,
        other => panic!("{vip} is {other:?}"),
    }
}

fn holders(cluster: &Cluster, vips: &[LeaseName]) -> BTreeMap<LeaseName, usize> {
    let one = |vip: &LeaseName| match cluster.answering(vip)[..] {
        [node] => (vip.clone(), node),
        ref nodes => panic!("{vip} is answered by {nodes:?}"),
    };
    vips.iter().map(one).collect()
}

/// Runs until `done`, for at most `span`, and tells how long that took.
fn run_until(cluster: &mut Cluster, span: Duration, done: impl Fn(&Cluster) -> bool) -> Duration {
    let begin = cluster.now;
    while !done(cluster) {
        assert!(cluster.now < begin + span, "it did not come about");
        cluster.run(MILLI);
    }
    cluster.now - begin
}

#[test]
fn seven_hundred_vips_of_a_dead_node_change_hands_by_one_write() {
    for seed in 0..3 {
        let (mut cluster, vips) = all_on_one(3, 700, seed);
        cluster.weather = SLOW_DISK;
        cluster.run(SECOND);
        let lost = cluster.nodes[0].answers.len();
        let (bequests, service_writes) = (cluster.bequests, cluster.service_writes);
        cluster.power_off(0);
        let fenced = |cluster: &Cluster| lease_of(cluster, 0).fenced_by.is_some();
        run_until(&mut cluster, SECOND * 4, fenced);
        let written = usize::try_from(cluster.bequests - bequests).unwrap_or(0);
        assert_eq!(written, lost, "all in the one write that fenced the node");
        assert_eq!(cluster.service_writes, service_writes, "and in no other");
        let all = |cluster: &Cluster| vips.iter().all(|vip| cluster.answering(vip).len() == 1);
        let outage = run_until(&mut cluster, SECOND, all);
        assert!(
            outage <= MILLI * 20,
            "seed {seed}: {outage:?} after the fence"
        );
        assert!(
            cluster.service_writes - service_writes < 100,
            "the records come later"
        );
        cluster.run(SECOND * 3);
        assert_eq!(cluster.service_writes - service_writes, lost as u64);
        assert!(
            vips.iter()
                .all(|vip| recorded_transition(&cluster, vip) >= 1)
        );
    }
}

#[test]
fn a_drain_of_seven_hundred_vips_takes_few_writes_and_each_vip_a_short_silence() {
    let (mut cluster, vips) = all_on_one(3, 700, 1);
    cluster.weather = SLOW_DISK;
    cluster.run(SECOND);
    let own = lease_of(&cluster, 0).renewals;
    cluster.send(0, Event::Drain(true));
    let mut silent: BTreeMap<LeaseName, Duration> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let begin = cluster.now;
    while !cluster.nodes[0].answers.is_empty() || !silent.is_empty() {
        assert!(
            cluster.now < begin + SECOND,
            "{} are left",
            cluster.nodes[0].answers.len()
        );
        cluster.run(MILLI);
        for vip in &vips {
            if cluster.answering(vip).is_empty() {
                silent.entry(vip.clone()).or_insert(cluster.now);
            } else if let Some(since) = silent.remove(vip) {
                longest = longest.max(cluster.now - since);
            }
        }
    }
    let writes = lease_of(&cluster, 0).renewals - own;
    assert!((11..=14).contains(&writes), "{writes} writes");
    assert!(longest <= MILLI * 25, "{longest:?}");
}

#[test]
fn a_gift_and_a_fence_never_pass_each_other() {
    let (mut gifts, mut takeovers) = (0, 0);
    for seed in 0..60 {
        let (mut cluster, vips) = all_on_one(3, 9, seed);
        // The giver may stop between its decision and its write, for longer than its right lasts.
        cluster.weather.freeze_in_action = 400;
        cluster.send(0, Event::Drain(true));
        cluster.run(MILLI * 20);
        cluster.weather = FAIR;
        cluster.run(SECOND * 14);
        holders(&cluster, &vips);
        for (_, _, bequest) in lease_of(&cluster, 0).bequests.iter() {
            match bequest.cause {
                Cause::Takeover => takeovers += 1,
                _ => gifts += 1,
            }
        }
    }
    assert!(
        gifts > 0 && takeovers > 0,
        "{gifts} gifts, {takeovers} takeovers"
    );
}

#[test]
fn the_heir_of_an_heir_that_died_before_it_wrote_the_record_answers() {
    for seed in 0..10 {
        let (mut cluster, vips) = all_on_one(3, 4, seed);
        cluster.no_records = true;
        let mut desired = everywhere(&vips, &cluster);
        for nodes in desired.values_mut() {
            nodes.remove(&cluster.nodes[0].name);
        }
        for node in 0..3 {
            cluster.desire(node, desired.clone(), Duration::ZERO);
        }
        let elsewhere = |cluster: &Cluster| {
            vips.iter()
                .all(|vip| !matches!(cluster.answering(vip)[..], [] | [0]))
        };
        run_until(&mut cluster, SECOND, elsewhere);
        let vip = &vips[3];
        let heir = holders(&cluster, &vips)[vip];
        cluster.power_off(heir);
        cluster.run(SECOND * 4);
        let third = holders(&cluster, &vips)[vip];
        assert_eq!(
            third,
            3 - heir,
            "neither the node that may not nor the dead one"
        );
        let last = lease_of(&cluster, heir).bequests.last_of(vip);
        assert!(last > Some(recorded_transition(&cluster, vip)), "{last:?}");
        cluster.no_records = false;
        cluster.run(SECOND * 2);
        assert_eq!(
            Some(recorded_transition(&cluster, vip)),
            last.map(|last| last + 1)
        );
        assert_eq!(holders(&cluster, &vips)[vip], third);
    }
}

#[test]
fn a_giver_that_crashes_between_release_and_write_holds_again_when_it_is_back() {
    for seed in 0..10 {
        let (mut cluster, vips) = all_on_one(3, 4, seed);
        let before = holders(&cluster, &vips);
        let bequests = cluster.bequests;
        cluster.weather.lost_request = 1000;
        cluster.send(0, Event::Drain(true));
        let released = |cluster: &Cluster| cluster.nodes[0].answers.is_empty();
        run_until(&mut cluster, MILLI * 50, released);
        cluster.run(MILLI * 20);
        cluster.kill(0);
        cluster.weather = FAIR;
        cluster.start(0);
        cluster.run(SECOND);
        assert_eq!(cluster.bequests, bequests, "nothing was passed on");
        assert_eq!(holders(&cluster, &vips), before);
    }
}

#[test]
fn a_returning_node_carries_bequests_on_until_nobody_needs_them() {
    let (mut cluster, vips) = all_on_one(3, 12, 2);
    let term = lease_of(&cluster, 0).term;
    cluster.no_records = true;
    cluster.power_off(0);
    cluster.run(SECOND * 4);
    let after = holders(&cluster, &vips);
    cluster.start(0);
    cluster.run(SECOND);
    let lease = lease_of(&cluster, 0);
    assert!(lease.term > term && lease.fenced_by.is_none());
    assert!(lease.bequests.len() >= 11, "{}", lease.bequests.len());
    assert_eq!(
        holders(&cluster, &vips),
        after,
        "a new term takes nothing back"
    );
    cluster.no_records = false;
    cluster.run(cluster.settings.memory / 2);
    assert!(lease_of(&cluster, 0).bequests.len() >= 11, "still told");
    cluster.run(cluster.settings.memory);
    // What was rebalanced to this node and on has entries of its own.
    let left = lease_of(&cluster, 0).bequests;
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_vip_goes_to_and_fro_within_a_term_with_and_without_records() {
    for no_records in [false, true] {
        let (mut cluster, vips) = all_on_one(2, 1, 3);
        cluster.no_records = no_records;
        let terms = [0, 1].map(|node| lease_of(&cluster, node).term);
        let mut holder = holders(&cluster, &vips)[&vips[0]];
        for _ in 0..6 {
            cluster.send(1 - holder, Event::Drain(false));
            cluster.send(holder, Event::Drain(true));
            cluster.run(MILLI * 100);
            holder = 1 - holder;
            assert_eq!(holders(&cluster, &vips)[&vips[0]], holder);
        }
        assert_eq!([0, 1].map(|node| lease_of(&cluster, node).term), terms);
        let expected = if no_records { 0 } else { 6 };
        cluster.run(MILLI * 100);
        assert_eq!(recorded_transition(&cluster, &vips[0]), expected);
        cluster.no_records = false;
        cluster.run(SECOND);
        assert_eq!(recorded_transition(&cluster, &vips[0]), 6);
    }
}
