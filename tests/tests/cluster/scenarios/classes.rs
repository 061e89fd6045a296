//! Which Services are ours, and what is done to those that are not: nothing.

use anyhow::{Result, ensure};
use landfall_tests::cluster::Resource;
use serde_json::json;

use super::scene::Scene;

fn of_class(scene: &Scene<'_>, class: &str) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["spec"]["loadBalancerClass"] = json!(class);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn ours(scene: &Scene<'_>) -> Result<()> {
    of_class(scene, "landfall.dev/l2")
}

pub(super) fn cilium_s(scene: &Scene<'_>) -> Result<()> {
    of_class(scene, "io.cilium/l2-announcer")
}

pub(super) fn another_class(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut foreign = scene.service("a");
    foreign["spec"]["loadBalancerClass"] = json!("example.com/lb");
    let before = scene.apply(&foreign)?;
    // One of ours shows that the agents have seen what came before.
    let own = scene.service("b");
    scene.apply(&own)?;
    scene.gets(&own, &[scene.v4(1)])?;
    let after = scene.get(&foreign)?;
    ensure!(
        after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"],
        "it was written to: {after}"
    );
    Ok(())
}

/// A controller of another class gives an address that is in a pool of ours.
pub(super) fn another_class_with_an_address(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut foreign = scene.service("a");
    foreign["spec"]["loadBalancerClass"] = json!("example.com/lb");
    scene.apply(&foreign)?;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let written = scene
        .client()
        .merge_status(&Resource::of(&foreign)?, &status)?;
    let own = scene.service("b");
    scene.apply(&own)?;
    scene.gets(&own, &[scene.v4(1)])?;
    let after = scene.get(&foreign)?;
    ensure!(
        after["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"],
        "it was written to: {after}"
    );
    Ok(())
}

/// A writer of status without a class, as some clouds are: a Service without a class that it has
/// served is its.
pub(super) fn another_status_writer(scene: &Scene<'_>) -> Result<()> {
    // Nothing of ours fits it at first: the other is the first to write.
    let service = scene.service("a");
    scene.apply(&service)?;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    scene
        .client()
        .merge_status(&Resource::of(&service)?, &status)?;
    scene.pool_v4(1, 9)?;
    let own = scene.annotated("b", "landfall.dev/ips", &scene.v4(2).to_string());
    scene.apply(&own)?;
    scene.gets(&own, &[scene.v4(2)])?;
    let theirs = "192.0.2.1".parse()?;
    scene.keeps(&service, &[theirs])?;
    scene.silent(theirs)
}

pub(super) fn a_foreign_finalizer_stays(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["metadata"]["finalizers"] = json!(["example.com/keep"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    let now = scene.get(&service)?;
    ensure!(
        now["metadata"]["finalizers"] == json!(["example.com/keep"]),
        "{}",
        now["metadata"]
    );
    service["metadata"]["finalizers"] = json!([]);
    scene.apply(&service).map(drop)
}
