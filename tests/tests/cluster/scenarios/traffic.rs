//! What a Service says of its traffic.

use anyhow::{Result, ensure};
use landfall_tests::lab::pod::PodSpec;
use serde_json::{Value, json};

use super::scene::Scene;

fn local(scene: &Scene<'_>, app: &str) -> Value {
    let mut service = scene.service("a");
    service["spec"]["externalTrafficPolicy"] = json!("Local");
    service["spec"]["selector"] = json!({"app": app});
    service
}

pub(super) fn local_is_announced_where_an_endpoint_is(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let app = scene.name("app");
    let pod = scene
        .lab
        .add_pod(1, PodSpec::app(&scene.name("pod"), &app))?;
    let played = (|| {
        scene.apply(&local(scene, &app))?;
        scene.held_by(scene.v4(1), scene.lab.node(1))?;
        let answer = scene.answers(scene.v4(1))?;
        ensure!(answer.pod == pod.name(), "{} answers", answer.pod);
        let seen = answer.client.ip();
        ensure!(seen == scene.lab.client().ipv4(), "the pod saw {seen}");
        Ok(())
    })();
    scene.lab.remove_pod(&pod)?;
    played
}

pub(super) fn local_follows_its_endpoint(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let app = scene.name("app");
    let first = scene.lab.add_pod(0, PodSpec::app(&scene.name("p"), &app))?;
    let service = local(scene, &app);
    scene.apply(&service)?;
    scene.held_by(scene.v4(1), scene.lab.node(0))?;
    let second = scene.lab.add_pod(2, PodSpec::app(&scene.name("q"), &app))?;
    scene.lab.remove_pod(&first)?;
    let moved = scene.held_by(scene.v4(1), scene.lab.node(2));
    let answers = scene.answers(scene.v4(1));
    scene.lab.remove_pod(&second)?;
    moved?;
    answers?;
    scene.keeps(&service, &[scene.v4(1)])
}

pub(super) fn local_without_endpoints_is_silent(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = local(scene, "nobody");
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.silent(scene.v4(1))
}

pub(super) fn without_endpoints_connections_are_refused(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["spec"]["selector"] = json!({"app": "nobody"});
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.holder(scene.v4(1))?;
    let how = scene.fails(scene.v4(1), 80)?;
    ensure!(how.contains("refused"), "{how}");
    Ok(())
}

pub(super) fn source_ranges_count(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["spec"]["loadBalancerSourceRanges"] = json!(["10.10.200.101/32"]);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.holder(scene.v4(1))?;
    scene.eventually("the watcher to be answered", || {
        let answer = scene.lab.watcher().http_get((scene.v4(1), 80))?;
        ensure!(answer.status == 200, "status {}", answer.status);
        Ok(())
    })?;
    scene.fails(scene.v4(1), 80)?;
    service["spec"]["loadBalancerSourceRanges"] = json!(["10.10.200.100/31"]);
    scene.apply(&service)?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn affinity_keeps_a_client_with_its_pod(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["spec"]["sessionAffinity"] = json!("ClientIP");
    scene.apply(&service)?;
    let first = scene.answers(scene.v4(1))?.pod;
    for _ in 0..30 {
        let pod = scene.answers(scene.v4(1))?.pod;
        ensure!(pod == first, "{first}, then {pod}");
    }
    Ok(())
}

/// Endpoints that somebody writes by hand, as for a database outside the cluster.
pub(super) fn endpoints_written_by_hand_count(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    let spec = service["spec"].as_object_mut().expect("a spec");
    spec.remove("selector");
    scene.apply(&service)?;
    let pods = scene.lab.pods();
    let pod = pods.iter().find(|pod| pod.node() == "node2");
    let pod = pod.expect("a web pod on each node");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": scene.name("by-hand"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": scene.name("a")},
        },
        "addressType": "IPv4",
        "ports": [{"name": "web", "protocol": "TCP", "port": 80}],
        "endpoints": [{
            "addresses": [pod.host().ipv4()], "nodeName": "node2", "conditions": {"ready": true},
        }],
    });
    scene.apply(&slice)?;
    let answer = scene.answers(scene.v4(1))?;
    ensure!(answer.pod == pod.name(), "{} answers", answer.pod);
    Ok(())
}
