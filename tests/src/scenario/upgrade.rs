//! Nodes get another build of the daemon, whose kernel maps have another layout, one after the other and under load.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::failover::DISTURBED;
use crate::lab::node::Node;
use crate::lab::pod::PodSpec;
use crate::lab::programs::Build;
use crate::lab::wait;
use crate::probe::gap::Window;
use crate::probe::herd::{Herd, Member};
use crate::probe::http::{HttpProber, Request};
use crate::probe::neighbour::NeighbourProber;
use crate::probe::udp::{SourcePort, UdpProber, UdpRecord};

/// Between two requests of each instrument.
const INTERVAL: Duration = Duration::from_millis(5);
/// How long an agent may take to have taken over.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nodes of both builds serve together before the next one is upgraded.
const TOGETHER: Duration = Duration::from_secs(1);
/// How long nodes take to settle a change of their tables, with some to spare.
const SETTLED: Duration = Duration::from_secs(3);
/// TCP sends a lost segment again after this time at the earliest.
const RETRANSMITTED: Duration = Duration::from_millis(200);
/// A node that answers within this time of its own last answer, though another has in between, is one too many.
pub const RETURN: Duration = Duration::from_millis(500);

/// What was lost over all upgrades.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Upgrades {
    /// How often an agent of another build took over.
    pub upgrades: usize,
    /// Requests and messages sent.
    pub requests: usize,
    /// UDP requests without an answer, each a new flow.
    pub datagrams: usize,
    /// UDP requests without an answer, all of one flow for each VIP.
    pub of_one_flow: usize,
    /// Web requests, each a new connection, that failed.
    pub web: usize,
    /// Such flows that another pod than their first one answered.
    pub moved: usize,
    /// Connections that died, or did not go on.
    pub connections: usize,
    /// Web requests and connections that took as long as if a packet had been sent again.
    pub delayed: usize,
    /// Answers by ARP that were one too many.
    pub duplicates: usize,
    /// How long it was silent, for each upgrade.
    pub silences: Vec<Silence>,
}

/// What was seen from the stop of one agent until its successor had served for a while.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The longest time without an answer to a UDP request through any VIP.
    pub udp: Duration,
    /// The longest time without an answer to an ARP request for any VIP.
    pub arp: Duration,
    /// What the machine itself added; see [`Takeover::noise`](super::failover::Takeover::noise).
    pub noise: Duration,
}

impl Upgrades {
    /// Everything that was lost. A delay says that a packet was, unless the machine itself stood still for half as long.
    #[must_use]
    pub fn lost(&self) -> usize {
        let noise = self.silences.iter().map(|silence| silence.noise).max();
        let told = noise.is_some_and(|noise| noise <= RETRANSMITTED / 2);
        let delayed = if told { self.delayed } else { 0 };
        self.datagrams + self.of_one_flow + self.moved + self.web + self.connections + delayed
    }

    /// The longest silences of those upgrades in which the machine itself did not stand still.
    #[must_use]
    pub fn gaps(&self) -> Vec<Duration> {
        let undisturbed = self
            .silences
            .iter()
            .filter(|silence| silence.noise <= DISTURBED);
        undisturbed
            .map(|silence| silence.udp.max(silence.arp))
            .collect()
    }
}

