//! The lease store is away, all agents are killed, one node is rebooted: everything is announced once, by the node that had it.

use anyhow::Result;
use landfall_tests::scenario::must_hold;

/// How often this is repeated; `make bench` repeats it more often.
const REPEATS: usize = 3;

#[test]
fn without_a_lease_store_everything_is_announced_once() -> Result<()> {
    must_hold::dark(REPEATS).map(drop)
}
