//! The rooms of a running agent, joined: sources, reconciler, effects.
//!
//! What each publishes is what the next one is given; the channels are made here and nowhere else. Threads of their own
//! (election, data path, moved flows, socket task, liveness, the record of assignments) are stopped by the token of their stage and
//! waited for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use landfall_arp_responder::takeover::AnnounceTiming;
use landfall_arp_responder::{AnswerCounts, Deadline, ResponderTask, Timing};
use landfall_core::election::{BootId, Content, Identity, Incarnation, LeaseName, Record, Term};
use landfall_core::model::{AnnounceReport, NodeName, SourceId};
use landfall_core::node::no_key;
use landfall_core::plan::PlanSettings;
use landfall_core::quorum::record::MemberRecord;
use landfall_core::quorum::{self as core_quorum, Durable, Quorum};
use landfall_ebpf::announce::{Announcements, DeadlineCell};
use landfall_ebpf::attach::Hook;
use landfall_ebpf::counters::Counters;
use landfall_ebpf::loader::{self, Loaded};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::{AttachMode, ForwardMode, Responder, Settings};
use crate::effect::announce::{self, Announce, AnnouncedTable, KernelDeadline};
use crate::effect::assignments::AssignmentFiles;
use crate::effect::datapath::{self, Attach, Datapath, DatapathReport, Flows, Mode};
use crate::effect::history::History;
use crate::effect::lease::{
    FileLeases, LeaseDirectory, LeaseHandle, LeaseMemory, LeaseTask, clock,
};
use crate::effect::moved::{self, MovedReport};
use crate::effect::quorum::disk::Disk;
use crate::effect::quorum::gate::Gate;
use crate::effect::quorum::key::Secret;
use crate::effect::quorum::link;
use crate::effect::quorum::task::QuorumHandle;
use crate::effect::{liveness, membership, quorum};
use crate::reconciler::{self, Published, Reconciler};
use crate::source::{Batch, ClassPolicy, links, manifest};

use super::drain::DrainMark;
use super::stage::Stage;

/// Batches that wait for the reconciler; sources wait beyond that.
const BATCHES: usize = 64;
/// Events of the socket task that wait for the announce effect.
const SOCKET_EVENTS: usize = 1024;

/// What the rest of the agent looks at, and the stages in the order in which they are stopped.
pub(super) struct Rooms {
    pub(super) published: Published,
    pub(super) leases: LeaseHandle,
    pub(super) datapath: watch::Receiver<DatapathReport>,
    pub(super) announced: watch::Receiver<Arc<AnnounceReport>>,
    pub(super) table: AnnouncedTable,
    pub(super) socket_answers: watch::Receiver<AnswerCounts>,
    pub(super) counters: Arc<Counters>,
    pub(super) flows: Arc<Flows>,
    pub(super) moved: watch::Receiver<MovedReport>,
    pub(super) mark: DrainMark,
    pub(super) history: History,
    pub(super) quorum: QuorumHandle,
    pub(super) members: watch::Receiver<Option<MemberRecord>>,
    sources: Stage,
    effects: Stage,
    lease_task: LeaseTask,
    responder: ResponderTask,
    threads: Vec<JoinHandle<()>>,
    /// Keeps the reconciler's queue open while sources are gone and effects still want its plan.
    batches: mpsc::Sender<Batch>,
}

