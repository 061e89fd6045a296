//! A frozen agent falls silent by itself, and never are there two that answer.

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::lab::settings::Lease;
use landfall_tests::scenario::{Stage, failover};

#[test]
fn a_frozen_agent_never_answers_beside_its_successor() -> Result<()> {
    let (mut counts, mut thawed) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let stage = Stage::builder().start()?;
        let seen = failover::freeze(&stage, Lease::default().duration)?;
        counts.push(seen.duplicates.len() as f64);
        thawed.push(seen.answered_thawed);
    }
    figures::record("failover.frozen.duplicate_answers", "answers", &counts)?;
    assert!(counts.iter().all(|count| *count == 0.0), "{counts:?}");
    assert!(
        !thawed.contains(&true),
        "a thawed agent answered without the lease: {thawed:?}"
    );
    Ok(())
}
