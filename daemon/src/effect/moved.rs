//! Flows that no longer match the tables: this node tells its peers which of its own those are, and has the kernel look for
//! those that peers keep.
//!
//! Fed by the data path effect (the tables it goes by, and the roads to peers; a `watch`, and a bell that wakes the thread),
//! by the kernel's flow table, by peers' frames and by the set of dead nodes; feeds the kernel's map of moved flows, by way of
//! the service table, and [`MovedReport`]. `docs/decisions/0003-previous-node-table.md` says why it is built like this.
//!
//! A thread of its own with a packet socket: what nodes tell must not wait for anything else. When cancelled it ends; the
//! kernel's entries stay for the next agent.

mod codec;
mod exchange;
mod ledger;
mod port;
mod stream;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landfall_core::model::NodeName;
use landfall_ebpf::abi::flow::FlowKey;
use landfall_ebpf::conntrack::LocalFlows;
use landfall_ebpf::frontends::{Change, Choice, Choices, Frontends, MOVED_ROOM};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::datapath::Flows;
use super::liveness::DeadNodes;
use exchange::Exchange;
use ledger::Entry;

pub use codec::{Fingerprint, Seal};
pub use port::Road;

/// How long nodes have to tell, before a frontend goes on without.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often own flows are looked through though no table changed: ended ones are to be told of.
const LOOK: Duration = Duration::from_secs(2);
/// How long this thread rests after a look, in times of what that took: tables may change faster than a great many flows can
/// be looked through.
const REST: u32 = 2;
/// The same before a look for which there was no change.
const LONG_REST: u32 = 50;
/// How long after all is settled a flow that is where the tables say again is still told of: a node may be ahead, or behind,
/// by a table of which this one does not know.
const LINGER: Duration = Duration::from_secs(1);
/// How long what an earlier agent left in the map is kept for peers that have not told yet.
const ADOPTED: Duration = Duration::from_secs(60);

/// What the data path effect says of the tables that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// A hash of what the node tables are made of.
    pub print: Fingerprint,
    /// The last change in them.
    pub change: Change,
    /// The peers that packets are re-sent to, each with its index and the road.
    pub peers: BTreeMap<NodeName, (u16, Road)>,
}

/// Where the data path effect puts its view.
#[derive(Debug)]
pub struct Viewed {
    view: watch::Sender<View>,
    bell: Arc<OwnedFd>,
}