impl Rooms {
    /// Starts everything, from the kernel up. Nothing is announced before the first complete plan.
    ///
    /// # Errors
    /// Something without which nothing works cannot be had: the data path's maps, the lease directory, netlink.
    pub(super) fn start(
        settings: &Settings,
        failed: &tokio_util::sync::CancellationToken,
    ) -> anyhow::Result<Self> {
        let node = NodeName::new(settings.node.name.as_str());
        let sources = Stage::new("sources", failed);
        let effects = Stage::new("effects", failed);
        let runtime = tokio::runtime::Handle::current();
        let mut threads = Vec::new();

        let mut loaded =
            Loaded::open(&options(settings)).context("the data path cannot be loaded")?;
        let announcements = Announcements::take(&mut loaded);
        let cell = DeadlineCell::take(&mut loaded);
        let (datapath, path) = Datapath::new(loaded, datapath_options(settings, &node)?)?;
        let (flows, datapath_report) = (path.flows, path.report);

        let deadline = Deadline::new();
        let lease_dir = settings.state.lease_dir.clone();
        let identity = identity(&node)?;
        let secret = Secret::read(&settings.l2.key_file)?;
        let disk = Disk::new(&settings.state.dir);
        let durable = disk
            .load()
            .context("what this node has refused is not known")?;
        let memory = LeaseMemory::new(&settings.state.dir, node.clone(), &lease_dir);
        let remembers = memory.load().is_some();
        if secret.is_none() {
            refuse_without_key(&lease_dir, &node, durable.as_ref(), remembers)?;
        }
        let gate = Arc::new(Gate::new(KernelDeadline::new(cell, deadline.clone())));
        let joined = Arc::new(OnceLock::new());
        let (link, members) = link::link(gate.clone(), joined.clone(), secret.is_some());
        let history = History::default();
        let (lease_task, leases) = LeaseTask::start(
            identity.clone(),
            settings.l2.election(),
            link,
            history.clone(),
            memory,
            |events| {
                let opened = if remembers {
                    FileLeases::reopen(&lease_dir, events)
                } else {
                    FileLeases::open(&lease_dir, events)
                };
                opened.map_err(anyhow::Error::new)
            },
        )
        .context("leases cannot be kept")?;

        let mark = DrainMark::new(&settings.state.dir);
        if mark.is_set() {
            warn!("this node is drained and announces nothing; `landfall undrain` ends that");
            leases.drain(true).context("the election has ended")?;
        }

        let sources_wanted = [SourceId::Manifests, SourceId::Links].into();
        let plan_settings = PlanSettings {
            node: node.clone(),
            endpoints: Default::default(),
            sources: sources_wanted,
        };
        let (reconciler, published) = Reconciler::new(plan_settings);
        let (membership, of_peers) = membership::MembershipTask::new(node.clone(), leases.clone());
        let peers = of_peers.peers;

        let quorum = quorum::task::Inputs {
            machine: Quorum::new(
                quorum_identity(&identity),
                settings.l2.quorum(),
                durable,
                clock::now(),
            ),
            disk,
            key: secret.as_ref().map(|secret| secret.key("heartbeat")),
            port: settings.l2.heartbeat_port,
            gate,
            links: published.links.clone(),
            peers: peers.clone(),
        };
        let notify = leases.clone();
        let (thread, quorum) =
            quorum::task::spawn(quorum, move |notice| notify.notice(notice), effects.token())
                .context("heartbeats cannot be had")?;
        threads.push(thread);
        // The first and only one to fill it.
        let _ = joined.set(quorum.clone());
        leases.ground_changed();

        let alive = liveness::Inputs {
            node: node.clone(),
            links: published.links.clone(),
            peers: peers.clone(),
            vips: published.vips.clone(),
        };
        let (thread, alive) =
            liveness::spawn(alive, effects.token()).context("nodes cannot be probed")?;
        threads.push(thread);

        let inputs = moved::Inputs {
            node: node.clone(),
            seal: moved::Seal::of(secret.as_ref()),
            frontends: path.frontends,
            local: path.local,
            flows: Arc::clone(&flows),
            dead: alive.dead.clone(),
        };
        let (thread, moved) = moved::spawn(inputs, path.views, effects.token())
            .context("nodes cannot be told of moved flows")?;
        threads.push(thread);

        let files = AssignmentFiles::open(
            &lease_dir.join("assignments"),
            &settings.state.dir,
            remembers,
        )
        .context("assignments cannot be kept")?;
        let (assigned, assignments) = watch::channel(None);
        let (follower, publish, token) = (files.clone(), assigned.clone(), effects.token());
        threads.push(spawn_thread("landfall-assign", move || {
            follower.follow(&publish, &token)
        })?);
        effects.spawn(
            "remembered assignments",
            files
                .clone()
                .recall_in_time(assigned.clone(), effects.token()),
        );
        effects.spawn(
            "assignments",
            files.write_proposals(published.proposal.clone(), assigned, effects.token()),
        );

        let inputs = datapath::Inputs {
            table: published.table.clone(),
            links: published.links.clone(),
            peers: peers.clone(),
            roads: alive.roads,
        };
        let token = effects.token();
        threads.push(spawn_thread("landfall-path", move || {
            datapath.run(&runtime, inputs, &token)
        })?);
        effects.spawn(
            "connection tracking",
            Arc::clone(&flows).collect(effects.token()),
        );

        let (announce, told) = Announce::new(
            announcements,
            responder(settings.l2.responder),
            leases.clone(),
        );
        let (events, socket_events) = mpsc::channel(SOCKET_EVENTS);
        let responder = ResponderTask::spawn(
            timing(settings),
            told.desired,
            deadline,
            events,
            effects.token(),
        )
        .context("the ARP socket task cannot be started")?;
        let inputs = announce::Inputs {
            leases: leases.state(),
            vips: published.vips.clone(),
            links: published.links.clone(),
            peers: peers.clone(),
            datapath: datapath_report.clone(),
            events: socket_events,
        };
        effects.spawn("announce", announce.run(inputs, effects.token()));

        let inputs = membership::Inputs {
            links: published.links.clone(),
            desired: published.desired.clone(),
            leases: leases.state(),
            resigned: told.resigned,
            conflicts: told.conflicts,
        };
        effects.spawn("membership", membership.run(inputs, effects.token()));

        let (batches, waiting) = mpsc::channel(BATCHES);
        let inputs = reconciler::Inputs {
            batches: waiting,
            peers,
            dead: alive.dead,
            assignments,
            allocating: of_peers.allocating,
            conflicts: of_peers.conflicts,
            leases: leases.state(),
            announced: told.reports.clone(),
        };
        sources.spawn("reconciler", reconciler.run(inputs, effects.token()));
        let link_source = links::open().context("the kernel's interfaces cannot be followed")?;
        sources.spawn(
            "interfaces",
            link_source.run(batches.clone(), sources.token()),
        );
        let manifests = manifest::ManifestSettings {
            directory: settings.source.manifests_dir.clone(),
            state: settings.state.dir.clone(),
            class: ClassPolicy {
                without_class: settings.services.without_class,
                cilium: settings.services.cilium,
            },
        };
        sources.spawn(
            "manifests",
            manifest::run(manifests, batches.clone(), sources.token()),
        );

        Ok(Self {
            published,
            leases,
            datapath: datapath_report,
            announced: told.reports,
            table: told.table,
            socket_answers: responder.answers(),
            counters: Arc::new(path.counters),
            flows,
            moved,
            mark,
            history,
            quorum,
            members,
            sources,
            effects,
            lease_task,
            responder,
            threads,
            batches,
        })
    }

