//! What the agents ask of a cluster's API server, by the number of services there are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{SERVICES, Stage};
use crate::cluster::Access;
use crate::cluster::audit::Audit;
use crate::lab::wait;

/// How long thousands of services may take to have an address each.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the agents must have made few requests to be at rest.
const QUIET: Duration = Duration::from_secs(5);

/// Requests a second of each node that are few: one is the renewal of its lease.
const FEW: usize = 2;

/// The cluster that a stage is on.
fn access(stage: &Stage) -> Result<&Access> {
    stage.cluster.as_ref().context("the stage is on a cluster")
}

/// Creates the Services with these numbers, which are announced, and waits until each has an address.
///
/// # Errors
/// When one is refused or has no address in time.
pub fn crowd(stage: &Stage, numbers: Range<usize>) -> Result<()> {
    let client = access(stage)?.client();
    client.apply(&json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
        "metadata": {"name": "crowd"}, "spec": {"blocks": [{"cidr": "10.32.0.0/16"}]},
    }))?;
    let wanted = numbers.end + SERVICES.len();
    for number in numbers {
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
    wait::until_ok(PATIENCE, "every service to have an address", || {
        thread::sleep(Duration::from_millis(500));
        let have = addresses(stage)?.len();
        ensure!(have == wanted, "{have} of {wanted}");
        Ok(())
    })
}

/// The addresses in the Services' status, by the Services' names.
///
/// # Errors
/// When they cannot be listed.
pub fn addresses(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let services = access(stage)?.client().list("v1", "Service")?;
    let named = services.into_iter().filter_map(|service| {
        let ip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str()?;
        let name = service["metadata"]["name"].as_str()?;
        Some((name.to_owned(), ip.to_owned()))
    });
    Ok(named.collect())
}

/// Waits until the agents make few requests.
///
/// # Errors
/// When they go on making many.
pub fn settle(stage: &Stage) -> Result<()> {
    let control_plane = access(stage)?.control_plane();
    let nodes = stage.lab.nodes().len();
    let few = FEW * nodes * usize::try_from(QUIET.as_secs())?;
    wait::until_ok(PATIENCE, "the agents to come to rest", || {
        let before = control_plane.audit()?;
        thread::sleep(QUIET);
        let now = control_plane.audit()?.since(&before);
        ensure!(now.asked.len() < few, "{:?}", now.by_kind());
        Ok(())
    })
}

/// What the agents asked for within a while.
#[derive(Debug, Clone)]
pub struct Rest {
    /// Every request.
    pub asked: Audit,
    /// Requests a second, of each node.
    pub rates: Vec<f64>,
}

/// Counts requests for `span`.
///
/// # Errors
/// When the audit log cannot be read.
pub fn at_rest(stage: &Stage, span: Duration) -> Result<Rest> {
    let control_plane = access(stage)?.control_plane();
    let (before, begun) = (control_plane.audit()?, Instant::now());
    thread::sleep(span);
    let (asked, took) = (control_plane.audit()?.since(&before), begun.elapsed());
    let rate = |address: IpAddr| asked.count_from(address) as f64 / took.as_secs_f64();
    let nodes = stage.lab.nodes().iter();
    let rates = nodes.map(|node| rate(node.host().ipv4().into())).collect();
    Ok(Rest { asked, rates })
}
