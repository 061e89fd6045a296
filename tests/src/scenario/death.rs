//! A node dies, in one instant and without a word, under various conditions.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::failover::{self, Takeover};
use super::{Stage, bounds};
use crate::lab::manifests::{labels, service};
use crate::lab::node::Node;
use crate::lab::wait;
use crate::probe::crowd::{CrowdProber, CrowdRecord};

/// How often a host without a neighbour entry asks.
const ASK: Duration = Duration::from_millis(5);

/// How long it is watched on after a death.
pub const AFTER: Duration = Duration::from_secs(2);

/// How a node dies. Its links go in the same instant either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Its processes are killed.
    Killed,
    /// Its processes are frozen.
    Frozen,
}

/// Under what conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// The number of nodes.
    pub nodes: u8,
    /// Whether an IPv6 address is watched.
    pub ipv6: bool,
    /// How the node dies.
    pub death: Death,
    /// Cores kept busy by others at normal priority.
    pub busy_cores: usize,
}

impl Default for Conditions {
    /// Three nodes, IPv4, killed, nothing else running.
    fn default() -> Self {
        Self {
            nodes: 3,
            ipv6: false,
            death: Death::Killed,
            busy_cores: 0,
        }
    }
}

/// The node that announces the first service dies on a stage of its own, watched for `after` more.
///
/// # Errors
/// When the stage does not come up, or no other node takes over.
pub fn of_announcer(conditions: Conditions, after: Duration) -> Result<Takeover> {
    let mut builder = Stage::builder().nodes(conditions.nodes);
    if conditions.ipv6 {
        builder = builder.dual_stack();
    }
    let stage = builder.start()?;
    let vip = if conditions.ipv6 {
        stage.vip6()
    } else {
        stage.vip()
    };
    let victim = stage.holder(vip)?;
    stage.lab.load_cores(conditions.busy_cores)?;
    let takeover = failover::watch(&stage, vip, ASK, after, || match conditions.death {
        Death::Killed => victim.die(),
        Death::Frozen => victim.pause(true),
    })?;
    ensure!(
        takeover.successor != victim.host().mac(),
        "nobody took over from {}",
        victim.name()
    );
    Ok(takeover)
}

/// How many services there are beside the stage's own: more than [`bounds::VIPS`] by what the others
/// may take off the node in order, one every few seconds, before it dies.
const CROWD: usize = bounds::VIPS + 40;

/// Addresses for them. They are none of the LAN's subnet: all machines know that they are on it.
const CROWD_POOL: &str = "10.20.0.0/20";

/// How often each VIP is asked: with 700 of them, 14,000 requests a second.
const CROWD_INTERVAL: Duration = Duration::from_millis(50);

/// How long a node may take to announce a crowd of services, and the others to join it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was seen of many VIPs while their node died.
#[derive(Debug, Clone)]
pub struct Exodus {
    /// How many VIPs the node had.
    pub vips: usize,
    /// The longest silence of any of them.
    pub gap: Duration,
    /// VIPs that nobody answered for in the end.
    pub orphans: usize,
}

/// A node with 700 VIPs or more dies; all of them are watched.
///
/// # Errors
/// As [`of_a_crowd`].
pub fn of_many_vips(after: Duration) -> Result<Exodus> {
    let stage = Stage::builder().start()?;
    let add = |objects: Vec<Value>| {
        // JSON is YAML, and quicker to write and to read.
        let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
        let text = documents.join("\n---\n") + "\n";
        stage.lab.objects().write("crowd.yaml", &text)
    };
    of_a_crowd(&stage, add, after)
}

/// As [`of_many_vips`], on a stage, to whose objects `add` adds.
///
/// # Errors
/// When the nodes do not share the services out, or a VIP does not answer beforehand.
pub fn of_a_crowd(
    stage: &Stage,
    add: impl FnOnce(Vec<Value>) -> Result<()>,
    after: Duration,
) -> Result<Exodus> {
    let (lab, client) = (&stage.lab, stage.lab.client());
    client.output(&format!("ip route add {CROWD_POOL} dev ens3"))?;
    // What is measured is the move of the VIPs, not how a full neighbour table is swept up.
    client.sysctl("ipv4/neigh/ens3/base_reachable_time_ms", "3600000")?;
    // Alone, a node takes all; the others then find it with far more than its share.
    let (victim, others) = lab.nodes().split_first().context("there are nodes")?;
    for other in others {
        other.stop_agent()?;
    }
    add(crowd())?;
    wait::until_ok(PATIENCE, "one node to announce all VIPs", || {
        std::thread::sleep(Duration::from_millis(500));
        let own = announced_by(victim)?.len();
        ensure!(own > CROWD, "{} announces {own}", victim.name());
        Ok(())
    })?;
    for other in others {
        other.start_agent()?;
    }
    wait::until_ok(PATIENCE, "the others to take a share", || {
        std::thread::sleep(Duration::from_millis(100));
        for other in others {
            let none = announced_by(other)?.is_empty();
            ensure!(!none, "{} announces nothing", other.name());
        }
        Ok(())
    })?;
    let vips = announced_by(victim)?;
    let targets: Vec<SocketAddr> = vips.iter().map(|vip| (*vip, 5000).into()).collect();
    wait::until(PATIENCE, "every VIP to answer", || {
        Ok(ask(stage, &targets, Duration::from_secs(1), || Ok(()))?.silent() == 0)
    })?;
    let record = ask(stage, &targets, after, || victim.die())?;
    let gaps = record.longest_gaps();
    let worst = gaps.iter().max().context("a VIP was watched")?;
    let end = record.window.to - CROWD_INTERVAL * 4;
    let exodus = Exodus {
        vips: vips.len(),
        gap: worst.length,
        orphans: gaps.iter().filter(|gap| gap.end() > end).count(),
    };
    println!(
        "{exodus:?} of {} requests, worst delay {:?}",
        record.sent, record.worst_delay
    );
    Ok(exodus)
}

fn ask(
    stage: &Stage,
    targets: &[SocketAddr],
    after: Duration,
    fault: impl FnOnce() -> Result<()>,
) -> Result<CrowdRecord> {
    let prober = CrowdProber::start(stage.lab.client(), targets, CROWD_INTERVAL)?;
    std::thread::sleep(Duration::from_millis(500));
    fault()?;
    std::thread::sleep(after);
    Ok(prober.stop())
}

/// The VIPs that a node announces, as it says itself.
fn announced_by(node: &Node) -> Result<Vec<IpAddr>> {
    let all = node.announcements()?.into_iter();
    let own = all.filter(|entry| entry.node == node.name());
    Ok(own.map(|entry| entry.address).collect())
}

fn crowd() -> Vec<Value> {
    let pool = json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
        "metadata": {"name": "crowd-pool"},
        "spec": {
            "blocks": [{"cidr": CROWD_POOL}],
            "serviceSelector": {"matchLabels": {"crowd": "yes"}},
        },
    });
    let (blue, app) = (
        labels(&[("color", "blue"), ("crowd", "yes")]),
        labels(&[("app", "webpod")]),
    );
    let services = (0..CROWD).map(|number| {
        let name = format!("crowd{number}");
        service(&name, &blue, &app, &[("ping", "UDP", 5000)])
    });
    [pool].into_iter().chain(services).collect()
}
