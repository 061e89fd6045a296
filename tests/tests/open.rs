//! What does not hold yet, and is to: run by name, `cargo test -p landfall-tests --test open`.

use anyhow::Result;
use landfall_tests::scenario::must_hold;

/// An agent does not start yet while its store cannot be reached.
#[test]
fn without_a_lease_store_everything_is_announced_once() -> Result<()> {
    must_hold::dark(1).map(drop)
}
