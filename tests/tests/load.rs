//! Very many services, and one more than there is room for.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::node::Node;
use landfall_tests::lab::settings::Common;
use landfall_tests::lab::{Lab, wait};
use landfall_tests::scenario::{Stage, reach};
use serde_json::json;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
const FILES: u32 = 20;

/// How long something may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Addresses for all of them, and a policy that announces them.
const POOL_AND_POLICY: &str = "\
apiVersion: landfall.dev/v1alpha1
kind: LoadBalancerIPPool
metadata:
  name: wide-pool
spec:
  blocks:
  - cidr: 10.20.0.0/16
---
apiVersion: landfall.dev/v1alpha1
kind: L2AnnouncementPolicy
metadata:
  name: all
spec:
  interfaces: [^ens3$]
  loadBalancerIPs: true
";

/// A Service without a selector and its EndpointSlice, with addresses that no other Service has.
fn crowd(number: u32) -> Result<String> {
    let name = format!("s{number}");
    let none = labels(&[]);
    let mut object = service(&name, &none, &none, &[("web", "TCP", 80)]);
    object["spec"]["selector"].take();
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|endpoint| {
            let offset = number * ENDPOINTS + endpoint;
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 100, 0, 0)) + offset);
            json!({
                "addresses": [address.to_string()], "nodeName": "node1",
                "conditions": {"ready": true, "serving": true, "terminating": false},
            })
        })
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "web", "protocol": "TCP", "port": 80}],
    });
    // JSON is YAML, and quicker to write.
    let mut text = String::new();
    write!(text, "---\n{object}\n---\n{slice}\n")?;
    Ok(text)
}

/// How many entries the frontends' map holds.
fn programmed(node: &Node) -> Result<u64> {
    let maps = node.status()?.datapath.maps;
    let frontends = maps.iter().find(|map| map.name == "frontends");
    Ok(frontends.map_or(0, |map| map.entries))
}

#[test]
fn ten_thousand_services_of_ten_endpoints_each_load_in_ten_seconds() -> Result<()> {
    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let lab = Lab::builder().nodes(1).build()?;
        lab.manifests().write("pool.yaml", POOL_AND_POLICY)?;
        for file in 0..FILES {
            let numbers = (0..SERVICES).filter(|number| number % FILES == file);
            let text: Result<String> = numbers.map(crowd).collect();
            lab.manifests()
                .write(&format!("crowd-{file}.yaml"), &text?)?;
        }
        let node = lab.node(0);
        let begun = Instant::now();
        node.start_agent()?;
        // An entry for the port and one for the address.
        wait::until(PATIENCE, "all services to be in the kernel", || {
            std::thread::sleep(Duration::from_millis(100));
            Ok(programmed(node)? == u64::from(2 * SERVICES))
        })?;
        times.push(begun.elapsed());
        let status = node.status()?;
        for map in &status.datapath.maps {
            println!("{}: {} of {}", map.name, map.entries, map.capacity);
        }
        // What was needed for a moment counts as well.
        sizes.push(node.agent_peak()?);
        println!(
            "loaded in {:?}, {:.0} MiB at most",
            begun.elapsed(),
            node.agent_peak()?
        );
        let announced = node.announcements()?.len();
        println!(
            "{announced} addresses announced {:?} after the start",
            begun.elapsed()
        );
        let maps = node.agent_maps()?;
        let sum: f64 = maps.iter().map(|map| map.mebibytes).sum();
        println!(
            "kernel maps: {sum:.1} MiB, of them {:?}",
            &maps[..maps.len().min(6)]
        );
        figures::record("load.10k.maps", "MiB", &[sum])?;
        ensure!(status.complaints.is_empty(), "{:?}", status.complaints);
    }
    figures::record_times("load.10k.time", &times)?;
    figures::record("load.10k.rss", "MiB", &sizes)?;
    assert!(
        times.iter().all(|time| *time < Duration::from_secs(10)),
        "{times:?}"
    );
    assert!(sizes.iter().all(|size| *size < 300.0), "{sizes:?} MiB");
    Ok(())
}

#[test]
fn one_service_more_than_there_is_room_for_is_refused_by_name() -> Result<()> {
    // The stage's three services have three ports each, and an address.
    let settings = Common {
        max_frontends: Some(12),
        ..Common::default()
    };
    let stage = Stage::builder().settings(settings).start()?;
    for node in stage.lab.nodes() {
        wait::until(PATIENCE, "the map to be full", || {
            Ok(programmed(node)? == 12)
        })?;
        let complaints = node.status()?.complaints;
        ensure!(
            complaints.is_empty(),
            "there is room for these: {complaints:?}"
        );
    }
    let manifests = stage.lab.manifests();
    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let object = service("straw", &blue, &app, &[("web", "TCP", 80)]);
    manifests.write_object("straw.yaml", &object)?;
    for node in stage.lab.nodes() {
        let complaint = wait::until_ok(PATIENCE, "the refusal to be told", || {
            let complaints = node.status()?.complaints;
            let found = complaints
                .iter()
                .find(|c| c.to_string().contains("default/straw"));
            found
                .cloned()
                .ok_or_else(|| anyhow::anyhow!("{complaints:?}"))
        })?;
        println!("{complaint}");
        let text = complaint.to_string();
        assert!(
            text.contains("datapath.max_frontends") && text.contains("12"),
            "{text}"
        );
        assert!(node.metric("landfall_complaints{severity=\"error\"}")? >= 1.0);
    }
    reach::every_vip_answers(&stage, 60)?;
    assert!(reach::unevenness(&stage, 1_500)? <= 0.2);
    manifests.remove("straw.yaml")?;
    for node in stage.lab.nodes() {
        wait::until(PATIENCE, "the refusal to end", || {
            Ok(node
                .complaint(|c| c.to_string().contains("default/straw"))?
                .is_none())
        })?;
    }
    reach::every_vip_answers(&stage, 60)
}
