//! What the agents ask of the API server when nothing happens: little, whatever there is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use landfall_tests::cluster::audit::Audit;
use landfall_tests::figures;
use landfall_tests::lab::wait;
use landfall_tests::scenario::Stage;
use serde_json::json;

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

/// How long as many services may take to have an address each.
const PATIENCE: Duration = Duration::from_secs(300);

/// The Services' addresses, by their names.
fn addresses(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let services = access(stage).client().list("v1", "Service")?;
    let named = services.into_iter().filter_map(|service| {
        let ip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str()?;
        Some((
            service["metadata"]["name"].as_str()?.to_owned(),
            ip.to_owned(),
        ))
    });
    Ok(named.collect())
}

/// Waits until the agents have stopped writing for a while.
fn settle(stage: &Stage) -> Result<()> {
    let control_plane = access(stage).control_plane();
    wait::until_ok(PATIENCE, "the agents to come to rest", || {
        let before = control_plane.audit()?;
        std::thread::sleep(5 * SECOND);
        let now = control_plane.audit()?.since(&before);
        let most = 5 * stage.lab.nodes().len() * 2;
        ensure!(now.asked.len() < most, "{:?}", now.by_kind());
        Ok(())
    })
}

/// What each node asked for within a while.
fn rest(stage: &Stage) -> Result<(Audit, Vec<f64>)> {
    let control_plane = access(stage).control_plane();
    let (before, begun) = (control_plane.audit()?, Instant::now());
    std::thread::sleep(SPAN);
    let (asked, took) = (control_plane.audit()?.since(&before), begun.elapsed());
    let rate = |address: IpAddr| asked.count_from(address) as f64 / took.as_secs_f64();
    let nodes = stage.lab.nodes().iter();
    let rates = nodes.map(|node| rate(node.host().ipv4().into())).collect();
    Ok((asked, rates))
}

#[test]
fn requests_at_rest_are_few_whatever_the_number_of_services() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let client = access(&stage).client();
    client.apply(&json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
        "metadata": {"name": "crowd"}, "spec": {"blocks": [{"cidr": "10.32.0.0/16"}]},
    }))?;
    let mut there = 0;
    for (services, figure) in SIZES {
        for number in there..services {
            client.create(&json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": format!("crowd{number}"), "namespace": "default",
                    "labels": {"color": "blue"},
                },
                "spec": {
                    "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                    "selector": {"app": "webpod"}, "ports": [{"port": 80}],
                },
            }))?;
        }
        there = services;
        wait::until_ok(PATIENCE, "every service to have an address", || {
            std::thread::sleep(SECOND);
            let have = addresses(&stage)?.len();
            ensure!(have == services + 3, "{have} of {services} and 3");
            Ok(())
        })?;
        settle(&stage)?;
        let (asked, rates) = rest(&stage)?;
        println!("{services} services: {:?}", asked.by_kind());
        figures::record(figure, "requests/s", &rates)?;
        ensure!(rates.iter().all(|rate| *rate < BOUND), "{rates:?}");
        // Every node's lease is renewed, each second: it was really counted.
        ensure!(rates.iter().all(|rate| *rate > 0.5), "{rates:?}");
    }

    // All agents at once: nothing is new, so nothing is written.
    let before = addresses(&stage)?;
    let audit = access(&stage).control_plane().audit()?;
    for node in stage.lab.nodes() {
        node.kill_agent()?;
    }
    stage.lab.start_agents()?;
    for vip in stage.vips() {
        wait::until_ok(20 * SECOND, "a service to answer", || {
            stage.lab.client().http_get((vip, 80))
        })?;
    }
    settle(&stage)?;
    let asked = access(&stage).control_plane().audit()?.since(&audit);
    println!("restarted: {:?}", asked.by_kind());
    let writes: Vec<_> = asked.writes("services/status").collect();
    let count = writes.len() as f64;
    figures::record("cluster.restart.status_writes", "requests", &[count])?;
    ensure!(writes.is_empty(), "{} status writes", writes.len());
    assert_eq!(addresses(&stage)?, before);
    Ok(())
}
