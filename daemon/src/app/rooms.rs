//! The rooms of a running agent, joined: sources, reconciler, effects.
//!
//! What each publishes is what the next one is given; the channels are made here and nowhere else. Threads of their own
//! (election, data path, moved flows, socket task, liveness) are stopped by the token of their stage and
//! waited for.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use landfall_arp_responder::{AnswerCounts, Deadline, ResponderTask};
use landfall_core::election::{BootId, Identity, Incarnation, Term};
use landfall_core::model::{AnnounceReport, NodeName, SourceId};
use landfall_core::plan::PlanSettings;
use landfall_core::quorum::record::MemberRecord;
use landfall_core::quorum::{self as core_quorum, Quorum};
use landfall_ebpf::announce::{Announcements, DeadlineCell};
use landfall_ebpf::counters::Counters;
use landfall_ebpf::loader::Loaded;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::Settings;
use crate::effect::announce::{self, Announce, AnnouncedTable, KernelDeadline};
use crate::effect::datapath::{self, Datapath, DatapathReport, Flows};
use crate::effect::history::History;
use crate::effect::lease::{LeaseHandle, LeaseMemory, LeaseTask, clock};
use crate::effect::moved::{self, MovedReport};
use crate::effect::quorum::disk::Disk;
use crate::effect::quorum::gate::Gate;
use crate::effect::quorum::link;
use crate::effect::quorum::task::QuorumHandle;
use crate::effect::status::StatusReport;
use crate::effect::{liveness, membership, quorum};
use crate::reconciler::{self, Published, Reconciler};
use crate::source::{Batch, links};

use super::drain::DrainMark;
use super::home::{self, Home};
use super::options;
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
    /// How writing the status of objects goes, where objects have one.
    pub(super) status: Option<watch::Receiver<StatusReport>>,
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
    pub(super) async fn start(
        settings: &Settings,
        home: &Home,
        failed: &tokio_util::sync::CancellationToken,
    ) -> anyhow::Result<Self> {
        let node = NodeName::new(settings.node.name.as_str());
        let sources = Stage::new("sources", failed);
        let effects = Stage::new("effects", failed);
        let runtime = tokio::runtime::Handle::current();
        let mut threads = Vec::new();

        let mut loaded =
            Loaded::open(&options::loader(settings)).context("the data path cannot be loaded")?;
        let announcements = Announcements::take(&mut loaded);
        let cell = DeadlineCell::take(&mut loaded);
        let (datapath, path) = Datapath::new(loaded, options::datapath(settings, &node)?)?;
        let (flows, datapath_report) = (path.flows, path.report);

        let deadline = Deadline::new();
        let identity = identity(&node)?;
        let secret = home.secret(settings, &effects).await?;
        let disk = Disk::new(&settings.state.dir);
        let durable = disk
            .load()
            .context("what this node has refused is not known")?;
        let store = home.lease_store(settings);
        let memory = LeaseMemory::new(&settings.state.dir, node.clone(), &store);
        let remembers = memory.load().is_some();
        if secret.is_none() {
            home::refuse_without_key(&store, &node, durable.as_ref(), remembers)?;
        }
        let gate = Arc::new(Gate::new(KernelDeadline::new(cell, deadline.clone())));
        let joined = Arc::new(OnceLock::new());
        let (link, members) = link::link(gate.clone(), joined.clone(), secret.is_some());
        let history = History::default();
        let election = (identity.clone(), settings.l2.election());
        let memory = (memory, remembers);
        let kept = home.keep_leases(settings, election, link, history.clone(), memory);
        let (lease_task, leases) = kept.context("leases cannot be kept")?;

        let mark = DrainMark::new(&settings.state.dir);
        if mark.is_set() {
            warn!("this node is drained and announces nothing; `landfall undrain` ends that");
            leases.drain(true).context("the election has ended")?;
        }

        let sources_wanted = [home.source(), SourceId::Links].into();
        let plan_settings = PlanSettings {
            node: node.clone(),
            endpoints: home.endpoints(),
            sources: sources_wanted,
        };
        let (reconciler, published) = Reconciler::new(plan_settings);
        let (membership, of_peers) =
            membership::MembershipTask::new(node.clone(), leases.clone(), home.elects_allocator());
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

        let store = home.assignments(settings, &node, remembers)?;
        let (full, left_out) = watch::channel(Arc::default());
        let (assigned, assignments) = watch::channel(None);
        effects.spawn(
            "the record of assignments",
            store.clone().follow(assigned.clone(), effects.token()),
        );
        effects.spawn(
            "remembered assignments",
            store
                .clone()
                .recall_in_time(assigned.clone(), effects.token()),
        );
        effects.spawn(
            "assignments",
            store.write_proposals(
                published.proposal.clone(),
                (assigned, full),
                effects.token(),
            ),
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
            options::responder(settings.l2.responder),
            leases.clone(),
        );
        let (events, socket_events) = mpsc::channel(SOCKET_EVENTS);
        let responder = ResponderTask::spawn(
            options::timing(settings),
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

        let allocating = home.allocating(settings, &node, of_peers.allocating, &effects);
        let status = home.spawn_status(&node, &published, &allocating, &effects);
        let (batches, waiting) = mpsc::channel(BATCHES);
        let inputs = reconciler::Inputs {
            batches: waiting,
            peers,
            dead: alive.dead,
            assignments,
            left_out,
            allocating,
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
        home.spawn_source(settings, &sources, batches.clone());

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
            status,
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

fn quorum_identity(me: &Identity) -> core_quorum::Identity {
    core_quorum::Identity {
        node: me.node.clone(),
        incarnation: me.incarnation,
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
