//! What breaks and comes back: the control plane, the way to it, and a node.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use landfall_tests::cluster::programs::Programs;
use landfall_tests::cluster::{Cluster, Component};
use landfall_tests::lab::pod::PodSpec;
use landfall_tests::lab::switch::{Lan, Port};
use landfall_tests::lab::wait;
use serde_json::json;

use crate::{SECOND, items, web, whereabouts};

#[test]
fn the_api_goes_and_comes_and_a_node_reboots() -> Result<()> {
    let programs = Programs::find_or_build()?;
    let mut cluster = Cluster::builder().nodes(2).start(&programs)?;
    web(&cluster, 2)?;
    let kubectl = cluster.kubectl();
    let begun = Instant::now();
    let outage = cluster.control_plane();
    outage.kill(Component::ApiServer)?;
    kubectl
        .run("get nodes")
        .expect_err("there is no API server");
    outage.kill(Component::Etcd)?;
    outage.start(Component::Etcd)?;
    outage.start(Component::ApiServer)?;
    outage.wait_ready()?;
    println!("the API server was gone for {:?}", begun.elapsed());
    kubectl.run("rollout status deployment web --timeout=60s")?;

    // Cut off, it does not answer at all: nobody is told that a connection is over.
    let switch = cluster.lab().switch();
    let node = cluster.lab().node(0).host().clone();
    let (host, api) = (outage.host().name().to_owned(), outage.url());
    let ask = || {
        node.output(&format!(
            "curl --silent --insecure --max-time 2 {api}/readyz"
        ))
    };
    assert_eq!(ask()?, "ok");
    switch.set_port(&host, Lan::First, Port::Cut)?;
    let said = ask().expect_err("it is cut off").to_string();
    // curl(1): the time is up.
    assert!(said.contains("exit status: 28"), "{said}");
    switch.set_port(&host, Lan::First, Port::Open)?;
    assert_eq!(ask()?, "ok");

    let boot = |name: &str| -> Result<String> {
        let words = format!("get node {name} -o jsonpath={{.status.nodeInfo.bootID}}");
        kubectl.run(&words)
    };
    let pod = cluster.lab().add_pod(1, PodSpec::app("lab", "lab"))?;
    let before = (boot("node1")?, boot("node2")?);
    let begun = Instant::now();
    cluster.lab_mut().reboot(1)?;
    println!("node2 was ready {:?} after its death", begun.elapsed());
    assert_eq!(boot("node1")?, before.0);
    assert_ne!(boot("node2")?, before.1);
    let pods = cluster.lab().pods();
    assert_eq!((pods.len(), pods[0].name()), (1, "lab"));
    assert_ne!(
        pods[0].host().cgroup().path(),
        pod.host().cgroup().path(),
        "a new container"
    );
    let answer = cluster
        .lab()
        .node(0)
        .host()
        .http_get((pods[0].host().ipv4(), 80))?;
    assert!(answer.body.starts_with("lab saw "), "{}", answer.body);
    // The API says ready of what ran before until the kubelet has looked; the addresses are new.
    let asker = cluster.control_plane().host();
    wait::until_ok(60 * SECOND, "all pods to serve after the reboot", || {
        let pods = kubectl.json("get pods --selector app=web")?;
        ensure!(items(&pods).len() == 2, "two pods");
        items(&pods).iter().try_for_each(|pod| {
            let (ips, _) = whereabouts(pod)?;
            let target = format!("http://{}:8080/hostname", ips[0]);
            let said = asker.output(&format!("curl --silent --fail --max-time 2 {target}"))?;
            ensure!(pod["metadata"]["name"] == said, "{said} at {}", ips[0]);
            Ok(())
        })
    })?;
    Ok(())
}

#[test]
fn writes_can_be_slowed_and_connections_cut() -> Result<()> {
    let programs = Programs::find_or_build()?;
    let cluster = Cluster::builder().nodes(1).start(&programs)?;
    let (client, control_plane) = (cluster.client(), cluster.control_plane());
    let write = |name: &str| -> Result<Duration> {
        let begun = Instant::now();
        client.create(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        }))?;
        Ok(begun.elapsed())
    };
    write("warm")?;
    let quick = write("quick")?;
    let delay = Duration::from_millis(200);
    control_plane.slow_writes(delay);
    let slow = write("slow")?;
    control_plane.slow_writes(Duration::ZERO);
    // What was on the way before arrives before what comes after it.
    std::thread::sleep(delay * 2);
    let quick_again = write("quick-again")?;
    println!("{quick:?}, slowed {slow:?}, then {quick_again:?}");
    assert!(slow >= delay && slow < delay * 3, "{slow:?}");
    assert!(quick.max(quick_again) < delay);

    let node = cluster.lab().node(0);
    let cut = control_plane.reset_connections(node.host().ipv4())?;
    assert!(cut > 0, "a kubelet is connected");
    cluster
        .kubectl()
        .run("wait --for=condition=Ready node/node1 --timeout=20s")?;
    // Nobody but the agents' account is in the log.
    assert_eq!(control_plane.audit()?.asked.len(), 0);
    Ok(())
}
