//! The data path effect: makes the kernel's maps and attachments equal to the service table.
//!
//! Fed by the service table, this node's interfaces, the peers' and what is known against the roads to them (all `watch`: only
//! the latest counts); feeds the kernel and [`DatapathReport`], and tells the exchange of moved flows which tables are in
//! force. A thread of its own, since map writes are system calls by the ten thousand: it waits on the channels by the runtime's
//! handle and blocks nobody.
//!
//! When cancelled it ends after the change at hand. Programs, maps and links stay pinned and go on.

mod collection;
mod table;
mod uplinks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use landfall_core::model::{Link, NodeName, ServiceName};
use landfall_core::plan::service_table::{Frontend, FrontendKey, ServiceTable};
use landfall_ebpf::abi::Address;
use landfall_ebpf::conntrack::LocalFlows;
use landfall_ebpf::counters::Counters;
use landfall_ebpf::frontends::Frontends;
use landfall_ebpf::loader::Loaded;
use landfall_ebpf::peers::{Peers, Reach};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::liveness::passage::Family;
use super::liveness::road::{RoadReport, SharedRoadReport};
use super::membership;
use super::moved;

pub use collection::{FlowReport, Flows};
pub use uplinks::{Attach, Mode, UplinkReport};

/// How often what is there is compared with the plan though nothing changed.
const RECONCILE: Duration = Duration::from_secs(30);

/// What the effect needs to know of the settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub node: NodeName,
    /// Where to attach ingress.
    pub attach: Attach,
    /// How to reach other nodes.
    pub mode: Mode,
    /// Interfaces to attach to by regular expression; empty means every uplink.
    pub interfaces: Vec<regex::Regex>,
    /// The cgroup of local clients; nothing leaves sockets alone.
    pub cgroup: Option<PathBuf>,
}

/// What the effect is told.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The service table; nothing before the first plan.
    pub table: watch::Receiver<Option<Arc<ServiceTable>>>,
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// Other nodes' interfaces, as they publish them; nothing before the lease store was read.
    pub peers: watch::Receiver<membership::Peers>,
    /// What is known against roads to other nodes.
    pub roads: watch::Receiver<SharedRoadReport>,
}

/// What the effect tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatapathReport {
    /// The table was brought about once.
    pub programmed: bool,
    /// Interfaces with what is attached to them.
    pub uplinks: Vec<UplinkReport>,
    /// Frontends that were refused, and why.
    pub refused: BTreeMap<FrontendKey, Refusal>,
    /// What failed otherwise, such as the socket programs.
    pub problems: BTreeSet<String>,
    /// How each other node is reached: `l2-dsr`, `snat` or `unreachable`.
    pub reached: BTreeMap<NodeName, &'static str>,
    /// Where packets with clients' addresses do not get through.
    pub filtered: BTreeSet<Filtered>,
    /// Fill of maps: name, entries, room.
    pub fills: Vec<(&'static str, u64, u64)>,
}

/// A frontend that the kernel does not have as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The Service it belongs to.
    pub service: ServiceName,
    /// Why, and what to do.
    pub problem: String,
}

/// A node to which packets with clients' addresses do not get through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filtered {
    /// The node.
    pub node: NodeName,
    /// This node's interface on the LAN that they share.
    pub interface: String,
    /// The version of IP.
    pub family: Family,
    /// How the node is reached nevertheless.
    pub reached: &'static str,
}

/// The effect's state. Everything in the kernel but flows and announcements is written by this one owner.
pub struct Datapath {
    loaded: Loaded,
    frontends: Arc<Mutex<Frontends>>,
    peers: Peers,
    options: Options,
    uplinks: uplinks::Uplinks,
    applied: HashMap<FrontendKey, Arc<Frontend>>,
    /// Peers and own addresses that `applied` was made with; a change makes all specs anew.
    applied_with: Option<table::Surroundings>,
    settled: bool,
    report: DatapathReport,
    publish: watch::Sender<DatapathReport>,
    flows: Arc<Flows>,
    viewed: moved::Viewed,
}

/// What others are given of the data path.
pub struct Shared {
    /// Verdict counters.
    pub counters: Counters,
    /// Flows, for their collector and those who list them.
    pub flows: Arc<Flows>,
    /// What the effect tells.
    pub report: watch::Receiver<DatapathReport>,
    /// The service table, for the exchange of moved flows.
    pub frontends: Arc<Mutex<Frontends>>,
    /// Flows that end here, for the same.
    pub local: LocalFlows,
    /// Which tables are in force, for the same.
    pub views: moved::Views,
}

