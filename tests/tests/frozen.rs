//! A frozen agent falls silent by itself, and never are there two that answer.

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::lab::settings::Lease;
use landfall_tests::scenario::{Stage, failover};

#[test]
fn a_frozen_agent_never_answers_beside_its_successor() -> Result<()> {
    let mut counts = Vec::new();
    for _ in 0..3 {
        let stage = Stage::builder().start()?;
        let duplicates = failover::freeze(&stage, Lease::default().duration)?;
        println!("{duplicates:?}");
        counts.push(duplicates.len() as f64);
    }
    figures::record("failover.frozen.duplicate_answers", "answers", &counts)?;
    assert!(counts.iter().all(|count| *count == 0.0), "{counts:?}");
    Ok(())
}
