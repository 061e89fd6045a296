//! What the agents ask of the API server when nothing happens: little, whatever there is.

use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_tests::figures;
use landfall_tests::lab::wait;
use landfall_tests::scenario::{Stage, requests};

use crate::{SECOND, access, stage};

/// The numbers of services at which requests are counted, and the figures' names.
const SIZES: [(usize, &str); 3] = [
    (50, "cluster.api.requests_per_node.50"),
    (200, "cluster.api.requests_per_node.200"),
    (2_000, "cluster.api.requests_per_node.2000"),
];

/// How long requests are counted for.
const SPAN: Duration = Duration::from_secs(30);

/// Requests a second that a node may make at rest.
const BOUND: f64 = 2.0;

#[test]
fn requests_at_rest_are_few_and_a_restart_writes_no_status() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let mut there = 0;
    for (services, figure) in SIZES {
        requests::crowd(&stage, there..services)?;
        there = services;
        requests::settle(&stage)?;
        let rest = requests::at_rest(&stage, SPAN)?;
        println!("{services} services: {:?}", rest.asked.by_kind());
        figures::record(figure, "requests/s", &rest.rates)?;
        let rates = &rest.rates;
        ensure!(rates.iter().all(|rate| *rate < BOUND), "{rates:?}");
        // Every node's lease is renewed, each second: it was really counted.
        ensure!(rates.iter().all(|rate| *rate > 0.5), "{rates:?}");
    }

    // All agents at once: nothing is new, so nothing is written.
    let control_plane = access(&stage).control_plane();
    let (before, audit) = (requests::addresses(&stage)?, control_plane.audit()?);
    for node in stage.lab.nodes() {
        node.kill_agent()?;
    }
    stage.lab.start_agents()?;
    for vip in stage.vips() {
        wait::until_ok(20 * SECOND, "a service to answer", || {
            stage.lab.client().http_get((vip, 80))
        })?;
    }
    requests::settle(&stage)?;
    let asked = control_plane.audit()?.since(&audit);
    println!("restarted: {:?}", asked.by_kind());
    let writes = asked.writes("services/status").count();
    let unit = "requests";
    figures::record("cluster.restart.status_writes", unit, &[writes as f64])?;
    ensure!(writes == 0, "{writes} status writes");
    assert_eq!(requests::addresses(&stage)?, before);
    Ok(())
}
