//! How soon a new service has an address in its status and answers on the LAN.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::programs::Programs;
use landfall_tests::cluster::{Cluster, Resource};
use landfall_tests::figures;
use landfall_tests::lab::pod::PodSpec;
use landfall_tests::lab::settings::Common;
use landfall_tests::lab::wait;
use landfall_tests::probe::udp::{SourcePort, UdpProber};
use landfall_tests::scenario::{Stage, first_answer};
use serde_json::{Value, json};

use crate::{SECOND, access, stage};

/// The bound on 19 of 20 first answers.
const FIRST_ANSWER: Duration = Duration::from_millis(200);

#[test]
fn a_new_service_answers_within_a_fifth_of_a_second() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let times = first_answer::of_new_services(&stage, 50)?;
    let figure = figures::record_times("cluster.first_answer", &times)?;
    assert!(
        figure.p95 <= FIRST_ANSWER.as_secs_f64() * 1000.0,
        "{figure:?}"
    );
    Ok(())
}

/// The first address in a Service's status.
fn external_ip(service: &Value) -> Option<&str> {
    service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str()
}

#[test]
fn the_examples_get_addresses_within_a_second_and_answer() -> Result<()> {
    let cluster = Cluster::builder()
        .agents(Common::default())
        .start(&Programs::find_or_build()?)?;
    let (lab, client, kubectl) = (cluster.lab(), cluster.client(), cluster.kubectl());
    lab.start_agents()?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for file in ["l2-announcement.yaml", "webpods.yaml"] {
        let given = Path::new("/work/shared/examples").join(file);
        // Where the originals are, these are the same.
        if given.exists() {
            ensure!(fs::read(examples.join(file))? == fs::read(given)?, "{file}");
        }
    }
    let apply = |file: &str| kubectl.run(&format!("apply -f {}", examples.join(file).display()));
    apply("webpods.yaml")?;
    kubectl.run("wait --for=condition=Ready pod --all --timeout=60s")?;
    apply("l2-announcement.yaml")?;
    let applied = Instant::now();
    let mut times = Vec::new();
    for name in ["svc1", "svc2", "svc3"] {
        let service = wait::until_ok(10 * SECOND, "an EXTERNAL-IP", || {
            let service = client.get(&Resource::service(name))?;
            external_ip(&service).context(name)?;
            Ok(service)
        })?;
        times.push(applied.elapsed());
        let ingress = &service["status"]["loadBalancer"]["ingress"];
        assert_eq!(ingress[0]["ipMode"], "VIP", "{ingress}");
        let ip = external_ip(&service).context("waited for")?;
        let answer = lab.client().output(&format!(
            "curl --silent --fail --max-time 5 http://{ip}/hostname"
        ))?;
        ensure!(answer.starts_with("webpod"), "{answer}");
    }
    figures::record_times("cluster.external_ip", &times)?;
    assert!(times.iter().all(|time| *time <= SECOND), "{times:?}");
    println!("{}", kubectl.run("get services")?);
    Ok(())
}

/// How often an EndpointSlice is changed.
const CHANGES: usize = 20;

#[test]
fn the_data_path_follows_a_changed_endpoint_slice() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let (lab, client) = (&stage.lab, access(&stage).client());
    let pods = [
        lab.add_unlisted_pod(0, PodSpec::app("here", "by-hand"))?,
        lab.add_unlisted_pod(2, PodSpec::app("there", "by-hand"))?,
    ];
    let ip = stage.vip();
    let mut service = client.get(&Resource::service("svc1"))?;
    let port = json!([{"name": "ping", "protocol": "UDP", "port": 5001, "targetPort": 5000}]);
    service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "by-hand", "namespace": "default", "labels": service["metadata"]["labels"],
        },
        "spec": {"type": "LoadBalancer", "ports": port},
    });
    client.create(&service)?;
    let slice = |turn: usize| {
        let pod = &pods[turn % 2];
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "by-hand", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "by-hand"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "ping", "protocol": "UDP", "port": 5000}],
            "endpoints": [{
                "addresses": [pod.host().ipv4()], "nodeName": pod.node(),
                "conditions": {"ready": true},
            }],
        })
    };
    client.apply(&slice(0))?;
    let own: std::net::IpAddr = wait::until_ok(10 * SECOND, "an address", || {
        let service = client.get(&Resource::service("by-hand"))?;
        Ok(external_ip(&service).context("no address yet")?.parse()?)
    })?;
    assert_ne!(own, ip, "nobody shares");
    let target = (own, 5001).into();
    let mut times = Vec::new();
    for turn in 0..=CHANGES {
        let wanted = pods[turn % 2].name();
        let interval = Duration::from_millis(1);
        let prober = UdpProber::start(lab.client(), target, interval, SourcePort::Fresh)?;
        std::thread::sleep(Duration::from_millis(100));
        let changed = Instant::now();
        client.apply(&slice(turn))?;
        std::thread::sleep(Duration::from_millis(400));
        let record = prober.stop();
        let answered = |request: &&landfall_tests::probe::udp::Request| {
            request.answer.as_ref().is_some_and(|a| a.pod == wanted)
        };
        let first = record.requests.iter().filter(answered);
        let first = first.map(|request| request.sent).find(|at| *at >= changed);
        let first = first.with_context(|| format!("no flow reached {wanted}"))?;
        // The first turn only waits until everything is there.
        if turn > 0 {
            times.push(first - changed);
        }
    }
    figures::record_times("cluster.endpoint.change", &times)?;
    Ok(())
}
