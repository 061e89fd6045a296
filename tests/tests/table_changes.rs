//! Open connections and datagram flows live through many changes of the endpoints' table in a row.

use landfall_tests::figures;
use landfall_tests::scenario::{Stage, table_changes};

use anyhow::Result;

/// How often it is repeated.
const REPEATS: usize = 3;

#[test]
fn connections_and_flows_live_through_twenty_table_changes_in_a_row() -> Result<()> {
    let mut lost = Vec::new();
    for _ in 0..REPEATS {
        let stage = Stage::builder().pods_per_node(2).start()?;
        let changes = table_changes::many(&stage, 500, 100, 20)?;
        println!("{changes:?}");
        lost.push((changes.connections_lost + changes.flows_moved) as f64);
    }
    figures::record("table_changes.lost", "connections and flows", &lost)?;
    assert!(lost.iter().all(|lost| *lost == 0.0), "{lost:?}");
    Ok(())
}
