//! Liveness of nodes apart from their agents: the pinned kernel program of each peer echoes probes.
//!
//! Fed by this node's and the peers' interfaces and by the planned VIPs; feeds the set of nodes whose program is silent, so
//! that their endpoints are left out long before anybody lists them away, and what is known against single roads: those that
//! are silent are not taken, and those on which clients' packets are filtered are taken by source translation only. An
//! agent's death changes nothing here: its program goes on echoing.
//!
//! A thread with a packet socket, apart from the async threads, and real-time where that is permitted: a stall of theirs
//! must not look like a dead node. [`judge`] and [`passage`] decide, [`road`] says over which interfaces; the thread only
//! sends, listens and tells. When cancelled it ends within [`PERIOD`]; receivers keep the last word.

mod frame;
pub mod judge;
pub mod passage;
pub mod road;
mod socket;
pub mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use landfall_core::model::{Link, LinkIndex, NodeName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::judge::{Judge, Verdict};
use self::passage::{Family, Passage};
use self::road::{RoadReport, SharedRoadReport};
use self::socket::ProbeSocket;
use self::tally::{Patience, Serial};
use super::announce::Vips;
use super::membership::Peers;

/// Time between two probes on a road.
pub const PERIOD: Duration = Duration::from_millis(50);

/// A node that dies is found dead after 230 to 280 ms: five probes in a row, the last of them given 30 ms.
pub const PATIENCE: Patience = Patience {
    missed: 5,
    echo: Duration::from_millis(30),
    regained: 3,
};
/// Where several peers fall silent in one moment, after 980 to 1,030 ms.
pub const MISSED_BY_ALL: usize = 20;

/// Time between two road probes on a road.
pub const LANE_PERIOD: Duration = Duration::from_millis(500);
/// A filter is found after 1.1 to 1.6 s, and believed to be gone after 10 s.
pub const LANE_PATIENCE: Patience = Patience {
    missed: 3,
    echo: Duration::from_millis(100),
    regained: 20,
};

/// Nodes whose kernel program is silent.
pub type DeadNodes = Arc<BTreeSet<NodeName>>;

/// What the thread is told.
pub struct Inputs {
    /// This node.
    pub node: NodeName,
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// Other nodes' interfaces.
    pub peers: watch::Receiver<Peers>,
    /// Addresses of leases, with the interfaces they are announced on: road probes are sent to one of each family.
    pub vips: watch::Receiver<Option<Arc<Vips>>>,
}

/// What the thread tells.
pub struct Outputs {
    /// The nodes that are dead at present.
    pub dead: watch::Receiver<DeadNodes>,
    /// What is known against single roads.
    pub roads: watch::Receiver<SharedRoadReport>,
}

/// Starts the thread.
///
/// # Errors
/// The packet socket could not be had (CAP_NET_RAW), or no thread.
pub fn spawn(
    inputs: Inputs,
    cancel: CancellationToken,
) -> io::Result<(thread::JoinHandle<()>, Outputs)> {
    let socket = ProbeSocket::open()?;
    let (dead, dead_seen) = watch::channel(Arc::default());
    let (roads, roads_seen) = watch::channel(Arc::default());
    let prober = Prober {
        socket,
        inputs,
        judge: Judge::new(PATIENCE, MISSED_BY_ALL),
        passage: Passage::new(LANE_PATIENCE),
        vips: BTreeMap::new(),
        told: Verdict::default(),
        told_of_roads: Arc::default(),
        dead,
        roads,
        cookie: RandomState::new()
            .hash_one(std::process::id())
            .to_be_bytes(),
        serial: 0,
    };
    let thread = thread::Builder::new()
        .name("landfall-alive".into())
        .spawn(move || prober.run(&cancel))?;
    let outputs = Outputs {
        dead: dead_seen,
        roads: roads_seen,
    };
    Ok((thread, outputs))
}

struct Prober {
    socket: ProbeSocket,
    inputs: Inputs,
    judge: Judge,
    passage: Passage,
    /// A VIP of each family for each interface.
    vips: BTreeMap<(LinkIndex, Family), IpAddr>,
    told: Verdict,
    told_of_roads: SharedRoadReport,
    dead: watch::Sender<DeadNodes>,
    roads: watch::Sender<SharedRoadReport>,
    cookie: frame::Cookie,
    serial: Serial,
}

impl Prober {
    fn run(mut self, cancel: &CancellationToken) {
        if let Err(error) = socket::become_real_time() {
            debug!(%error, "probing without real-time priority; a busy machine may find a dead node later");
        }
        self.inputs.links.mark_changed();
        let mut next = Instant::now();
        let mut next_lane = next;
        while !cancel.is_cancelled() {
            self.follow_roads();
            let now = Instant::now();
            if now >= next {
                self.probe();
                // Probes that a stall held up are not made up for: in a row they are to be a period apart.
                next = (next + PERIOD).max(now + PERIOD * 4 / 5);
            }
            if now >= next_lane {
                self.probe_lanes();
                next_lane = now + LANE_PERIOD;
            }
            let until = self.judge.due(now).map_or(next, |due| due.min(next));
            self.socket
                .wait(until.saturating_duration_since(Instant::now()));
            self.listen();
            let now = Instant::now();
            let verdict = self.judge.judge(now);
            let filtered = self.passage.judge(now, |road| self.judge.is_heard(road));
            self.tell_of_roads(RoadReport {
                silent: verdict.silent.clone(),
                filtered,
            });
            self.tell(verdict);
        }
    }

    fn follow_roads(&mut self) {
        // A sender that is gone has said its last word.
        let links = self.inputs.links.has_changed().unwrap_or(false);
        let peers = self.inputs.peers.has_changed().unwrap_or(false);
        let vips = self.inputs.vips.has_changed().unwrap_or(false);
        if !links && !peers && !vips {
            return;
        }
        let links = self.inputs.links.borrow_and_update().clone();
        let peers = self.inputs.peers.borrow_and_update().clone();
        let peers = peers.unwrap_or_default();
        self.judge
            .set_roads(road::roads(&self.inputs.node, &links, &peers));
        self.vips.clear();
        let vips = self.inputs.vips.borrow_and_update().clone();
        for (ip, interfaces) in vips.iter().flat_map(|vips| vips.values()).flatten() {
            for index in interfaces {
                self.vips.entry((*index, Family::of(*ip))).or_insert(*ip);
            }
        }
        let lanes = self.judge.roads().flat_map(|road| {
            let families = [Family::V4, Family::V6].into_iter();
            let wanted = families.filter(|family| self.vips.contains_key(&(road.index, *family)));
            wanted.map(|family| (*road, family))
        });
        self.passage.set_lanes(lanes.collect());
    }

    fn probe(&mut self) {
        self.serial += 1;
        let roads: Vec<_> = self.judge.roads().copied().collect();
        for road in &roads {
            let frame = frame::probe(road, self.cookie, self.serial);
            // A probe that a full queue or a link that goes down has refused was not sent, and is nobody's fault.
            if self.socket.send(road.index, &frame).is_ok() {
                self.judge.sent(road, self.serial, Instant::now());
            }
        }
    }

    /// Sends a road probe on every lane whose road works: on another it would tell nothing.
    fn probe_lanes(&mut self) {
        self.serial += 1;
        let lanes: Vec<_> = self.passage.lanes().copied().collect();
        for lane in lanes.iter().filter(|(road, _)| self.judge.is_heard(road)) {
            let (road, family) = lane;
            let Some(vip) = self.vips.get(&(road.index, *family)) else {
                continue;
            };
            let frame = frame::road_probe(road, *vip, self.cookie, self.serial);
            if self.socket.send(road.index, &frame).is_ok() {
                self.passage.sent(lane, self.serial, Instant::now());
            }
        }
    }

    fn listen(&mut self) {
        let (judge, passage, cookie) = (&mut self.judge, &mut self.passage, self.cookie);
        self.socket.drain(|index, bytes| {
            let Some(echo) = frame::echo(bytes, cookie) else {
                return;
            };
            match echo.family {
                None => judge.heard(index, echo.peer, echo.serial),
                Some(family) => passage.heard(index, echo.peer, family, echo.serial),
            }
        });
    }

    fn tell(&mut self, verdict: Verdict) {
        if verdict == self.told {
            return;
        }
        for node in verdict.dead.difference(&self.told.dead) {
            warn!(%node, "node does not echo; its endpoints are left out");
        }
        for node in self.told.dead.difference(&verdict.dead) {
            info!(%node, "node echoes again; its endpoints count");
        }
        if verdict.dead != self.told.dead {
            self.dead.send_replace(Arc::new(verdict.dead.clone()));
        }
        self.told = verdict;
    }

    fn tell_of_roads(&mut self, report: RoadReport) {
        if report == *self.told_of_roads {
            return;
        }
        let told = &self.told_of_roads;
        for (interface, peer) in report.silent.difference(&told.silent) {
            debug!(interface = interface.0, %peer, "a road is silent");
        }
        for (interface, peer, family) in report.filtered.difference(&told.filtered) {
            warn!(interface = interface.0, %peer, %family, "packets with clients' addresses do not get through to a node; it is reached by source translation there");
        }
        for (interface, peer, family) in told.filtered.difference(&report.filtered) {
            info!(interface = interface.0, %peer, %family, "packets with clients' addresses get through to a node again");
        }
        self.told_of_roads = Arc::new(report);
        self.roads.send_replace(Arc::clone(&self.told_of_roads));
    }
}
