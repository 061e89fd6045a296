//! The agents may do what they do and nothing else.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::client::Client;
use landfall_tests::cluster::role::permissions;
use landfall_tests::cluster::{ACCOUNT, Access, NAMESPACE, Resource};
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::wait;
use landfall_tests::scenario::{Stage, failover};
use serde_json::json;

use crate::{SECOND, access, stage};

/// Has the agents do everything they do in a life: start where nothing is, serve, report what cannot
/// be served, hand over, die, be succeeded, and clean up.
fn live(stage: &Stage) -> Result<()> {
    let client = access(stage).client();
    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let own = json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
        "metadata": {"name": "own"}, "spec": {"blocks": [{"cidr": "10.33.0.0/30"}]},
    });
    client.apply(&own)?;
    client.apply(&json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "L2AnnouncementPolicy",
        "metadata": {"name": "own"}, "spec": {"loadBalancerIPs": true},
    }))?;
    let mut refused = service("refused", &blue, &app, &[("web", "TCP", 80)]);
    // What happens again within minutes is counted on its first event.
    let turns = [
        ("10.99.0.1", "False"),
        ("10.33.0.2", "True"),
        ("10.99.0.1", "False"),
    ];
    for (address, satisfied) in turns {
        refused["metadata"]["annotations"] = json!({"landfall.dev/ips": address});
        client.apply(&refused)?;
        is_satisfied(client, "refused", satisfied)?;
    }
    let extra = service("extra", &blue, &app, &[("web", "TCP", 80)]);
    client.apply(&extra)?;
    has_address(client, "extra")?;
    failover::drain_by_command(stage)?;
    let allocator = allocator(access(stage), stage)?;
    stage.lab.node(allocator).kill_agent()?;
    client.apply(&service("later", &blue, &app, &[("web", "TCP", 80)]))?;
    has_address(client, "later")?;
    stage.lab.node(allocator).start_agent()?;
    client.delete(&Resource::of(&extra)?)?;
    wait::until_ok(20 * SECOND, "the lease of a service that is gone", || {
        let leases = client.list("coordination.k8s.io/v1", "Lease")?;
        let left = leases
            .iter()
            .any(|lease| lease["metadata"]["name"] == "landfall-l2-default.extra");
        ensure!(!left, "it is there");
        Ok(())
    })
}

fn is_satisfied(client: &Client, name: &str, wanted: &str) -> Result<()> {
    wait::until_ok(20 * SECOND, "the condition of a service", || {
        std::thread::sleep(SECOND / 20);
        let service = client.get(&Resource::service(name))?;
        let conditions = service["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let satisfied = conditions.find(|c| c["type"] == "landfall.dev/IPAMRequestSatisfied");
        let status = satisfied.context("no condition")?["status"].as_str();
        ensure!(status == Some(wanted), "{name} is {status:?}");
        Ok(())
    })
}

fn has_address(client: &Client, name: &str) -> Result<()> {
    wait::until_ok(20 * SECOND, "an address", || {
        std::thread::sleep(SECOND / 20);
        let service = client.get(&Resource::service(name))?;
        let ip = &service["status"]["loadBalancer"]["ingress"][0]["ip"];
        ip.as_str()
            .map(drop)
            .with_context(|| format!("{name} has none"))
    })
}

fn allocator(access: &Access, stage: &Stage) -> Result<usize> {
    let lease = access.client().get(&Resource::new(
        "coordination.k8s.io/v1",
        "Lease",
        NAMESPACE,
        "landfall-allocator",
    ))?;
    let identity = lease["spec"]["holderIdentity"].as_str();
    let identity = identity.context("nobody allocates")?;
    let mut nodes = stage.lab.nodes().iter();
    let index = nodes.position(|node| identity.starts_with(node.name()));
    index.with_context(|| format!("{identity} is no node"))
}

#[test]
fn the_agents_role_allows_what_they_do_and_nothing_else() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let permissions = permissions(access(&stage).client(), NAMESPACE, ACCOUNT)?;
    ensure!(!permissions.is_empty(), "the agents' account has no role");
    live(&stage)?;
    let asked = access(&stage).control_plane().audit()?.asked;
    ensure!(asked.len() > 50, "only {} requests", asked.len());
    let denied: BTreeSet<String> = asked
        .iter()
        .filter(|asked| asked.code == 403)
        .map(|asked| format!("{:?}", asked.call))
        .collect();
    let unused: Vec<String> = permissions
        .iter()
        .filter(|permission| !asked.iter().any(|asked| permission.allows(&asked.call)))
        .map(ToString::to_string)
        .collect();
    ensure!(denied.is_empty(), "denied:\n{denied:#?}");
    ensure!(unused.is_empty(), "allowed and never used:\n{unused:#?}");
    Ok(())
}