    /// Stops in order: sources first, so that nothing new is begun; then leases are handed over while the effects still
    /// carry the hand-over out; then the effects. The data path stays.
    pub(super) async fn stop(self, patience: Duration) {
        self.sources.stop_intake();
        // An election that has ended by itself has nothing to hand over.
        let _ = self.leases.stop();
        let mut state = self.leases.state();
        let handed_over =
            tokio::time::timeout(patience, state.wait_for(|state| state.stopped)).await;
        match handed_over {
            Ok(Ok(_)) => info!("leases handed over"),
            Ok(Err(_)) => warn!("the election had ended before it could hand over"),
            Err(_) => warn!(
                ?patience,
                "leases were not handed over in time; they run out"
            ),
        }
        self.effects.stop(patience).await;
        self.sources.stop(patience).await;
        drop((self.leases, self.published, self.batches));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if thread.join().is_err() {
                    warn!("a thread ended in a panic");
                }
            }
            if self.lease_task.join().is_err() {
                warn!("the election's thread ended in a panic");
            }
        });
        if tokio::time::timeout(patience, joined).await.is_err() {
            warn!(?patience, "threads do not stop in time; going on");
        }
        self.responder.ended().await;
    }
}

fn spawn_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .with_context(|| format!("thread {name} cannot be started"))
}

fn options(settings: &Settings) -> loader::Options {
    let path = &settings.datapath;
    loader::Options {
        bpffs: path.bpffs.clone(),
        max_frontends: path.max_frontends,
        max_backends: path.max_backends,
        max_rows: path.max_rows,
        max_connections: path.max_connections,
    }
}

