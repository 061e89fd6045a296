//! Services that come, change what they are, and go.

use anyhow::Result;
use serde_json::{Value, json};

use super::scene::Scene;

/// As [`Scene::service`], of type ClusterIP.
fn cluster_ip(scene: &Scene<'_>) -> Value {
    let mut service = scene.service("a");
    service["spec"]["type"] = json!("ClusterIP");
    let spec = service["spec"].as_object_mut();
    spec.expect("a spec")
        .remove("allocateLoadBalancerNodePorts");
    service
}

pub(super) fn becomes_a_load_balancer(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let before = cluster_ip(scene);
    scene.apply(&before)?;
    scene.keeps(&before, &[])?;
    let service = scene.service("a");
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn becomes_a_cluster_ip(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = scene.service("a");
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.answers(scene.v4(1))?;
    let service = cluster_ip(scene);
    scene.apply(&service)?;
    scene.gets(&service, &[])?;
    scene.silent(scene.v4(1))
}

pub(super) fn becomes_a_node_port(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 1)?;
    let service = scene.service("a");
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    let mut service = cluster_ip(scene);
    service["spec"]["type"] = json!("NodePort");
    scene.apply(&service)?;
    scene.gets(&service, &[])?;
    // The only address is free again.
    let next = scene.service("b");
    scene.apply(&next)?;
    scene.gets(&next, &[scene.v4(1)])?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn is_deleted(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 1)?;
    let (a, b) = (scene.service("a"), scene.service("b"));
    scene.apply(&a)?;
    scene.gets(&a, &[scene.v4(1)])?;
    scene.apply(&b)?;
    scene.reason(&b, "out_of_ips")?;
    scene.delete(&a)?;
    scene.gets(&b, &[scene.v4(1)])?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn is_made_anew(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = scene.service("a");
    for _ in 0..3 {
        scene.apply(&service)?;
        scene.gets(&service, &[scene.v4(1)])?;
        scene.answers(scene.v4(1))?;
        scene.delete(&service)?;
    }
    scene.silent(scene.v4(1))
}

pub(super) fn goes_with_its_namespace(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let namespace = scene.namespace("gone")?;
    let mut service = scene.service("a");
    service["metadata"]["namespace"] = namespace["metadata"]["name"].clone();
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.holder(scene.v4(1))?;
    scene.delete(&namespace)?;
    scene.silent(scene.v4(1))
}

pub(super) fn its_ports_change(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    scene.answers(scene.v4(1))?;
    service["spec"]["ports"][0]["port"] = json!(8080);
    scene.apply(&service)?;
    scene.answers_at(scene.v4(1), 8080)?;
    scene.fails(scene.v4(1), 80)?;
    scene.keeps(&service, &[scene.v4(1)])
}