impl Datapath {
    /// Takes the loaded data path over, and hands out what others use of it.
    ///
    /// # Errors
    /// The kernel's, while maps are read.
    pub fn new(mut loaded: Loaded, options: Options) -> anyhow::Result<(Self, Shared)> {
        let counters = Counters::take(&mut loaded);
        let flows = Arc::new(Flows::take(&mut loaded)?);
        let local = LocalFlows::open(&loaded)?;
        let frontends = Arc::new(Mutex::new(Frontends::take(&mut loaded)?));
        let (viewed, views) = moved::Viewed::new()?;
        let peers = Peers::take(&mut loaded)?;
        let (publish, reports) = watch::channel(DatapathReport::default());
        let datapath = Self {
            loaded,
            frontends: Arc::clone(&frontends),
            peers,
            options,
            uplinks: uplinks::Uplinks::default(),
            applied: HashMap::new(),
            applied_with: None,
            settled: false,
            report: DatapathReport::default(),
            publish,
            flows: Arc::clone(&flows),
            viewed,
        };
        let shared = Shared {
            counters,
            flows,
            report: reports,
            frontends,
            local,
            views,
        };
        Ok((datapath, shared))
    }

    /// Runs until cancelled. Blocks; to be called on a thread of its own.
    pub fn run(
        mut self,
        runtime: &tokio::runtime::Handle,
        mut inputs: Inputs,
        cancel: &CancellationToken,
    ) {
        self.attach_sockets();
        loop {
            let links = inputs.links.borrow_and_update().clone();
            let peers = inputs.peers.borrow_and_update().clone();
            let table = inputs.table.borrow_and_update().clone();
            let roads = inputs.roads.borrow_and_update().clone();
            self.bring_about(&links, peers.as_deref(), table.as_deref(), &roads);
            let go_on = runtime.block_on(async {
                tokio::select! {
                    () = cancel.cancelled() => false,
                    changed = inputs.table.changed() => changed.is_ok(),
                    changed = inputs.links.changed() => changed.is_ok(),
                    changed = inputs.peers.changed() => changed.is_ok(),
                    // Its thread ends first when the agent stops, and has said its last word then.
                    Ok(()) = inputs.roads.changed() => true,
                    () = tokio::time::sleep(RECONCILE) => true,
                }
            });
            if !go_on {
                return;
            }
        }
    }

