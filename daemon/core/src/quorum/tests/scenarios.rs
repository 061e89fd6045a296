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

/// Takes the store away from `nodes` for long, and has every process resume.
fn darken(cluster: &mut Cluster, nodes: std::ops::Range<usize>) {
    let until = cluster.now + Duration::from_secs(90);
    cluster
        .nodes
        .iter_mut()
        .for_each(|node| node.resumes = true);
    for node in nodes {
        cluster.nodes[node].store_down_until = until;
    }
}

#[test]
fn nodes_that_restart_without_the_store_one_after_the_other_all_have_their_terms_back() {
    for (count, seed) in [(3, 1), (5, 2), (7, 3), (9, 4)] {
        let mut cluster = running(count, count, seed);
        let terms: Vec<_> = cluster.nodes.iter().map(|node| node.view.term).collect();
        darken(&mut cluster, 0..count);
        (0..count).for_each(|node| cluster.kill(node));
        cluster.power_off(1);
        cluster.run(Duration::from_secs(2));
        // The last one, which was rebooted, is away for a minute after the first is back.
        for node in (0..count).filter(|node| *node != 1) {
            cluster.start(node);
            cluster.run(Duration::from_secs(1));
        }
        cluster.run(Duration::from_secs(60));
        cluster.start(1);
        cluster.run(Duration::from_secs(1));
        for (node, term) in terms.iter().enumerate() {
            assert!(cluster.is_entitled(node), "{node} of {count}");
            assert_eq!(cluster.nodes[node].view.term, *term);
        }
        // The store comes back, and nobody notices.
        cluster
            .nodes
            .iter_mut()
            .for_each(|node| node.store_down_until = Duration::ZERO);
        let all: Vec<usize> = (0..count).collect();
        without_a_gap(&mut cluster, &all, Duration::from_secs(10));
        assert!(
            cluster.over.iter().all(Option::is_none),
            "{:?}",
            cluster.over
        );
    }
}

#[test]
fn a_node_cut_off_from_the_store_alone_and_fenced_stays_silent_when_it_resumes() {
    for seed in 0..20 {
        let mut cluster = running(5, 5, seed);
        let term = cluster.nodes[0].view.term;
        darken(&mut cluster, 0..1);
        cluster.kill(0);
        cluster.run(Duration::from_secs(2));
        assert_eq!(cluster.over[0], term, "fenced by the others");
        cluster.start(0);
        assert_eq!(cluster.nodes[0].view.term, term, "it does not know");
        for _ in 0..5000 {
            cluster.run(ms(1));
            assert!(!cluster.has_deadline(0), "with seed {seed}");
        }
        // Also when the others are killed, forget, and lose the store as well.
        darken(&mut cluster, 1..5);
        for node in 0..5 {
            cluster.kill(node);
            cluster.start(node);
        }
        for _ in 0..5000 {
            cluster.run(ms(1));
            assert!(!cluster.has_deadline(0), "with seed {seed}");
        }
        assert!((1..5).all(|node| cluster.is_entitled(node)));
    }
}

#[test]
fn where_one_granter_sees_the_store_the_dead_are_over_in_time() {
    let mut cluster = running(5, 5, 1);
    let term = cluster.nodes[4].view.term;
    darken(&mut cluster, 0..4);
    cluster.nodes[3].store_down_until = Duration::ZERO;
    cluster.run(Duration::from_secs(5));
    cluster.power_off(4);
    cluster.run(ms(600));
    assert_eq!(cluster.over[4], term);
}

#[test]
fn one_or_two_members_that_resume_without_the_store_stay_silent() {
    for count in [1, 2] {
        let mut cluster = running(count, count, 1);
        darken(&mut cluster, 0..count);
        (0..count).for_each(|node| cluster.kill(node));
        cluster.run(Duration::from_secs(3));
        (0..count).for_each(|node| cluster.start(node));
        cluster.run(Duration::from_secs(5));
        assert!((0..count).all(|node| !cluster.has_deadline(node)));
        cluster
            .nodes
            .iter_mut()
            .for_each(|node| node.store_down_until = Duration::ZERO);
        cluster.run(Duration::from_secs(5));
        assert!((0..count).all(|node| cluster.is_entitled(node)));
    }
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
