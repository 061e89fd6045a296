//! Open connections and datagram flows live through many changes of the endpoints' table in a row.

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::lab::settings::Common;
use landfall_tests::scenario::{Stage, table_changes};

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

#[test]
fn an_agent_started_anew_among_table_changes_loses_nothing() -> Result<()> {
    let stage = Stage::builder().pods_per_node(2).start()?;
    let node = stage.lab.node(1);
    let changes = table_changes::many_while(&stage, 200, 50, 20, |turn| match turn {
        3 | 11 => node.kill_agent(),
        5 | 13 => node.start_agent(),
        _ => Ok(()),
    })?;
    println!("{changes:?}");
    assert_eq!(
        (changes.connections_lost, changes.flows_moved),
        (0, 0),
        "{changes:?}"
    );
    Ok(())
}

#[test]
fn connections_by_source_translation_live_through_table_changes() -> Result<()> {
    let settings = Common {
        mode: Some("snat".to_owned()),
        ..Common::default()
    };
    let stage = Stage::builder()
        .pods_per_node(2)
        .settings(settings)
        .start()?;
    let changes = table_changes::many(&stage, 200, 50, 10)?;
    println!("{changes:?}");
    assert_eq!(
        (changes.connections_lost, changes.flows_moved),
        (0, 0),
        "{changes:?}"
    );
    let (sent, unanswered) = changes.datagrams;
    assert!(unanswered * 100 <= sent, "{changes:?}");
    Ok(())
}
