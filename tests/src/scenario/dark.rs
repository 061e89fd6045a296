//! The lease store is away for long, all agents are killed, one node is rebooted, and everything is
//! announced all the same, once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{SERVICES, Stage};
use crate::lab::node::Node;
use crate::lab::wait;
use crate::probe::neighbour::{LanCapture, NeighbourProber};

/// How long shares may take to be even at the start: nodes that start one after the other move VIPs for that.
const EVEN: Duration = Duration::from_secs(40);

/// How long agents may take to start and to announce without their store.
const PATIENCE: Duration = Duration::from_secs(20);

/// The node that is rebooted. Where its pods come back with the store only, it had better have none:
/// who asks for them in the dark is told that they are there.
pub const REBOOTED: usize = 1;

/// How long it is watched on after the store is back.
const AFTER: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug, Clone)]
pub struct Dark {
    /// From the killing of the agents to the first answer of the last VIP.
    pub back: Duration,
    /// Answers that were one too many, from the killing on.
    pub duplicates: usize,
    /// The longest silence of a VIP after that, to the end.
    pub gap: Duration,
    /// Whether that silence ended before the store was back.
    pub gap_in_the_dark: bool,
    /// Whether every service has the addresses it had.
    pub addresses_kept: bool,
    /// Whether each VIP was announced in the dark, and after it, by the node that had it before.
    pub holders_kept: bool,
}

/// What takes the store away from all agents, or gives it back.
pub type Switch<'a> = &'a dyn Fn(&Stage, bool) -> Result<()>;

/// Keeps the agents from the store for `dark` without a word; meanwhile kills all agents, reboots
/// the second node, and starts the agents again.
///
/// # Errors
/// When an agent does not start without the store, or a VIP is not announced.
pub fn restart_all(stage: &mut Stage, dark: Duration) -> Result<Dark> {
    restart_all_while(stage, dark, &set_reachable)
}

/// As [`restart_all`], where the store goes by other means.
///
/// # Errors
/// As [`restart_all`], and what the means say.
pub fn restart_all_while(
    stage: &mut Stage,
    dark: Duration,
    set_reachable: Switch<'_>,
) -> Result<Dark> {
    let vips = stage.vips();
    let before = stage.lab.node(0).vips(&SERVICES)?;
    let holders = wait::until_ok(EVEN, "every node to announce something", || {
        let holders = holders(stage, &vips)?;
        let announcing: BTreeSet<&String> = holders.values().collect();
        let all = announcing.len() == vips.len().min(stage.lab.nodes().len());
        all.then_some(holders).context("the shares are uneven")
    })?;
    let begun = Instant::now();
    set_reachable(stage, false)?;
    std::thread::sleep(Duration::from_secs(2));
    for node in stage.lab.nodes() {
        node.kill_agent()?;
    }
    let killed = Instant::now();
    let mut gone = stage.lab.power_cycle(REBOOTED)?;
    if stage.lab.objects().runs_pods_alone() {
        stage.lab.resume(REBOOTED, std::mem::take(&mut gone))?;
    }
    let lab = &stage.lab;
    let capture = LanCapture::start(lab.switch())?;
    lab.start_agents()?;
    let back = wait::until_ok(PATIENCE, "every VIP to be announced in the dark", || {
        answered(stage, &vips)?;
        Ok(killed.elapsed())
    })?;
    let mut holders_kept = self::holders(stage, &vips)? == holders;
    for vip in &vips {
        wait::until_ok(PATIENCE, "a service to answer in the dark", || {
            lab.client().http_get((*vip, 80))
        })?;
    }
    let asker = NeighbourProber::start(lab.watcher(), &vips, Duration::from_millis(10))?;
    std::thread::sleep(dark.saturating_sub(begun.elapsed()));
    let returned = Instant::now();
    set_reachable(stage, true)?;
    std::thread::sleep(AFTER);
    let asked = asker.stop();
    holders_kept &= self::holders(stage, &vips)? == holders;
    let gaps = vips.iter().map(|vip| asked.longest_gap(*vip));
    let gap = gaps.max_by_key(|gap| gap.length);
    let gap = gap.context("there are VIPs")?;
    let seen = Dark {
        back,
        duplicates: capture.stop().duplicates(Duration::from_secs(1)).len(),
        gap: gap.length,
        gap_in_the_dark: gap.end() < returned,
        addresses_kept: lab.node(1).vips(&SERVICES)? == before,
        holders_kept,
    };
    println!("{seen:?}");
    stage.lab.resume(REBOOTED, gone)?;
    Ok(seen)
}

fn set_reachable(stage: &Stage, reachable: bool) -> Result<()> {
    let nodes: Vec<&Node> = stage.lab.nodes().iter().collect();
    stage.lab.objects().set_reachable(&nodes, reachable)
}

/// The node that answers for each VIP.
fn holders(stage: &Stage, vips: &[IpAddr]) -> Result<BTreeMap<IpAddr, String>> {
    let holder = |vip: &IpAddr| Ok((*vip, stage.holder(*vip)?.name().to_owned()));
    vips.iter().map(holder).collect()
}

/// Holds when one node answers for each VIP.
fn answered(stage: &Stage, vips: &[IpAddr]) -> Result<()> {
    let asker = NeighbourProber::start(stage.lab.watcher(), vips, Duration::from_millis(20))?;
    std::thread::sleep(Duration::from_millis(100));
    let record = asker.stop();
    for vip in vips {
        let macs = record.macs(*vip);
        ensure!(macs.len() == 1, "{vip} is answered by {macs:?}");
    }
    Ok(())
}