fn datapath_options(settings: &Settings, node: &NodeName) -> anyhow::Result<datapath::Options> {
    let path = &settings.datapath;
    let interfaces = path
        .interfaces
        .iter()
        .map(|text| regex::Regex::new(text))
        .collect::<Result<_, _>>();
    Ok(datapath::Options {
        node: node.clone(),
        attach: match path.attach {
            AttachMode::Auto => Attach::Auto,
            AttachMode::Xdp => Attach::Only(Hook::XdpNative),
            AttachMode::XdpGeneric => Attach::Only(Hook::XdpGeneric),
            AttachMode::Tcx => Attach::Only(Hook::Tcx),
            AttachMode::Clsact => Attach::Only(Hook::Clsact),
        },
        mode: match path.mode {
            ForwardMode::Auto => Mode::Auto,
            ForwardMode::L2Dsr => Mode::L2Dsr,
            ForwardMode::Snat => Mode::Snat,
        },
        interfaces: interfaces
            .context("datapath.interfaces holds what is no regular expression")?,
        cgroup: cgroup(&path.cgroup_root),
    })
}

/// The cgroup of local clients: as set, or the root of the cgroup v2 mount.
fn cgroup(setting: &str) -> Option<PathBuf> {
    if setting != "auto" {
        return Some(PathBuf::from(setting));
    }
    let found = fs::read_to_string("/proc/self/mounts")
        .ok()
        .and_then(|mounts| {
            let mut mounts = mounts
                .lines()
                .map(|line| line.split(' ').collect::<Vec<_>>());
            mounts
                .find(|fields| fields.get(2) == Some(&"cgroup2"))
                .map(|fields| PathBuf::from(fields[1]))
        });
    if found.is_none() {
        warn!("no cgroup v2 file system is mounted; this node's own clients do not reach services");
    }
    found
}

fn responder(setting: Responder) -> announce::Responder {
    match setting {
        Responder::Auto => announce::Responder::Auto,
        Responder::Kernel => announce::Responder::Kernel,
        Responder::Socket => announce::Responder::Socket,
    }
}

fn timing(settings: &Settings) -> Timing {
    let refresh = settings.l2.announce_interval;
    Timing {
        announce: AnnounceTiming {
            refresh,
            ..AnnounceTiming::default()
        },
        ..Timing::default()
    }
}

fn quorum_identity(me: &Identity) -> core_quorum::Identity {
    core_quorum::Identity {
        node: me.node.clone(),
        incarnation: me.incarnation,
    }
}

/// Refuses to start beside other nodes without the key that heartbeats need. A store that was there before may be away now:
/// then what this node has on disk says who the others are, and the election's thread when the store is back.
fn refuse_without_key(
    lease_dir: &Path,
    node: &NodeName,
    durable: Option<&Durable>,
    remembers: bool,
) -> anyhow::Result<()> {
    let known = durable.and_then(|durable| durable.record.as_ref());
    let others = known.and_then(|record| record.members.iter().find(|member| *member != node));
    match others {
        Some(other) if remembers => anyhow::bail!(no_key(other)),
        None if remembers => return Ok(()),
        _ => {}
    }
    let directory = LeaseDirectory::open(lease_dir)?;
    let Some((_, Content::Record(Record::Members(record)))) =
        directory.highest(&LeaseName::members())?
    else {
        return Ok(());
    };
    match record.members.iter().find(|member| *member != node) {
        Some(other) => anyhow::bail!(no_key(other)),
        None => Ok(()),
    }
}

fn identity(node: &NodeName) -> anyhow::Result<Identity> {
    let boot = read_uuid(Path::new("/proc/sys/kernel/random/boot_id"))?;
    let incarnation = read_uuid(Path::new("/proc/sys/kernel/random/uuid"))?;
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Identity {
        node: node.clone(),
        incarnation: Incarnation(incarnation),
        boot: BootId(boot),
        first_term: Term(since_epoch.as_secs()),
    })
}

fn read_uuid(path: &Path) -> anyhow::Result<u128> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16)
        .with_context(|| format!("{} does not hold a UUID", path.display()))
}
