//! Clients, nodes and pods reach every service on every address, and see what they should.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Stage;
use crate::probe::neighbour::{NeighbourProber, NeighbourRecord};
use crate::probe::spread::Spread;

/// Asks every virtual address `times` times over HTTP; every answer must be 200, and the pod must
/// see the client's own address.
///
/// # Errors
/// With the first request that was not as it should be.
pub fn every_vip_answers(stage: &Stage, times: usize) -> Result<()> {
    for vip in stage.vips() {
        let spread = Spread::measure(stage.lab.client(), (vip, 80).into(), times, 1);
        ensure!(
            spread.failures.is_empty(),
            "{vip}: {} of {times} failed, the first: {}",
            spread.failures.len(),
            spread.failures[0]
        );
        ensure!(
            spread.foreign_clients == 0,
            "{vip}: pods saw other client addresses"
        );
    }
    Ok(())
}

/// As [`every_vip_answers`] with source translation: pods on the node that announces an address see the client's own
/// address, the others that of the announcing node.
///
/// # Errors
/// With the first request that was not as it should be, or when only one of the two kinds of pods was reached.
pub fn every_vip_answers_by_translation(stage: &Stage, times: usize) -> Result<()> {
    for vip in stage.vips() {
        let announcing = stage.holder(vip)?;
        let near = stage.pods_on(announcing);
        let (mut kept, mut translated) = (0, 0);
        for _ in 0..times {
            let answer = stage.lab.client().http_get((vip, 80))?;
            ensure!(answer.status == 200, "{vip}: status {}", answer.status);
            let (expected, count) = if near.contains(&answer.pod) {
                (answer.local.ip(), &mut kept)
            } else {
                let [v4, v6] = announcing.addresses();
                (if vip.is_ipv4() { v4 } else { v6 }, &mut translated)
            };
            *count += 1;
            ensure!(
                answer.client.ip() == expected,
                "{vip}, announced by {}: {} saw {} and not {expected}",
                announcing.name(),
                answer.pod,
                answer.client.ip()
            );
        }
        ensure!(
            kept > 0 && translated > 0,
            "{vip}: {kept} requests to pods near by, {translated} to others"
        );
    }
    Ok(())
}

/// Makes `connections` new connections to the first service and tells how far from even the pods
/// are used: 0.1 is 10 %.
///
/// # Errors
/// When one of them fails, or a pod sees another client address than the client's own.
pub fn unevenness(stage: &Stage, connections: usize) -> Result<f64> {
    let spread = Spread::measure(stage.lab.client(), stage.web(), connections, 8);
    println!("{connections} connections: {:?}", spread.pods);
    ensure!(
        spread.failures.is_empty(),
        "{} of {connections} failed, the first: {}",
        spread.failures.len(),
        spread.failures[0]
    );
    ensure!(
        spread.foreign_clients == 0,
        "pods saw other client addresses"
    );
    Ok(spread.unevenness(stage.lab.pods().len()))
}

/// Exchanges full-sized pings and `bytes` bytes in both directions with every virtual address.
///
/// # Errors
/// With the first transfer that was not intact.
pub fn transfers_are_intact(stage: &Stage, bytes: u64) -> Result<()> {
    let client = stage.lab.client();
    for vip in stage.vips() {
        // The echo payload that fills an MTU of 1500: less 20 or 40 bytes of IP, 8 of ICMP.
        let full = if vip.is_ipv4() { 1472 } else { 1452 };
        client.ping(vip, full, Duration::from_secs(1))?;
        let web = SocketAddr::new(vip, 80);
        client
            .download(web, bytes)
            .with_context(|| format!("download from {vip}"))?;
        client
            .upload(web, bytes)
            .with_context(|| format!("upload to {vip}"))?;
    }
    Ok(())
}

/// Asks for every virtual address by ARP or neighbour solicitation: one MAC answers each, every
/// question is answered, and no node answers for more than its share.
///
/// # Errors
/// With the first address that was not as it should be.
pub fn one_node_answers_for_each_vip(stage: &Stage) -> Result<()> {
    let vips = stage.vips();
    let record = while_nothing_moves(stage, &vips)?;
    let mut shares: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for vip in &vips {
        let macs = record.macs(*vip);
        ensure!(macs.len() == 1, "{vip} is answered by {macs:?}");
        let answers = record.answers(*vip).count();
        ensure!(
            answers + 1 >= record.rounds,
            "{vip}: {answers} of {}",
            record.rounds
        );
        let mac = *macs.first().expect("there is one");
        let node = stage
            .lab
            .node_of(mac)
            .with_context(|| format!("{vip} is at stranger {mac}"))?;
        shares.entry(node.name()).or_default().push(*vip);
    }
    let cap = vips.len().div_ceil(stage.lab.nodes().len());
    ensure!(
        shares.values().all(|share| share.len() <= cap),
        "more than {cap} each: {shares:?}"
    );
    Ok(())
}

/// Asks for 2 s in which no address moves in order, as they do when shares are evened out.
fn while_nothing_moves(stage: &Stage, vips: &[IpAddr]) -> Result<NeighbourRecord> {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let ask = Duration::from_millis(20);
        let prober = NeighbourProber::start(stage.lab.watcher(), vips, ask)?;
        std::thread::sleep(Duration::from_secs(2));
        let record = prober.stop();
        let duplicates = record.duplicates(Duration::MAX);
        ensure!(duplicates.is_empty(), "{duplicates:?}");
        if vips.iter().all(|vip| record.macs(*vip).len() <= 1) {
            return Ok(record);
        }
    }
    bail!("addresses moved each of {ATTEMPTS} times they were watched for 2 s")
}

/// A process on every node and in every pod reaches every service, the ones it serves included.
///
/// # Errors
/// With the first that does not.
pub fn nodes_and_pods_reach_every_vip(stage: &Stage, times: usize) -> Result<()> {
    let pods = stage.lab.pods();
    let nodes = stage.lab.nodes().iter().map(|node| node.host());
    for host in nodes.chain(pods.iter().map(|pod| pod.host())) {
        for vip in stage.vips() {
            for _ in 0..times {
                host.http_get_by_process((vip, 80).into())
                    .with_context(|| format!("{vip} from {}", host.name()))?;
            }
        }
    }
    Ok(())
}