    /// The service table, held for one entry at a time: moved flows must not wait for ten thousand frontends.
    fn frontends(&self) -> MutexGuard<'_, Frontends> {
        self.frontends.lock().expect("no holder panics")
    }

    fn attach_sockets(&mut self) {
        let Some(cgroup) = self.options.cgroup.clone() else {
            return;
        };
        match self.loaded.attach_sockets(&cgroup) {
            Ok(()) => info!(cgroup = %cgroup.display(), "socket programs attached"),
            Err(problem) => {
                let problem = format!("{:#}", anyhow::Error::new(problem));
                error!(%problem, "local clients are not served");
                self.report.problems.insert(problem);
            }
        }
    }

    fn bring_about(
        &mut self,
        links: &[Link],
        peers: Option<&BTreeMap<NodeName, Vec<Link>>>,
        table: Option<&ServiceTable>,
        roads: &RoadReport,
    ) {
        self.uplinks
            .reconcile(&mut self.loaded, &mut self.peers, &self.options, links);
        self.report.uplinks = self.uplinks.report();
        if let (Some(peers), Some(table)) = (peers, table) {
            let surroundings = self.surroundings(peers, links, roads);
            let roads = uplinks::roads(&surroundings.nodes, links, peers);
            let print = table::fingerprint(table, &self.options.node, &surroundings);
            self.apply(table, surroundings);
            self.retire_predecessors();
            let change = self.frontends().last_change();
            self.viewed.put(moved::View {
                print,
                change,
                peers: roads,
            });
        }
        self.report.fills = self.fills();
        self.publish.send_if_modified(|published| {
            let changed = *published != self.report;
            if changed {
                published.clone_from(&self.report);
            }
            changed
        });
    }

    /// Writes nodes and peers, and gives what a frontend's spec depends on besides itself.
    fn surroundings(
        &mut self,
        peers: &BTreeMap<NodeName, Vec<Link>>,
        links: &[Link],
        roads: &RoadReport,
    ) -> table::Surroundings {
        let attached = self.uplinks.attached();
        let mut reached = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        let mut macs = HashMap::new();
        let mut filtered = BTreeSet::new();
        for (name, theirs) in peers.iter().filter(|(name, _)| **name != self.options.node) {
            let reach = uplinks::reach(self.options.mode, &attached, links, theirs, roads);
            match self.peers.index(name.as_str(), reach) {
                Ok(index) => {
                    macs.extend(
                        theirs
                            .iter()
                            .filter_map(|link| Some((link.mac?.0, u32::from(index)))),
                    );
                    let how = match reach {
                        Reach::L2Dsr { .. } => "l2-dsr",
                        Reach::Snat => "snat",
                        Reach::Unreachable => "unreachable",
                    };
                    reached.insert(name.clone(), how);
                    filtered.extend(filtered_on(roads, links, name, theirs, how));
                    nodes.insert(name.clone(), (index, reach));
                }
                Err(problem) => {
                    let problem = format!("{:#}", anyhow::Error::new(problem));
                    if self.report.problems.insert(problem.clone()) {
                        error!(%problem, "a node cannot be reached by the data path");
                    }
                }
            }
        }
        if let Err(error) = self.peers.set_macs(&macs) {
            warn!(%error, "the peers' table was not written whole; it will be tried again");
        }
        self.report.reached = reached;
        // Whoever wants translation everywhere is not told that it is needed.
        self.report.filtered = if self.options.mode == Mode::Snat {
            BTreeSet::new()
        } else {
            filtered
        };
        if nodes.values().any(|(_, reach)| *reach == Reach::Snat) {
            self.uplinks.back(&mut self.loaded);
        }
        let sources = links
            .iter()
            .filter(|link| attached.contains(&link.index))
            .flat_map(|link| &link.addresses);
        let sources = sources.map(|held| Address::from(held.address)).collect();
        let set = self.frontends().set_own_addresses(&sources);
        if let Err(error) = set {
            warn!(%error, "answers to translated flows may be missed");
        }
        let own: BTreeSet<IpAddr> = links
            .iter()
            .chain(peers.values().flatten())
            .flat_map(|link| &link.addresses)
            .map(|held| held.address)
            .collect();
        table::Surroundings { nodes, own }
    }

    /// Where an agent with another layout was: everything is served by this one now, and what that one has left goes.
    fn retire_predecessors(&mut self) {
        if self.loaded.has_predecessors()
            && let Some(served) = self.uplinks.served()
        {
            self.loaded.retire_predecessors(&served);
        }
    }

    fn apply(&mut self, table: &ServiceTable, surroundings: table::Surroundings) {
        let now = Instant::now();
        let all = self.applied_with.as_ref() != Some(&surroundings);
        let mut written = 0_usize;
        let gone: Vec<FrontendKey> = self
            .applied
            .keys()
            .filter(|key| !table.frontends.contains_key(key))
            .copied()
            .collect();
        for key in gone {
            self.applied.remove(&key);
            let removed = self.frontends().remove(&table::key(&key), now);
            if let Err(error) = removed {
                warn!(frontend = %table::show(&key), %error, "a frontend was not removed; it will be tried again");
                self.applied_with = None;
            }
        }
        self.report
            .refused
            .retain(|key, _| table.frontends.contains_key(key));
        for (key, frontend) in &table.frontends {
            let same = self
                .applied
                .get(key)
                .is_some_and(|held| Arc::ptr_eq(held, frontend));
            if same && !all {
                continue;
            }
            let spec = table::spec(key, frontend, &self.options.node, &surroundings);
            let put = self.frontends().put(table::key(key), &spec, now);
            match put {
                Ok(()) => {
                    written += 1;
                    self.report.refused.remove(key);
                    self.applied.insert(*key, Arc::clone(frontend));
                }
                Err(problem) => {
                    let refusal = Refusal {
                        service: frontend.service.clone(),
                        problem: format!("{:#}", anyhow::Error::new(problem)),
                    };
                    if self.report.refused.get(key) != Some(&refusal) {
                        error!(frontend = %table::show(key), service = %refusal.service, problem = %refusal.problem, "a frontend was refused");
                        self.report.refused.insert(*key, refusal);
                    }
                }
            }
        }
        self.applied_with = Some(surroundings);
        self.flows
            .set_live(table::live_endpoints(table, &self.options.node));
        if !self.settled {
            self.settled = true;
            let settled = self.frontends().settle(now);
            if let Err(error) = settled {
                warn!(%error, "left-overs of an earlier daemon were not all removed");
            }
        }
        if written > 0 || !self.report.programmed {
            info!(frontends = table.frontends.len(), written, took = ?now.elapsed(), "service table programmed");
        }
        self.report.programmed = true;
    }

    fn fills(&self) -> Vec<(&'static str, u64, u64)> {
        let frontends = self.frontends();
        let [backends, rows] = frontends.ranges_fill();
        [
            ("frontends", frontends.fill()),
            ("backends", backends),
            ("lookup_rows", rows),
        ]
        .map(|(name, (used, room))| (name, u64::from(used), u64::from(room)))
        .to_vec()
    }
}

/// What is known of filters on the roads to one node.
fn filtered_on(
    roads: &RoadReport,
    links: &[Link],
    node: &NodeName,
    theirs: &[Link],
    reached: &'static str,
) -> Vec<Filtered> {
    let to_node = roads.filtered.iter().filter(|(_, peer, _)| {
        let mut macs = theirs.iter().filter_map(|link| link.mac);
        macs.any(|mac| mac == *peer)
    });
    let filtered = to_node.filter_map(|(index, _, family)| {
        let own = links.iter().find(|link| link.index == *index)?;
        Some(Filtered {
            node: node.clone(),
            interface: own.name.to_string(),
            family: *family,
            reached,
        })
    });
    filtered.collect()
}
