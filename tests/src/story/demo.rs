//! The story of Landfall: services get their IPs, nodes share out the announcing, a client
//! reaches them, and connections outlive the death of the node that announced their IP.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::tell::Narrator;
use crate::lab::host::Mac;
use crate::lab::node::Node;
use crate::lab::pod::PodSpec;
use crate::lab::{Lab, wait};
use crate::probe::herd::Herd;
use crate::probe::neighbour::NeighbourProber;
use crate::probe::udp::{SourcePort, UdpProber};
use crate::scenario::{SERVICES, example_with_echoes};

/// The connections that are to outlive a node.
const CONNECTIONS: usize = 200;

/// Tells the whole story and cleans up.
///
/// # Errors
/// When the story does not go as it should, saying where.
pub fn tell() -> Result<()> {
    let mut narrator = Narrator::new();
    narrator.chapter("Three machines, a client and a switch");
    let begun = Instant::now();
    let lab = Lab::builder().nodes(3).build()?;
    for i in 0..3 {
        let pod = lab.add_pod(i, PodSpec::app(&format!("webpod{}", i + 1), "webpod"))?;
        let (node, ip) = (pod.node(), pod.host().ipv4());
        narrator.good(&format!(
            "{node} {} runs {} {ip}",
            lab.node(i).host().ipv4(),
            pod.name()
        ));
    }
    narrator.good(&format!("client {}", lab.client().ipv4()));
    narrator.say(&format!(
        "(network namespaces, up in {:.1} s)",
        begun.elapsed().as_secs_f64()
    ));

    narrator.chapter("landfall agent on every node, and the example applied");
    lab.start_agents()?;
    // The example's services with the echo ports of the lab's pods beside the web port.
    lab.manifests()
        .write("l2-announcement.yaml", &example_with_echoes(false)?)?;
    narrator.say("$ cp tests/examples/l2-announcement.yaml /etc/landfall/manifests/");
    let vips = addresses(&lab)?;
    narrator.ran(
        "landfall service list",
        &lab.node(0).landfall("service list")?,
    );

    narrator.chapter("The client reaches each of them on port 80");
    for (service, vip) in &vips {
        let answer = wait::until_ok(Duration::from_secs(5), "the first answer", || {
            lab.client().http_get((*vip, 80))
        })?;
        narrator.ran(&format!("curl {vip}    # {service}"), &answer.body);
    }
    narrator.good("the pods see the client's own address");

    narrator.chapter("The nodes share out the announcing");
    narrator.ran("landfall l2 list", &lab.node(0).landfall("l2 list")?);
    let targets: Vec<IpAddr> = vips.values().copied().collect();
    let holders = holders(&lab, &targets)?;
    for (vip, mac) in &holders {
        let node = lab.node_of(*mac).map_or("nobody known", Node::name);
        narrator.good(&format!("{vip} is at {mac}: {node}"));
    }

    narrator.chapter("A node dies");
    let vip = vips[SERVICES[0]];
    let victim = lab
        .node_of(holders[&vip])
        .context("the holder is no node")?;
    kill(narrator, &lab, vip, victim)?;

    narrator.chapter("Clean up");
    drop(lab);
    narrator.good("no process, namespace, control group or file is left");
    Ok(())
}

fn kill(narrator: Narrator, lab: &Lab, vip: IpAddr, victim: &Node) -> Result<()> {
    let name = victim.name();
    let pods = lab.pods();
    let lost_pods: Vec<&str> = pods
        .iter()
        .filter(|pod| pod.node() == name)
        .map(|pod| pod.name())
        .collect();
    let herd = Herd::open(
        lab.client(),
        SocketAddr::new(vip, 7000),
        CONNECTIONS,
        Duration::from_millis(100),
    )?;
    let elsewhere = herd
        .members()
        .iter()
        .filter(|m| !lost_pods.contains(&&*m.pod))
        .count();
    narrator.say(&format!(
        "{CONNECTIONS} connections through {vip}, {elsewhere} of them to pods on other nodes"
    ));
    let prober = UdpProber::start(
        lab.watcher(),
        SocketAddr::new(vip, 5000),
        Duration::from_millis(5),
        SourcePort::Fresh,
    )?;
    let asker = NeighbourProber::start(lab.watcher(), &[vip], Duration::from_millis(100))?;
    victim.die()?;
    let died = Instant::now();
    narrator.bad(&format!(
        "{name} is dead: its link is down and its processes are killed"
    ));
    let survivors = wait::until(Duration::from_secs(20), "the connections to go on", || {
        let alive = herd.alive_since(died + Duration::from_millis(50), |m| {
            !lost_pods.contains(&&*m.pod)
        });
        Ok(alive == elsewhere)
    });
    let (udp, arp) = (prober.stop(), asker.stop());
    let gap = udp.longest_gap().length;
    let successor = arp
        .answers(vip)
        .last()
        .map(|s| s.mac)
        .filter(|mac| *mac != victim.host().mac());
    let heirs = successor.and_then(|mac| lab.node_of(mac)).map(Node::name);
    let Some(heir) = heirs else {
        bail!("no other node took {vip} over")
    };
    narrator.good(&format!("{heir} announces {vip} now"));
    narrator.good(&format!(
        "the longest silence was {:.2} s",
        gap.as_secs_f64()
    ));
    let gone = herd.close().iter().filter(|m| m.died.is_some()).count();
    survivors?;
    narrator.good(&format!(
        "all {elsewhere} connections live on ({gone} others ended)"
    ));
    let living = lab
        .nodes()
        .iter()
        .find(|node| node.name() != name)
        .context("no node lives")?;
    narrator.ran("landfall l2 list", &living.landfall("l2 list")?);
    Ok(())
}

/// The services' addresses, as soon as they have one.
fn addresses(lab: &Lab) -> Result<BTreeMap<&'static str, IpAddr>> {
    wait::until_ok(Duration::from_secs(10), "the services' addresses", || {
        let vips = lab.node(0).vips(&SERVICES)?;
        Ok(vips
            .into_iter()
            .filter_map(|(name, ips)| Some((name, *ips.first()?)))
            .collect())
    })
}

/// Who answers for each address: one MAC each.
fn holders(lab: &Lab, vips: &[IpAddr]) -> Result<BTreeMap<IpAddr, Mac>> {
    let prober = NeighbourProber::start(lab.watcher(), vips, Duration::from_millis(100))?;
    std::thread::sleep(Duration::from_millis(500));
    let record = prober.stop();
    vips.iter()
        .map(|vip| {
            let macs = record.macs(*vip);
            ensure!(macs.len() == 1, "{vip} is answered by {macs:?}");
            Ok((*vip, *macs.first().expect("there is one")))
        })
        .collect()
}
