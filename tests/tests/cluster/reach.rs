//! Every service is reached by everybody, evenly, intact, and with the client's own address.

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::scenario::{Stage, endpoint, reach, restart, table_changes};

use crate::stage;

#[test]
fn every_service_is_reached_by_everybody_as_on_plain_machines() -> Result<()> {
    let stage = stage(Stage::builder().dual_stack().pods_per_node(2))?;
    reach::every_vip_answers(&stage, 300)?;
    reach::one_node_answers_for_each_vip(&stage)?;
    reach::transfers_are_intact(&stage, 5_000_000)?;
    reach::nodes_and_pods_reach_every_vip(&stage, 10)?;
    let unevenness = reach::unevenness(&stage, 20_000)?;
    figures::record("cluster.unevenness", "share", &[unevenness])?;
    assert!(unevenness <= 0.1, "{unevenness}");
    Ok(())
}

#[test]
fn new_connections_follow_endpoints_and_established_ones_finish() -> Result<()> {
    let stage = stage(Stage::builder())?;
    endpoint::life(&stage, 1).map(drop)
}

#[test]
fn connections_and_flows_outlive_many_table_changes() -> Result<()> {
    let stage = stage(Stage::builder().pods_per_node(2))?;
    let seen = table_changes::many(&stage, 200, 50, 20)?;
    println!("{seen:?}");
    assert_eq!(seen.connections_lost, 0, "{:?}", seen.first);
    assert_eq!(seen.flows_moved, 0);
    Ok(())
}

#[test]
fn restarts_under_load_lose_nothing() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let losses = restart::under_load(&stage, 10)?;
    figures::record("cluster.restart.lost", "requests", &[losses.total() as f64])?;
    assert_eq!(losses, restart::Losses::default());
    Ok(())
}
