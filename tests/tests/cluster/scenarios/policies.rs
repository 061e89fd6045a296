//! Who announces: policies and nodes that change under live traffic.

use anyhow::{Result, ensure};
use landfall_tests::cluster::Resource;
use landfall_tests::lab::node::Node;
use landfall_tests::probe::udp::{SourcePort, UdpProber};
use serde_json::{Value, json};
use std::time::Duration;

use super::scene::Scene;

/// A Service that only the scene's own policies announce, with an address.
fn unannounced(scene: &Scene<'_>) -> Result<Value> {
    scene.pool_v4(1, 9)?;
    let mut service = scene.service("a");
    service["metadata"]["labels"]["color"] = json!(scene.name("green"));
    let ping = json!({"name": "ping", "protocol": "UDP", "port": 5000, "targetPort": 5000});
    let ports = service["spec"]["ports"].as_array_mut();
    ports.expect("ports").push(ping);
    scene.apply(&service)?;
    scene.gets(&service, &[scene.v4(1)])?;
    Ok(service)
}

fn green(scene: &Scene<'_>) -> Value {
    scene.policy("green", ("color", &scene.name("green")))
}

pub(super) fn without_a_policy(scene: &Scene<'_>) -> Result<()> {
    let service = unannounced(scene)?;
    scene.silent(scene.v4(1))?;
    scene.apply(&green(scene))?;
    scene.answers(scene.v4(1))?;
    scene.keeps(&service, &[scene.v4(1)])
}

pub(super) fn deleted(scene: &Scene<'_>) -> Result<()> {
    let service = unannounced(scene)?;
    let policy = green(scene);
    scene.apply(&policy)?;
    scene.answers(scene.v4(1))?;
    scene.delete(&policy)?;
    scene.silent(scene.v4(1))?;
    scene.keeps(&service, &[scene.v4(1)])
}

pub(super) fn its_selector_changes(scene: &Scene<'_>) -> Result<()> {
    unannounced(scene)?;
    let mut policy = green(scene);
    scene.apply(&policy)?;
    scene.answers(scene.v4(1))?;
    for _ in 0..2 {
        policy["spec"]["serviceSelector"]["matchLabels"]["color"] = json!("none");
        scene.apply(&policy)?;
        scene.silent(scene.v4(1))?;
        policy = green(scene);
        scene.apply(&policy)?;
        scene.answers(scene.v4(1))?;
    }
    Ok(())
}

/// Two policies select a Service in turn, with traffic: nobody notices.
pub(super) fn another_takes_its_place(scene: &Scene<'_>) -> Result<()> {
    unannounced(scene)?;
    let (one, two) = (
        green(scene),
        scene.policy("other", ("color", &scene.name("green"))),
    );
    scene.apply(&one)?;
    scene.answers(scene.v4(1))?;
    scene.holder(scene.v4(1))?;
    let interval = Duration::from_millis(5);
    let target = (scene.v4(1), 5000).into();
    let prober = UdpProber::start(scene.lab.client(), target, interval, SourcePort::Fresh)?;
    scene.apply(&two)?;
    std::thread::sleep(Duration::from_millis(500));
    scene.delete(&one)?;
    std::thread::sleep(Duration::from_millis(700));
    let gap = prober.stop().longest_gap().length;
    ensure!(gap < Duration::from_millis(50), "silent for {gap:?}");
    Ok(())
}

fn only_on(policy: &mut Value, node: &Node) {
    policy["spec"]["nodeSelector"] =
        json!({"matchLabels": {"kubernetes.io/hostname": node.name()}});
}

pub(super) fn it_selects_one_node(scene: &Scene<'_>) -> Result<()> {
    unannounced(scene)?;
    let mut policy = green(scene);
    for node in [scene.lab.node(2), scene.lab.node(0)] {
        only_on(&mut policy, node);
        scene.apply(&policy)?;
        scene.held_by(scene.v4(1), node)?;
        scene.answers(scene.v4(1))?;
    }
    Ok(())
}

pub(super) fn it_selects_no_node(scene: &Scene<'_>) -> Result<()> {
    unannounced(scene)?;
    let mut policy = green(scene);
    scene.apply(&policy)?;
    scene.answers(scene.v4(1))?;
    policy["spec"]["nodeSelector"] = json!({"matchLabels": {"scene": "none"}});
    scene.apply(&policy)?;
    scene.silent(scene.v4(1))
}

pub(super) fn it_names_no_interface_that_is_there(scene: &Scene<'_>) -> Result<()> {
    unannounced(scene)?;
    let mut policy = green(scene);
    scene.apply(&policy)?;
    scene.answers(scene.v4(1))?;
    policy["spec"]["interfaces"] = json!(["^eth7$"]);
    scene.apply(&policy)?;
    scene.silent(scene.v4(1))
}

pub(super) fn it_does_not_announce_load_balancer_ips(scene: &Scene<'_>) -> Result<()> {
    let mut service = unannounced(scene)?;
    service["spec"]["externalIPs"] = json!([scene.v4(99)]);
    scene.apply(&service)?;
    let mut policy = green(scene);
    policy["spec"]["externalIPs"] = json!(true);
    policy["spec"]["loadBalancerIPs"] = json!(false);
    scene.apply(&policy)?;
    scene.answers(scene.v4(99))?;
    scene.silent(scene.v4(1))?;
    policy["spec"]["loadBalancerIPs"] = json!(true);
    scene.apply(&policy)?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn cilium_s_kind(scene: &Scene<'_>) -> Result<()> {
    unannounced(scene)?;
    let mut policy = green(scene);
    policy["apiVersion"] = json!("cilium.io/v2alpha1");
    policy["kind"] = json!("CiliumL2AnnouncementPolicy");
    scene.apply(&policy)?;
    scene.answers(scene.v4(1)).map(drop)
}

pub(super) fn a_node_is_excluded(scene: &Scene<'_>) -> Result<()> {
    const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
    unannounced(scene)?;
    scene.apply(&green(scene))?;
    let before = scene.holder(scene.v4(1))?;
    let label = |value: Value| {
        let place = Resource::new("v1", "Node", "", before.name());
        let patch = json!({"metadata": {"labels": {LABEL: value}}});
        scene.client().merge(&place, &patch)
    };
    label(json!(""))?;
    let moved = scene.eventually("another node to answer", || {
        let now = scene.holder(scene.v4(1))?.name();
        ensure!(now != before.name(), "{now} answers");
        Ok(())
    });
    label(Value::Null)?;
    moved?;
    scene.answers(scene.v4(1)).map(drop)
}
