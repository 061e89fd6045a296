//! Services and endpoints that come and go are followed at once.

use std::time::Duration;

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::scenario::{Stage, endpoint, first_answer};

#[test]
fn a_new_service_answers_within_a_tenth_of_a_second() -> Result<()> {
    let stage = Stage::builder().start()?;
    let times = first_answer::of_new_services(&stage, 50)?;
    let figure = figures::record_times("service.first_answer", &times)?;
    assert!(figure.p95 <= 100.0, "{figure:?}");
    Ok(())
}

#[test]
fn new_connections_follow_endpoints_and_established_ones_finish() -> Result<()> {
    let stage = Stage::builder().start()?;
    let mut times = Vec::new();
    for turn in 0..6 {
        let changes = endpoint::life(&stage, turn % 3)?;
        println!("{changes:?}");
        times.extend(changes.all());
    }
    figures::record_times("endpoint.change", &times)?;
    assert!(
        times.iter().all(|time| *time <= Duration::from_millis(100)),
        "{times:?}"
    );
    Ok(())
}
