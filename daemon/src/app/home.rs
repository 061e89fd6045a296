//! Where objects come from, and where what all nodes share is kept: leases, the record of assignments, the key.
//!
//! The two homes have the same rooms between them; only this module and `rooms` tell them apart.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use landfall_core::election::{self, Content, Identity, LeaseName, Record};
use landfall_core::model::{NodeName, SourceId};
use landfall_core::node::{Rights, no_key};
use landfall_core::plan::endpoints::EndpointRule;
use landfall_core::quorum::Durable;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::stage::Stage;
use crate::api::snapshot::{self, Complaint, Level};
use crate::config::{Settings, SourceKind};
use crate::effect::allocator;
use crate::effect::assignments::{AssignmentFiles, AssignmentObject, AssignmentStore};
use crate::effect::events;
use crate::effect::history::History;
use crate::effect::lease::{
    ApiLeases, FileLeases, LeaseDirectory, LeaseHandle, LeaseMemory, LeaseTask,
};
use crate::effect::quorum::key::{Secret, shared_secret};
use crate::effect::status::{self, StatusReport, StatusTask};
use crate::kubernetes::{self, AccessError, ApiServer};
use crate::reconciler::Published;
use crate::source::kubernetes::{KubernetesSettings, SourceState};
use crate::source::kubernetes_status::{LiveBoard, LiveStatuses};
use crate::source::manifest::{self, ManifestSettings};
use crate::source::{self, Batch, ClassPolicy};

/// One of the two.
#[derive(Clone)]
pub(super) enum Home {
    /// A directory of manifests, and a directory of leases that the nodes share.
    Files,
    /// The Kubernetes API.
    Kubernetes(ApiHome),
}

/// The API server, and what its source tells beside objects: how reading goes, and what each object says of itself.
#[derive(Clone)]
pub(super) struct ApiHome {
    server: ApiServer,
    state: watch::Sender<SourceState>,
    live: LiveBoard,
    statuses: watch::Receiver<LiveStatuses>,
}

/// Notices that wait for the task of events; one that finds no place is dropped.
const NOTICES: usize = 64;

impl Home {
    /// The home that settings and environment name. Does not connect.
    ///
    /// # Errors
    /// The API server is wanted, and what is written down about it cannot be used.
    pub(super) async fn find(settings: &Settings) -> anyhow::Result<Self> {
        let variable = std::env::var_os("KUBECONFIG");
        let setting = &settings.kubernetes.kubeconfig;
        let access = kubernetes::access(setting, variable.as_deref());
        let access = match (settings.source.kind, access) {
            (SourceKind::Manifests, _) | (SourceKind::Auto, None) => return Ok(Self::Files),
            (SourceKind::Kubernetes, None) => bail!(AccessError::None),
            (SourceKind::Kubernetes | SourceKind::Auto, Some(access)) => access,
        };
        let server = kubernetes::server(&access).await.context("source.kind")?;
        let (state, _) = watch::channel(SourceState::default());
        let (live, statuses) = LiveBoard::new();
        Ok(Self::Kubernetes(ApiHome {
            server,
            state,
            live,
            statuses,
        }))
    }

    /// The source that brings objects.
    pub(super) fn source(&self) -> SourceId {
        match self {
            Self::Files => SourceId::Manifests,
            Self::Kubernetes(_) => SourceId::Kubernetes,
        }
    }

    /// What Services' endpoints are made from: of Pods the API's source brings none.
    pub(super) fn endpoints(&self) -> EndpointRule {
        match self {
            Self::Files => EndpointRule::default(),
            Self::Kubernetes(_) => EndpointRule::SlicesOnly,
        }
    }