/// Has every node's agent stopped in order and one of another build started, for each of `builds` around all nodes, with
/// `connections` connections that talk all the time and requests through every VIP. They are open when each node gets one
/// more pod: where many of them go the tables do not say any more.
///
/// # Errors
/// When an agent does not start or does not take over.
pub fn under_load(stage: &Stage, builds: &[Build], connections: usize) -> Result<Upgrades> {
    let client = stage.lab.client();
    let vips = stage.vips();
    let herd = Herd::open(client, stage.echo(), connections, Duration::from_millis(20))?;
    spans_nodes(stage, &herd.members())?;
    let udp = |port| -> Result<Vec<UdpProber>> {
        let targets = vips.iter().map(|vip| (*vip, stage.ping().port()).into());
        targets
            .map(|target| UdpProber::start(client, target, INTERVAL, port))
            .collect()
    };
    let flow = udp(SourcePort::One)?;
    std::thread::sleep(TOGETHER);
    for node in stage.lab.nodes() {
        let name = format!("late{}", node.number());
        let index = usize::from(node.number()) - 1;
        stage.lab.add_pod(index, PodSpec::app(&name, "webpod"))?;
    }
    // Until every node has told which flows it keeps, those that begin may change their pod once.
    std::thread::sleep(SETTLED);
    let flows = udp(SourcePort::Fresh)?;
    let web = HttpProber::start(client, stage.web(), INTERVAL);
    let arp = NeighbourProber::start(stage.lab.watcher(), &vips, INTERVAL)?;
    // The client's own kernel answers for its own address whatever happens to the nodes.
    let control: IpAddr = client.ipv4().into();
    let quiet = NeighbourProber::start(stage.lab.watcher(), &[control], INTERVAL)?;
    std::thread::sleep(TOGETHER);

    let begun = Instant::now();
    let mut windows = Vec::new();
    for build in builds {
        for node in stage.lab.nodes() {
            let from = Instant::now();
            upgrade(node, *build)
                .with_context(|| format!("{} gets the {build:?} build", node.name()))?;
            std::thread::sleep(TOGETHER);
            let to = Instant::now();
            windows.push(Window { from, to });
        }
    }
    let last = Instant::now();
    wait::until(
        PATIENCE,
        "every connection to talk after all upgrades",
        || {
            let members = herd.members();
            Ok(members
                .iter()
                .all(|m| m.died.is_some() || m.last_echo > last))
        },
    )?;

    let stop = |probers: Vec<UdpProber>| -> Vec<UdpRecord> {
        probers.into_iter().map(UdpProber::stop).collect()
    };
    let (flow, flows, web, arp) = (stop(flow), stop(flows), web.stop(), arp.stop());
    let members = herd.close();
    let both = || flow.iter().chain(&flows);
    let is_failed = |request: &&Request| !request.result.as_ref().is_ok_and(|a| a.status == 200);
    let failed = web.requests.iter().filter(is_failed).count();
    let is_delayed = |m: &&Member| m.died.is_none() && m.longest_wait > RETRANSMITTED;
    let quiet = quiet.stop();
    let silences = windows.iter().map(|window| {
        let by_udp = both().map(|record| record.longest_gap_in(*window).length);
        let by_arp = vips
            .iter()
            .map(|vip| arp.longest_gap_in(*vip, *window).length);
        let late = both().map(|record| record.longest_rest_in(*window).length);
        let noise = quiet.longest_gap_in(control, *window).length;
        Silence {
            udp: by_udp.max().unwrap_or_default(),
            arp: by_arp.max().unwrap_or_default(),
            noise: late.chain([noise]).max().unwrap_or_default(),
        }
    });
    let seen = Upgrades {
        upgrades: windows.len(),
        requests: both().map(|record| record.requests.len()).sum::<usize>()
            + web.requests.len()
            + members.iter().map(|m| m.echoes as usize).sum::<usize>(),
        datagrams: flows.iter().map(UdpRecord::lost).sum(),
        // What the pods that came before cost is another scenario's.
        of_one_flow: flow.iter().map(|record| record.since(begun).lost).sum(),
        moved: flow.iter().filter(|record| has_moved(record)).count(),
        web: failed,
        connections: members.iter().filter(|m| m.died.is_some()).count(),
        delayed: web.lost().len() - failed + members.iter().filter(is_delayed).count(),
        duplicates: arp.duplicates(RETURN).len(),
        silences: silences.collect(),
    };
    println!("{seen:?}");
    tell_losses(&windows, &members, both());
    Ok(seen)
}

/// Whether more than one pod has answered.
fn has_moved(record: &UdpRecord) -> bool {
    let pods: BTreeSet<&str> = record.answers().map(|answer| &*answer.pod).collect();
    pods.len() > 1
}

/// Prints when upgrades were made, and when what was lost went out.
fn tell_losses<'a>(
    windows: &[Window],
    members: &[Member],
    records: impl Iterator<Item = &'a UdpRecord>,
) {
    if let Some(member) = members.iter().find(|member| member.died.is_some()) {
        println!("the first connection lost: {member:?}");
    }
    for record in records {
        let since = |at: Instant| at.saturating_duration_since(record.window.from).as_millis();
        let lost = record
            .requests
            .iter()
            .filter(|request| request.answer.is_none());
        let lost: Vec<u128> = lost.map(|request| since(request.sent)).collect();
        if !lost.is_empty() {
            let upgrades: Vec<u128> = windows.iter().map(|window| since(window.from)).collect();
            let pod = record.answers().next().map(|answer| &answer.pod);
            println!("upgrades at {upgrades:?} ms; lost, at first with {pod:?}: {lost:?} ms");
        }
    }
}

/// The agent of a node stops in order, one of another build starts, and has taken over when this returns.
///
/// # Errors
/// When it does not.
pub fn upgrade(node: &Node, build: Build) -> Result<()> {
    node.stop_agent()?;
    node.install(build);
    let before = layouts(&node.pinned()?);
    node.start_agent()?;
    // A directory may go while it is being looked at.
    wait::until_ok(PATIENCE, "the pins of one other layout alone", || {
        let now = layouts(&node.pinned()?);
        ensure!(now.len() == 1 && now.is_disjoint(&before), "{now:?}");
        Ok(())
    })?;
    wait::until(PATIENCE, "the data path to be attached", || {
        Ok(node.attached("ens3")?.is_some())
    })
}

/// The layouts that have pins.
#[must_use]
pub fn layouts(pins: &[PathBuf]) -> BTreeSet<String> {
    let layout = |pin: &PathBuf| {
        let mut parts = pin.iter().map(|part| part.to_string_lossy().into_owned());
        parts.find(|part| part == "landfall")?;
        parts.next()
    };
    pins.iter().filter_map(layout).collect()
}

/// Connections are with pods of the announcing node and of others.
fn spans_nodes(stage: &Stage, members: &[Member]) -> Result<()> {
    let pods: BTreeSet<&str> = members.iter().map(|member| &*member.pod).collect();
    for node in stage.lab.nodes() {
        let theirs = stage.pods_on(node);
        ensure!(
            theirs.iter().any(|pod| pods.contains(&**pod)),
            "no connection is with a pod of {}: {pods:?}",
            node.name()
        );
    }
    Ok(())
}