impl Viewed {
    /// A place to put views, and what [`spawn`] takes of it.
    ///
    /// # Errors
    /// No more file descriptors.
    pub fn new() -> io::Result<(Self, Views)> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(eventfd(0, flags)?);
        let (view, views) = watch::channel(View::default());
        let views = Views {
            views,
            bell: Arc::clone(&bell),
        };
        Ok((Self { view, bell }, views))
    }

    /// Says what is in force now.
    pub fn put(&self, view: View) {
        let changed = self.view.send_if_modified(|held| {
            let changed = *held != view;
            *held = view;
            changed
        });
        if changed {
            // Only a counter at its limit refuses, and then the bell is rung already.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

/// The other end of [`Viewed`].
#[derive(Debug)]
pub struct Views {
    views: watch::Receiver<View>,
    bell: Arc<OwnedFd>,
}

/// What the thread is told, besides views.
pub struct Inputs {
    /// This node.
    pub node: NodeName,
    /// What agents share to know each other's frames.
    pub seal: Seal,
    /// The service table, which the data path effect writes.
    pub frontends: Arc<Mutex<Frontends>>,
    /// Flows that end at this node.
    pub local: LocalFlows,
    /// Endpoints that are left.
    pub flows: Arc<Flows>,
    /// Nodes whose kernel program is silent.
    pub dead: watch::Receiver<DeadNodes>,
}

/// What the thread tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MovedReport {
    /// Flows of this node that the tables say are another's.
    pub own: u64,
    /// Flows that peers keep.
    pub peers: u64,
    /// Entries in the kernel's map.
    pub entries: u64,
    /// Flows that found no room in the kernel's map, since the agent started.
    pub no_room: u64,
    /// Frames that were not read: a wrong tag, or nonsense.
    pub refused_frames: u64,
    /// Table changes after which nodes did not all tell in time.
    pub untold: u64,
}

impl MovedReport {
    /// Entries that the kernel's map has room for.
    pub const ROOM: u64 = MOVED_ROOM as u64;
}

/// Starts the thread.
///
/// # Errors
/// The packet socket could not be had (CAP_NET_RAW), or no thread.
pub fn spawn(
    inputs: Inputs,
    views: Views,
    cancel: CancellationToken,
) -> io::Result<(thread::JoinHandle<()>, watch::Receiver<MovedReport>)> {
    let port = port::Port::open()?;
    let (publish, reports) = watch::channel(MovedReport::default());
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let process = codec::Process(since_epoch.as_nanos() as u64);
    let exchange = Exchange::new(&inputs.node, process, inputs.seal.clone());
    let now = Instant::now();
    let mut moved = Moved {
        inputs,
        views,
        port,
        publish,
        exchange,
        view: View::default(),
        names: HashMap::new(),
        choices: Choices::default(),
        to_look: false,
        look_at: now,
        rest_until: now,
        settled_since: None,
        adopted: Some(now + ADOPTED),
        report: MovedReport::default(),
    };
    let thread = thread::Builder::new()
        .name("landfall-moved".into())
        .spawn(move || moved.run(&cancel))?;
    Ok((thread, reports))
}

struct Moved {
    inputs: Inputs,
    views: Views,
    port: port::Port,
    publish: watch::Sender<MovedReport>,
    exchange: Exchange,
    view: View,
    /// Peers by Ethernet address.
    names: HashMap<[u8; 6], NodeName>,
    choices: Choices,
    /// Tables have changed since own flows were looked through.
    to_look: bool,
    /// When they are looked through without a change.
    look_at: Instant,
    rest_until: Instant,
    /// Since when everything has been told for the present tables.
    settled_since: Option<Instant>,
    /// Until when entries of an earlier agent that nobody has told of are kept.
    adopted: Option<Instant>,
    report: MovedReport,
}

impl Moved {
    fn run(&mut self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            let mut entries = Vec::new();
            self.see(&mut entries);
            self.listen(&mut entries);
            self.apply(&mut entries);
            let dead = self.inputs.dead.borrow().clone();
            let dead = |name: &NodeName| dead.contains(name);
            self.look(&dead, &mut entries);
            let now = Instant::now();
            for frame in self.exchange.poll(&dead, now, &mut entries) {
                if let Some((_, road)) = self.view.peers.get(&frame.to)
                    && let Err(error) = self.port.send(road, &frame.payload)
                {
                    debug!(node = %frame.to, %error, "a telling was not sent; it will be tried again");
                }
            }
            self.apply(&mut entries);
            self.settle(&dead, now);
            self.tell();
            self.wait(now);
        }
    }

    /// Takes the data path's latest view.
    fn see(&mut self, entries: &mut Vec<Entry>) {
        if !self.views.views.has_changed().unwrap_or(false) {
            return;
        }
        let view = self.views.views.borrow_and_update().clone();
        let now = Instant::now();
        let roads = view.peers.iter();
        let mtus = roads.map(|(name, (_, road))| (name.clone(), road.mtu));
        self.exchange.set_peers(&mtus.collect(), now, entries);
        self.exchange.set_tables(view.print, view.change);
        let names = view.peers.iter();
        self.names = names
            .map(|(name, (_, road))| (road.peer, name.clone()))
            .collect();
        let mut frontends = self.inputs.frontends.lock().expect("no holder panics");
        frontends.expect_telling(!view.peers.is_empty());
        match frontends.choices() {
            Ok(choices) => self.choices = choices,
            Err(error) => warn!(%error, "the tables were not read; moved flows are told of late"),
        }
        drop(frontends);
        self.view = view;
        (self.to_look, self.settled_since) = (true, None);
    }

    fn listen(&mut self, entries: &mut Vec<Entry>) {
        /// Frames that are read before anything else is done.
        const BATCH: usize = 256;
        // Jumbo frames and a tag of a VLAN fit.
        let mut buffer = vec![0_u8; 9_300];
        for _ in 0..BATCH {
            let Some(frame) = self.port.receive(&mut buffer) else {
                return;
            };
            let (header, payload) = frame.split_at(port::ETHERNET);
            let source: [u8; 6] = header[6..12].try_into().expect("six octets");
            if let Some(name) = self.names.get(&source) {
                self.exchange
                    .receive(name, payload, Instant::now(), entries);
            }
        }
    }

    /// Looks for own flows that are another node's by the tables, when that is due.
    fn look(&mut self, dead: &dyn Fn(&NodeName) -> bool, entries: &mut Vec<Entry>) {
        let begun = Instant::now();
        let again = !self.to_look && self.exchange.is_to_look_again(dead);
        let due = self.to_look || again || begun >= self.look_at;
        if self.view.peers.is_empty() || !due || begun < self.rest_until {
            return;
        }
        let live = self.inputs.flows.live();
        let lingers = self
            .settled_since
            .is_none_or(|since| begun - since < LINGER);
        let ledger = self.exchange.ledger();
        let (mut found, mut lingering) = (HashSet::new(), HashSet::new());
        let looked = self.inputs.local.for_each(|key, flow| {
            let endpoint = (flow.backend, flow.backend_port, key.protocol);
            let ends = live.as_ref().is_some_and(|live| !live.contains(&endpoint));
            let here = matches!(self.choices.of(key), Choice::Node(0) | Choice::NoFrontend);
            if ends || found.len() >= MOVED_ROOM {
                return;
            }
            if !here {
                found.insert(*key);
            } else if lingers && ledger.has_own(key) {
                lingering.insert(*key);
            }
        });
        let room = MOVED_ROOM - found.len();
        found.extend(lingering.into_iter().take(room));
        let took = begun.elapsed();
        let ended = Instant::now();
        self.rest_until = ended + took * REST;
        self.look_at = ended + LOOK.max(took * LONG_REST);
        match looked {
            Ok(()) => {
                self.to_look = false;
                self.exchange.set_own(found, again, entries);
            }
            Err(error) => {
                warn!(%error, "own flows were not looked through; it will be tried again")
            }
        }
    }

    /// Brings changes into the kernel's map, a few at a time: the data path effect writes to the same table.
    fn apply(&mut self, entries: &mut Vec<Entry>) {
        /// Some milliseconds of system calls.
        const AT_A_TIME: usize = 512;
        let before = self.report.no_room;
        let shared = Arc::clone(&self.inputs.frontends);
        for some in entries.chunks(AT_A_TIME) {
            let mut frontends = shared.lock().expect("no holder panics");
            for entry in some {
                self.write(&mut frontends, entry);
            }
            self.report.entries = frontends.kept_flows().len() as u64;
        }
        entries.clear();
        if before == 0 && self.report.no_room > 0 {
            error!(
                room = MOVED_ROOM,
                "the map of moved flows is full; connections beyond it may break at further table changes"
            );
        }
    }

    fn write(&mut self, frontends: &mut Frontends, entry: &Entry) {
        let result = match entry {
            Entry::Nobody(key) => frontends.forget_flow(key),
            Entry::Kept(key, keeper) => {
                let index = match keeper {
                    None => Some(0),
                    Some(name) => self.view.peers.get(name).map(|(index, _)| *index),
                };
                // A peer that has gone meanwhile keeps nothing.
                let Some(index) = index else { return };
                frontends.keep_flow(key, index).map(|kept| {
                    self.report.no_room += u64::from(!kept);
                })
            }
        };
        if let Err(error) = result {
            warn!(%error, "an entry of the moved flows was refused");
        }
    }

    /// Ends the bridging by previous tables where everything was told, and the waiting where it was not in time.
    fn settle(&mut self, dead: &dyn Fn(&NodeName) -> bool, now: Instant) {
        let settled = self.exchange.settled(dead);
        self.settled_since = settled.map(|_| self.settled_since.unwrap_or(now));
        let shared = Arc::clone(&self.inputs.frontends);
        let mut frontends = shared.lock().expect("no holder panics");
        self.sweep(&mut frontends, settled.is_some(), now);
        if !frontends.is_unsettled() {
            return;
        }
        // What found no room here is found by the previous table only.
        if let Some(change) = settled.filter(|_| self.report.entries < MovedReport::ROOM)
            && let Err(error) = frontends.settle_told(change, now)
        {
            warn!(%error, "a frontend was not settled; it will be tried again");
        }
        let Some(since) = now.checked_sub(PATIENCE) else {
            return;
        };
        match frontends.settle_untold(since) {
            Ok(0) => {}
            Ok(frontends) => {
                self.report.untold += 1;
                info!(
                    frontends,
                    "not all nodes told of their flows in time; going on by the previous tables"
                );
            }
            Err(error) => warn!(%error, "a frontend was not settled; it will be tried again"),
        }
    }

    /// Takes away what an earlier agent left and nobody has told of.
    fn sweep(&mut self, frontends: &mut Frontends, settled: bool, now: Instant) {
        if !self.adopted.is_some_and(|until| settled || now > until) {
            return;
        }
        self.adopted = None;
        let ledger = self.exchange.ledger();
        let left: Vec<FlowKey> = frontends
            .kept_flows()
            .keys()
            .filter(|key| ledger.keeper(key).is_none())
            .copied()
            .collect();
        for key in &left {
            if let Err(error) = frontends.forget_flow(key) {
                warn!(%error, "an entry of an earlier agent was not removed");
            }
        }
        self.report.entries = frontends.kept_flows().len() as u64;
    }

    fn tell(&mut self) {
        let (own, peers) = self.exchange.ledger().counts();
        (self.report.own, self.report.peers) = (own as u64, peers as u64);
        self.report.refused_frames = self.exchange.refused();
        self.publish
            .send_if_modified(|held| std::mem::replace(held, self.report) != self.report);
    }

    /// Waits for a frame, the bell, or the next thing that is due.
    fn wait(&self, now: Instant) {
        /// How long it may take to notice the end, or a node's death.
        const LONGEST: Duration = Duration::from_millis(100);
        let mut due = self.exchange.next().unwrap_or(now + LONGEST);
        if self.to_look {
            due = due.min(self.rest_until);
        }
        let wait = due.saturating_duration_since(now).min(LONGEST);
        let wait = Timespec::try_from(wait.max(Duration::from_millis(1)))
            .expect("a tenth of a second is a time");
        let mut ready = [
            PollFd::new(&self.port, PollFlags::IN),
            PollFd::new(&self.views.bell, PollFlags::IN),
        ];
        // A signal ends the wait early, which does no harm.
        let _ = poll(&mut ready, Some(&wait));
        // Unrung, it says so; that is no error.
        let _ = rustix::io::read(&self.views.bell, &mut [0; 8]);
    }
}
