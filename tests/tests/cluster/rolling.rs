//! Landfall as its users deploy it: by the manifest, in pods of the image; and an upgrade of it
//! under load.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::programs::Programs;
use landfall_tests::cluster::{Cluster, NAMESPACE, Resource};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::pod::PodSpec;
use landfall_tests::lab::wait;
use landfall_tests::probe::herd::Herd;
use landfall_tests::probe::neighbour::NeighbourProber;
use landfall_tests::probe::udp::{SourcePort, UdpProber};
use landfall_tests::scenario::bounds::ORDERLY;
use landfall_tests::scenario::upgrade;
use serde_json::json;

use crate::{SECOND, items};

/// Connections that are open all the while.
const CONNECTIONS: usize = 200;

#[test]
fn a_rolling_update_of_the_daemon_set_under_load_loses_nothing() -> Result<()> {
    let cluster = Cluster::builder()
        .daemon_set()
        .start(&Programs::find_or_build()?)?;
    let (lab, kubectl, client) = (cluster.lab(), cluster.kubectl(), cluster.client());
    println!("{}", kubectl.run("get pods --all-namespaces -o wide")?);
    for index in 0..lab.nodes().len() {
        lab.add_pod(index, PodSpec::app(&format!("webpod{index}"), "webpod"))?;
    }
    client.apply(&json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
        "metadata": {"name": "lan"}, "spec": {"blocks": [{"cidr": "10.10.200.128/28"}]},
    }))?;
    client.apply(&json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "L2AnnouncementPolicy",
        "metadata": {"name": "lan"}, "spec": {"interfaces": ["^ens3$"], "loadBalancerIPs": true},
    }))?;
    let ports = [
        ("web", "TCP", 80),
        ("echo", "TCP", 7000),
        ("ping", "UDP", 5000),
    ];
    let app = labels(&[("app", "webpod")]);
    let mut vips: Vec<IpAddr> = Vec::new();
    for name in ["one", "two", "three"] {
        client.apply(&service(name, &app, &app, &ports))?;
        let ip = wait::until_ok(20 * SECOND, "an address", || {
            let service = client.get(&Resource::service(name))?;
            let ip = &service["status"]["loadBalancer"]["ingress"][0]["ip"];
            Ok(ip.as_str().context("none yet")?.parse()?)
        })?;
        wait::until_ok(20 * SECOND, "a service to answer", || {
            lab.client().http_get((ip, 80))
        })?;
        vips.push(ip);
    }
    // What follows a start (announcements once more, probes of the way) is over by then.
    std::thread::sleep(10 * SECOND);

    let interval = Duration::from_millis(5);
    let probers: Vec<UdpProber> = vips
        .iter()
        .map(|vip| {
            UdpProber::start(
                lab.client(),
                (*vip, 5000).into(),
                interval,
                SourcePort::Fresh,
            )
        })
        .collect::<Result<_>>()?;
    let asker = NeighbourProber::start(lab.watcher(), &vips, interval)?;
    let herd = Herd::open(
        lab.client(),
        (vips[0], 7000).into(),
        CONNECTIONS,
        interval * 10,
    )?;
    std::thread::sleep(SECOND);
    let begun = Instant::now();
    kubectl.run(&format!(
        "rollout restart daemonset landfall --namespace {NAMESPACE}"
    ))?;
    let words = format!("rollout status daemonset landfall --namespace {NAMESPACE}");
    kubectl.run(&format!("{words} --timeout=180s"))?;
    println!("rolled in {:?}", begun.elapsed());
    let last = Instant::now();
    std::thread::sleep(3 * SECOND);
    let members = herd.close();
    let lost = members
        .iter()
        .filter(|member| member.died.is_some() || member.last_echo < last)
        .count();
    let asked = asker.stop();
    let mut gaps = Vec::new();
    for (vip, prober) in vips.iter().zip(probers) {
        let record = prober.stop();
        println!(
            "{vip}: {} of {} requests lost, worst delay {:?}, by ARP silent for {:?}",
            record.lost(),
            record.requests.len(),
            record.worst_delay,
            asked.longest_gap(*vip).length,
        );
        gaps.push(record.longest_gap().length);
    }
    figures::record_times("cluster.rolling_update.gap", &gaps)?;
    let unit = "connections";
    figures::record(
        "cluster.rolling_update.connections_lost",
        unit,
        &[lost as f64],
    )?;
    let pods = kubectl.json(&format!("get pods --namespace {NAMESPACE}"))?;
    ensure!(items(&pods).len() == lab.nodes().len(), "{pods}");
    ensure!(lost == 0, "{lost} connections were lost");
    // A VIP comes back to a node that is done, and may.
    let duplicates = asked.duplicates(upgrade::RETURN);
    ensure!(duplicates.is_empty(), "two answered: {duplicates:?}");
    ensure!(gaps.iter().all(|gap| *gap <= ORDERLY), "{gaps:?}");
    Ok(())
}
