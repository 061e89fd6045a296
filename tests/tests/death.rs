//! A node dies, freezes, loses its carrier or its daemon: within a third of a second its VIPs are
//! announced elsewhere, there is one answer at every instant, and nothing else is lost.

use std::time::Duration;

use anyhow::Result;
use landfall_tests::scenario::death::{Conditions, Death};
use landfall_tests::scenario::must_hold;

/// How often each fault is repeated; `make bench` repeats them more often.
const REPEATS: usize = 3;

#[test]
fn the_vips_of_a_dead_node_of_three_move_within_the_bound() -> Result<()> {
    must_hold::hard("failover.hard", REPEATS, Conditions::default()).map(drop)
}

#[test]
fn the_vips_of_a_dead_node_of_five_move_within_the_bound() -> Result<()> {
    let five = Conditions {
        nodes: 5,
        ..Conditions::default()
    };
    must_hold::hard("failover.hard.five", REPEATS, five).map(drop)
}

#[test]
fn ipv6_vips_move_within_the_bound() -> Result<()> {
    let ipv6 = Conditions {
        ipv6: true,
        ..Conditions::default()
    };
    must_hold::hard("failover.hard.ipv6", REPEATS, ipv6).map(drop)
}

#[test]
fn vips_of_a_node_whose_processes_freeze_move_within_the_bound() -> Result<()> {
    let frozen = Conditions {
        death: Death::Frozen,
        ..Conditions::default()
    };
    must_hold::hard("failover.hard.paused", REPEATS, frozen).map(drop)
}

#[test]
fn vips_move_within_the_bound_while_all_cores_are_busy() -> Result<()> {
    let busy = Conditions {
        busy_cores: 2,
        ..Conditions::default()
    };
    must_hold::hard("failover.hard.busy", REPEATS, busy).map(drop)
}

#[test]
fn seven_hundred_vips_move_within_the_bound() -> Result<()> {
    must_hold::many_vips(REPEATS).map(drop)
}

#[test]
fn a_node_without_carrier_on_one_of_two_lans_loses_its_vips_there_within_the_bound() -> Result<()> {
    must_hold::carrier(REPEATS).map(drop)
}

#[test]
fn a_killed_daemons_vips_move_within_the_bound() -> Result<()> {
    must_hold::killed(REPEATS).map(drop)
}

#[test]
fn a_frozen_daemon_falls_silent_and_never_answers_beside_its_successor() -> Result<()> {
    must_hold::frozen(REPEATS).map(drop)
}

#[test]
fn a_dead_one_of_two_nodes_is_succeeded_within_a_lease() -> Result<()> {
    must_hold::one_of_two(REPEATS, Duration::from_secs(5)).map(drop)
}
