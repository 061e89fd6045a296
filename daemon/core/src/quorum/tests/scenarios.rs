//! Whole clusters in fair weather: what must go without a gap, and how fast.

use std::time::Duration;

use super::cluster::*;
use super::rig::ms;

/// `count` nodes that have found each other.
fn running(count: usize, started: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(count, seed);
    (0..started).for_each(|node| cluster.start(node));
    cluster.run(Duration::from_secs(10));
    for node in 0..started {
        assert!(cluster.is_entitled(node), "{node} of {started}");
    }
    cluster
}

/// Lets time pass, in which nobody of `nodes` may lose the right.
fn without_a_gap(cluster: &mut Cluster, nodes: &[usize], span: Duration) {
    let end = cluster.now + span;
    while cluster.now < end {
        cluster.run(ms(1));
        for node in nodes {
            assert!(cluster.is_entitled(*node), "{node} at {:?}", cluster.now);
        }
    }
}

#[test]
fn members_join_and_leave_without_a_gap_for_the_others() {
    for seed in 0..20 {
        let mut cluster = running(5, 1, seed);
        // From the ground lease to the quorum, and back.
        for node in 1..5 {
            cluster.start(node);
            let before: Vec<usize> = (0..node).collect();
            without_a_gap(&mut cluster, &before, Duration::from_secs(4));
            assert!(cluster.is_entitled(node), "{node} joined");
        }
        for node in (1..5).rev() {
            cluster.leave(node);
            let stay: Vec<usize> = (0..node).collect();
            without_a_gap(&mut cluster, &stay, Duration::from_secs(4));
            assert!(cluster.nodes[node].left, "{node} left");
        }
    }
}

#[test]
fn a_process_that_starts_again_keeps_its_right() {
    for seed in 0..20 {
        let mut cluster = running(3, 3, seed);
        for node in 0..3 {
            cluster.kill(node);
            cluster.run(ms(50));
            cluster.start(node);
            let kept = (0..400).all(|_| {
                cluster.run(ms(5));
                cluster.has_deadline(node)
            });
            assert!(kept, "{node} with seed {seed}");
        }
    }
}

#[test]
fn members_in_touch_go_on_without_the_store() {
    let mut cluster = running(5, 5, 1);
    let until = cluster.now + Duration::from_secs(90);
    cluster
        .nodes
        .iter_mut()
        .for_each(|node| node.store_down_until = until);
    without_a_gap(&mut cluster, &[0, 1, 2, 3, 4], Duration::from_secs(60));
}

#[test]
fn a_new_cluster_is_at_work_within_seconds() {
    for (count, seed) in [(1, 1), (2, 2), (3, 3), (5, 4), (9, 5)] {
        let mut cluster = Cluster::new(count, seed);
        (0..count).for_each(|node| cluster.start(node));
        let begin = cluster.now;
        while !(0..count).all(|node| cluster.is_entitled(node)) {
            cluster.run(ms(10));
            assert!(
                cluster.now < begin + Duration::from_secs(20),
                "{count} nodes"
            );
        }
        println!(
            "{count} nodes: all entitled after {:?}",
            cluster.now - begin
        );
    }
}
