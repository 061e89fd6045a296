//! What agents cost on a real cluster, by the number of services: memory, processor time, and what
//! they ask of the API server.

use std::time::Duration;

use anyhow::Result;

use super::Row;
use super::idle::ticks;
use crate::cluster::Cluster;
use crate::cluster::programs::Programs;
use crate::figures;
use crate::lab::settings::Common;
use crate::scenario::{Stage, requests};

/// The numbers of services; the figures' names: memory, processor time, requests.
const SIZES: [(usize, &str, &str, &str); 3] = [
    (
        0,
        "cluster.idle.0.rss",
        "cluster.idle.0.cpu",
        "cluster.idle.0.requests",
    ),
    (
        500,
        "cluster.idle.500.rss",
        "cluster.idle.500.cpu",
        "cluster.idle.500.requests",
    ),
    (
        2_000,
        "cluster.idle.2000.rss",
        "cluster.idle.2000.cpu",
        "cluster.idle.2000.requests",
    ),
];

/// How long they are measured for.
const SPAN: Duration = Duration::from_secs(20);

pub(super) fn measure() -> Result<Vec<Row>> {
    let cluster = Cluster::builder().agents(Common::default());
    let cluster = cluster.start(&Programs::find_or_build()?)?;
    let stage = Stage::builder().start_on(cluster)?;
    let nodes = stage.lab.nodes();
    let (mut rows, mut there) = (Vec::new(), 0);
    for (services, memory, processor, asked) in SIZES {
        requests::crowd(&stage, there..services)?;
        there = services;
        requests::settle(&stage)?;
        let before: Vec<f64> = nodes.iter().map(ticks).collect::<Result<_>>()?;
        let rest = requests::at_rest(&stage, SPAN)?;
        let (mut mebibytes, mut shares) = (Vec::new(), Vec::new());
        for (node, before) in nodes.iter().zip(before) {
            // Ticks of 10 ms (USER_HZ is 100 on all of Linux's common platforms).
            shares.push((ticks(node)? - before) / SPAN.as_secs_f64());
            mebibytes.push(node.agent_resident()?);
        }
        for (name, unit, samples) in [
            (memory, "MiB", &mebibytes),
            (processor, "% core", &shares),
            (asked, "requests/s", &rest.rates),
        ] {
            let figure = figures::record(name, unit, samples)?;
            rows.push(Row { name, figure });
        }
        println!("{services} services, requests of all nodes in {SPAN:?}:");
        for (kind, count) in rest.asked.by_kind() {
            println!("  {count:5} {kind}");
        }
    }
    Ok(rows)
}
