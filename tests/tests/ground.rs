//! The LAN loses frames, or the lease store is away: there is one answer at every instant, and one
//! owner afterwards. And what that costs while nothing happens.

use anyhow::Result;
use landfall_tests::lab::wires::Deaf;
use landfall_tests::scenario::must_hold;

/// How often each fault is repeated; `make bench` repeats them more often.
const REPEATS: usize = 3;

#[test]
fn a_partition_of_five_has_one_answer_at_every_instant_and_heals() -> Result<()> {
    must_hold::partition(REPEATS, 5).map(drop)
}

#[test]
fn a_partition_of_three_has_one_answer_at_every_instant_and_heals() -> Result<()> {
    must_hold::partition(REPEATS, 3).map(drop)
}

#[test]
fn a_node_that_is_not_heard_is_succeeded_within_a_second() -> Result<()> {
    must_hold::one_way(REPEATS, Deaf::Unheard).map(drop)
}

#[test]
fn a_node_that_does_not_hear_is_succeeded_within_a_second() -> Result<()> {
    must_hold::one_way(REPEATS, Deaf::Unhearing).map(drop)
}

#[test]
fn a_node_that_flaps_for_a_minute_moves_nothing_twice() -> Result<()> {
    must_hold::flapping(REPEATS).map(drop)
}

#[test]
fn heartbeats_cost_next_to_nothing() -> Result<()> {
    must_hold::heartbeats().map(drop)
}
