//! How long a dead node's VIPs go without an answer, by how long the store takes to write.

use std::time::Duration;

use super::cluster::{Cluster, FAIR};

const SECOND: Duration = Duration::from_secs(1);
/// Within this every VIP of a dead node is answered by another.
const BOUND: Duration = Duration::from_millis(500);
const DEATHS: u64 = 24;

/// `size` nodes that share 8 VIPs, with a store that takes `slow_writes` for each write, which shortens grants or does not.
fn running(size: usize, slow_writes: Duration, shortens: bool, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(size, 8, seed);
    if !shortens {
        cluster.quorum_settings.least_span = cluster.quorum_settings.span;
    }
    cluster.weather = FAIR;
    cluster.slow_writes = slow_writes;
    for node in 0..size {
        cluster.machines[node].desired = cluster.everywhere();
        cluster.start(node);
    }
    // Until all are members, and by any phase of heartbeats and renewals.
    let span = SECOND * 20 + cluster.rng.millis(0, 1000);
    cluster.run(span);
    assert!((0..size).all(|node| cluster.is_entitled(node)), "{seed}");
    cluster
}

/// One of `size` nodes loses its power. Gives how long it takes until others answer for all that it had.
fn death(size: usize, slow_writes: Duration, shortens: bool, seed: u64) -> Duration {
    let mut cluster = running(size, slow_writes, shortens, seed);
    let vips = 0..cluster.vips.len();
    let silent = |cluster: &Cluster| {
        let mut vips = vips.clone();
        vips.any(|vip| cluster.answerers(vip).is_empty())
    };
    // What is just being handed over, for an even share, has to wait for a write as well.
    while silent(&cluster) {
        cluster.run(Duration::from_millis(1));
    }
    let dead = cluster.rng.place(size);
    cluster.power_off(dead);
    let begin = cluster.now;
    while silent(&cluster) {
        cluster.run(Duration::from_millis(1));
        assert!(
            cluster.now - begin < SECOND * 5,
            "not answered, seed {seed}"
        );
    }
    cluster.now - begin
}

/// The longest, and the median, of many deaths.
fn deaths(slow_writes: Duration, shortens: bool) -> (Duration, Duration) {
    let sizes = [3, 3, 3, 4, 5, 7];
    let mut gaps: Vec<_> = (0..DEATHS)
        .map(|seed| {
            let size = sizes[usize::try_from(seed).unwrap_or(0) % sizes.len()];
            death(size, slow_writes, shortens, seed)
        })
        .collect();
    gaps.sort_unstable();
    let (longest, median) = (gaps[gaps.len() - 1], gaps[gaps.len() / 2]);
    println!(
        "writes of {slow_writes:?}, shortened {shortens}: median {median:?}, longest {longest:?}"
    );
    (longest, median)
}

#[test]
fn a_dead_nodes_vips_are_answered_within_the_bound_where_a_write_takes_up_to_200_ms() {
    for millis in [0, 125, 200] {
        let (longest, _) = deaths(Duration::from_millis(millis), true);
        assert!(longest <= BOUND, "{longest:?} with writes of {millis} ms");
    }
}

#[test]
fn with_grants_as_long_as_ever_a_slow_store_would_break_the_bound() {
    let (longest, median) = deaths(Duration::from_millis(200), false);
    assert!(longest > BOUND, "{longest:?}, median {median:?}");
}
