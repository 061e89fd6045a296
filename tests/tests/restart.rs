//! Agents are killed and restarted, and the data path does not notice.

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::scenario::{Stage, restart};

#[test]
fn twenty_restarts_under_load_lose_nothing() -> Result<()> {
    let stage = Stage::builder().start()?;
    let losses = restart::under_load(&stage, 20)?;
    figures::record("restart.lost", "requests", &[losses.total() as f64])?;
    assert_eq!(losses, restart::Losses::default());
    Ok(())
}
