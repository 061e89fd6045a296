//! The announcing node dies or leaves: addresses move in time, connections live on.

use std::time::Duration;

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::scenario::{Stage, failover, must_hold};

/// How often each fault is repeated.
const REPEATS: usize = 10;

/// How often those are that `make bench` repeats more often.
const FEW_REPEATS: usize = 3;

/// The bound on a silence with leases of 3 s.
const BOUND: Duration = Duration::from_millis(3500);

#[test]
fn a_dead_nodes_vip_is_silent_for_its_lease_at_most() -> Result<()> {
    let (mut gaps, mut arp_gaps) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        // Two nodes stand on the ground of the lease.
        let stage = Stage::builder().nodes(2).start()?;
        let takeover = failover::node_death(&stage, BOUND + Duration::from_secs(1))?;
        assert_eq!(takeover.duplicates, []);
        gaps.push(takeover.gap);
        arp_gaps.push(takeover.arp_gap);
    }
    figures::record_times("failover.lease.gap", &gaps)?;
    figures::record_times("failover.lease.arp", &arp_gaps)?;
    assert!(
        gaps.iter().chain(&arp_gaps).all(|gap| *gap <= BOUND),
        "{gaps:?}, {arp_gaps:?}"
    );
    Ok(())
}

#[test]
fn a_thousand_connections_outlive_the_death_of_the_announcing_node() -> Result<()> {
    must_hold::connections(FEW_REPEATS).map(drop)
}

#[test]
fn a_drained_node_hands_its_vips_over_without_a_pause() -> Result<()> {
    must_hold::drain(FEW_REPEATS).map(drop)
}

#[test]
fn a_partition_of_two_never_has_two_answers() -> Result<()> {
    must_hold::partition_of_two(FEW_REPEATS).map(drop)
}

#[test]
fn an_agent_that_stops_in_order_hands_its_vips_over_without_a_pause() -> Result<()> {
    let stage = Stage::builder().start()?;
    let (mut gaps, mut disturbed) = (Vec::new(), 0);
    while gaps.len() < REPEATS {
        let takeover = failover::drain(&stage)?;
        assert_eq!(takeover.duplicates, []);
        if takeover.is_disturbed() && disturbed < REPEATS {
            disturbed += 1;
        } else {
            gaps.push(takeover.gap.max(takeover.arp_gap));
        }
    }
    println!("{disturbed} more repeats in which the machine itself stood still");
    figures::record_times("failover.stop.gap", &gaps)?;
    assert!(
        gaps.iter().all(|gap| *gap <= Duration::from_millis(50)),
        "{gaps:?}"
    );
    Ok(())
}