    /// The source's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Files => "manifests",
            Self::Kubernetes(_) => "kubernetes",
        }
    }

    /// Where the source's objects are.
    pub(super) fn place(&self, settings: &Settings) -> String {
        match self {
            Self::Files => settings.source.manifests_dir.display().to_string(),
            Self::Kubernetes(home) => home.server.url.clone(),
        }
    }

    /// What to do where the lease store is of no use.
    pub(super) fn leases_remedy(&self) -> &'static str {
        match self {
            Self::Files => "make the lease directory usable",
            Self::Kubernetes(_) => {
                "make the API server reachable, and let the agents' role read and write Leases"
            }
        }
    }

    /// What the lease store is called, so that what is remembered of one is not taken for another's.
    pub(super) fn lease_store(&self, settings: &Settings) -> PathBuf {
        match self {
            Self::Files => settings.state.lease_dir.clone(),
            // Not by its URL: a cluster may be reached by several, and by others tomorrow.
            Self::Kubernetes(_) => {
                PathBuf::from(format!("kubernetes:{}", settings.kubernetes.namespace))
            }
        }
    }

    /// The key that the nodes share; nothing where the node runs alone. One that the API server has yet to confirm is asked
    /// for again by a task of `stage`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn secret(
        &self,
        settings: &Settings,
        stage: &Stage,
    ) -> anyhow::Result<Option<Secret>> {
        let written = Secret::read(&settings.l2.key_file)?;
        let (Self::Kubernetes(ApiHome { server, .. }), None) = (self, &written) else {
            return Ok(written);
        };
        let (client, namespace) = (server.client.clone(), &settings.kubernetes.namespace);
        let shared = shared_secret(client, namespace, &settings.state.dir).await;
        let shared = shared.context("the key of heartbeats")?;
        if let Some(unconfirmed) = shared.unconfirmed {
            let token = stage.token();
            stage.spawn("the key of heartbeats", async move {
                token.run_until_cancelled(unconfirmed.confirm()).await;
                token.cancelled().await;
            });
        }
        Ok(Some(shared.secret))
    }

    /// Opens the lease store, and starts the election on it. With `remembers` there is something in the memory.
    ///
    /// # Errors
    /// The store cannot be opened, or a thread cannot be started.
    pub(super) fn keep_leases(
        &self,
        settings: &Settings,
        (identity, election): (Identity, election::Settings),
        rights: impl Rights<Ground: Send> + Send + 'static,
        history: History,
        (memory, remembers): (LeaseMemory, bool),
    ) -> anyhow::Result<(LeaseTask, LeaseHandle)> {
        let directory = &settings.state.lease_dir;
        match self {
            Self::Files => {
                LeaseTask::start(identity, election, rights, history, memory, |events| {
                    let opened = if remembers {
                        FileLeases::reopen(directory, events)
                    } else {
                        FileLeases::open(directory, events)
                    };
                    opened.map_err(anyhow::Error::new)
                })
            }
            Self::Kubernetes(ApiHome { server, .. }) => {
                LeaseTask::start(identity, election, rights, history, memory, |events| {
                    let (client, namespace) =
                        (server.client.clone(), &settings.kubernetes.namespace);
                    let opened = ApiLeases::open(client, namespace, &Handle::current(), events);
                    opened.map_err(anyhow::Error::new)
                })
            }
        }
    }

    /// The store of the record of assignments.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn assignments(
        &self,
        settings: &Settings,
        node: &NodeName,
        remembers: bool,
    ) -> anyhow::Result<AssignmentStore> {
        let state = &settings.state.dir;
        Ok(match self {
            Self::Files => {
                let directory = settings.state.lease_dir.join("assignments");
                let opened = AssignmentFiles::open(&directory, state, remembers);
                AssignmentStore::Files(opened.context("assignments cannot be kept")?)
            }
            Self::Kubernetes(ApiHome { server, .. }) => {
                AssignmentStore::Object(AssignmentObject::new(
                    server.client.clone(),
                    &settings.kubernetes.namespace,
                    "kubernetes",
                    state,
                    node.clone(),
                ))
            }
        })
    }

    /// Starts the source of objects.
    pub(super) fn spawn_source(
        &self,
        settings: &Settings,
        sources: &Stage,
        batches: mpsc::Sender<Batch>,
    ) {
        let state = settings.state.dir.clone();
        let class = ClassPolicy {
            without_class: settings.services.without_class,
            cilium: settings.services.cilium,
        };
        match self {
            Self::Files => {
                let manifests = ManifestSettings {
                    directory: settings.source.manifests_dir.clone(),
                    state,
                    class,
                };
                let run = manifest::run(manifests, batches, sources.token());
                sources.spawn("manifests", run);
            }
            Self::Kubernetes(ApiHome {
                server,
                state: told,
                live,
                ..
            }) => {
                let kubernetes = KubernetesSettings {
                    client: server.client.clone(),
                    server: server.url.clone(),
                    state,
                    class,
                    live: live.clone(),
                };
                let run =
                    source::kubernetes::run(kubernetes, batches, told.clone(), sources.token());
                sources.spawn("kubernetes", run);
            }
        }
    }

    /// The allocator is the holder of a lease of the election.
    pub(super) fn elects_allocator(&self) -> bool {
        matches!(self, Self::Files)
    }

    /// Whether this node allocates: by the `elected` of the lease election, or by an election of its own.
    pub(super) fn allocating(
        &self,
        settings: &Settings,
        node: &NodeName,
        elected: watch::Receiver<bool>,
        effects: &Stage,
    ) -> watch::Receiver<bool> {
        let Self::Kubernetes(ApiHome { server, .. }) = self else {
            return elected;
        };
        let (allocating, seen) = watch::channel(false);
        let run = allocator::run(
            server.client.clone(),
            settings.kubernetes.namespace.clone(),
            node.clone(),
            allocating,
            effects.token(),
        );
        effects.spawn("the allocator's election", run);
        seen
    }

    /// What keeps the source from being read at present.
    pub(super) fn complaints(&self) -> Option<Complaint> {
        let Self::Kubernetes(home) = self else {
            return None;
        };
        let state = home.state.borrow();
        let (kind, trouble) = state.trouble()?;
        Some(Complaint {
            origin: home.server.url.clone(),
            object: String::new(),
            field: String::new(),
            problem: format!(
                "{kind} objects cannot be read: {}; the last that was read stays in force",
                trouble.reason
            ),
            remedy: "make the API server reachable, and let the agents' role read them".to_owned(),
            severity: Level::Warning,
        })
    }

    /// How far each kind of the API's objects is read.
    pub(super) fn kinds(&self) -> Option<Vec<snapshot::WatchedKind>> {
        let Self::Kubernetes(home) = self else {
            return None;
        };
        let state = home.state.borrow();
        let kinds = state.kinds.iter().map(|(kind, it)| snapshot::WatchedKind {
            name: kind.to_string(),
            synced: it.is_synced(),
            objects: it.objects as u64,
            trouble: it.trouble.as_ref().map(|it| it.reason.clone()),
        });
        Some(kinds.collect())
    }

    /// Starts what writes status and Events to objects, where objects have them.
    pub(super) fn spawn_status(
        &self,
        node: &NodeName,
        published: &Published,
        allocating: &watch::Receiver<bool>,
        effects: &Stage,
    ) -> Option<watch::Receiver<StatusReport>> {
        let Self::Kubernetes(home) = self else {
            return None;
        };
        let (notices, noticed) = mpsc::channel(NOTICES);
        let (task, report) = StatusTask::new(home.server.client.clone(), notices);
        let inputs = status::Inputs {
            plan: published.plan.clone(),
            accounts: published.accounts.clone(),
            live: home.statuses.clone(),
            allocating: allocating.clone(),
        };
        effects.spawn("status", task.run(inputs, effects.token()));
        let inputs = events::Inputs {
            accounts: published.accounts.clone(),
            notices: noticed,
            live: home.statuses.clone(),
            allocating: allocating.clone(),
        };
        let client = home.server.client.clone();
        effects.spawn(
            "events",
            events::run(client, node.clone(), inputs, effects.token()),
        );
        Some(report)
    }
}

/// Refuses to start beside other nodes without the key that heartbeats need. A store that was there before may be away now:
/// then what this node has on disk says who the others are, and the election's thread when the store is back.
pub(super) fn refuse_without_key(
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
