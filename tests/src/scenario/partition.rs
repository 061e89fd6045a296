//! The LAN loses frames: in one direction, between two halves, or at a node that comes and goes.
//! Whatever is lost, there is one answer at every instant, and afterwards one owner.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::failover::{self, Takeover};
use crate::lab::node::Node;
use crate::lab::switch::Lan;
use crate::lab::wires::Deaf;
use crate::probe::neighbour::{LanCapture, NeighbourProber};
use crate::probe::udp::{SourcePort, UdpProber};

/// How often a host without a neighbour entry asks, on each side.
const ASK: Duration = Duration::from_millis(5);

/// How long a state of the LAN is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// The node that announces the first service is not heard any more, or hears nothing any more.
///
/// # Errors
/// When nobody takes over.
pub fn one_way(stage: &Stage, direction: Deaf) -> Result<Takeover> {
    let victim = stage.holder(stage.vip())?;
    let others = others(stage, victim);
    let takeover = failover::watch(stage, stage.vip(), ASK, WATCHED, || {
        let switch = stage.lab.switch();
        switch.deafen(victim.name(), direction, &others)
    })?;
    ensure!(
        takeover.successor != victim.host().mac(),
        "nobody took over from {}",
        victim.name()
    );
    Ok(takeover)
}

/// All machines but one.
fn others<'a>(stage: &'a Stage, but: &Node) -> Vec<&'a str> {
    let nodes = stage.lab.nodes().iter().map(Node::name);
    let clients = [stage.lab.client().name(), stage.lab.watcher().name()];
    nodes
        .chain(clients)
        .filter(|name| *name != but.name())
        .collect()
}

/// What was seen of a VIP while the LAN was in two parts and after.
#[derive(Debug, Clone)]
pub struct Split {
    /// Answers that were one too many, anywhere on the LAN.
    pub duplicates: usize,
    /// The longest time without an answer on the side of most nodes.
    pub majority_gap: Duration,
    /// How often the VIP moved in all.
    pub moves: usize,
    /// From the healing to the first answer to a client that was on the other side.
    pub healed: Duration,
}

/// Splits the LAN so that the announcing node, the client and as many nodes as are fewer than half
/// are on one side, the watcher and most nodes on the other; and later heals it.
///
/// # Errors
/// When the fault cannot be made.
pub fn split(stage: &Stage) -> Result<Split> {
    let vip = stage.vip();
    let holder = stage.holder(vip)?;
    let lab = &stage.lab;
    let minority = (lab.nodes().len() - 1) / 2;
    let mut with: Vec<&str> = others(stage, holder);
    with.retain(|name| lab.nodes().iter().any(|node| node.name() == *name));
    let mut without = with.split_off(minority.saturating_sub(1));
    with.extend([holder.name(), lab.client().name()]);
    without.push(lab.watcher().name());

    let capture = LanCapture::start(lab.switch())?;
    let here = NeighbourProber::start(lab.client(), &[vip], ASK)?;
    let there = NeighbourProber::start(lab.watcher(), &[vip], ASK)?;
    let requests = UdpProber::start(lab.client(), stage.ping(), ASK, SourcePort::Fresh)?;
    std::thread::sleep(Duration::from_millis(300));
    lab.switch().partition(&with, &without)?;
    std::thread::sleep(WATCHED);
    lab.switch().heal()?;
    let healed = Instant::now();
    std::thread::sleep(WATCHED);
    let (requests, there) = (requests.stop(), there.stop());
    drop(here);
    let record = capture.stop();
    let first = requests
        .answers()
        .find(|answer| answer.at > healed)
        .context("no answer after the healing")?;
    let split = Split {
        duplicates: record.duplicates(Duration::MAX).len(),
        majority_gap: there.longest_gap(vip).length,
        moves: record.moves(vip),
        healed: first.at - healed,
    };
    println!(
        "{holder} on the smaller side: {split:?}",
        holder = holder.name()
    );
    Ok(split)
}

/// One of two nodes, the announcing one, loses the other and the lease store. Gives the answers
/// that were one too many.
///
/// # Errors
/// When the other does not take over.
pub fn alone(stage: &Stage, after: Duration) -> Result<usize> {
    let lab = &stage.lab;
    let holder = stage.holder(stage.vip())?;
    let other = lab
        .nodes()
        .iter()
        .find(|node| node.name() != holder.name())
        .context("there are two nodes")?;
    let capture = LanCapture::start(lab.switch())?;
    let takeover = failover::watch(stage, stage.vip(), ASK, after, || {
        lab.objects().set_reachable(&[holder], false)?;
        lab.switch().partition(&[holder.name()], &[other.name()])
    })?;
    let duplicates = capture.stop().duplicates(Duration::MAX).len();
    ensure!(
        takeover.successor == other.host().mac(),
        "{} did not take over",
        other.name()
    );
    Ok(duplicates)
}

/// What a node that flaps has moved.
#[derive(Debug, Clone)]
pub struct Flapping {
    /// The most that any VIP has moved.
    pub moves: usize,
    /// Answers that were one too many.
    pub duplicates: usize,
}

/// The carrier of the announcing node goes and comes, each second, for as long as told.
///
/// # Errors
/// When the fault cannot be made.
pub fn flap(stage: &Stage, duration: Duration) -> Result<Flapping> {
    let lab = &stage.lab;
    let flapping = stage.holder(stage.vip())?;
    let capture = LanCapture::start(lab.switch())?;
    let asker = NeighbourProber::start(lab.watcher(), &stage.vips(), ASK)?;
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    while begun.elapsed() < duration {
        for up in [false, true] {
            flapping.set_carrier(Lan::First, up)?;
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    std::thread::sleep(WATCHED);
    drop(asker);
    let record = capture.stop();
    let moves = stage.vips().into_iter().map(|vip| record.moves(vip));
    let seen = Flapping {
        moves: moves.max().context("there are VIPs")?,
        duplicates: record.duplicates(Duration::from_secs(1)).len(),
    };
    println!("{} flapped: {seen:?}", flapping.name());
    Ok(seen)
}
