//! What the agent reports of itself, made from what the rooms published last.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use landfall_arp_responder::{AnswerCounts, InterfaceAddress};
use landfall_core::election::{LeaseName, LeaseTable};
use landfall_core::model::{AnnounceReport, LinkIndex, NodeName, ServiceName};
use landfall_core::plan::chronicle::Accounts;
use landfall_core::plan::{Plan, status};
use landfall_core::quorum::record::MemberRecord;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::api::health::{self, Check};
use crate::api::report;
use crate::api::snapshot::{
    Address, Announcement, ApiWork, Complaint, Drain, Frontend, Ground, HandOver, Lease,
    LeaseStore, Level, MapFill, Pool, Service, ServiceCounts, Snapshot, Source, Status, Timestamp,
};
use crate::config::Settings;
use crate::effect::announce::AnnouncedTable;
use crate::effect::datapath::{DatapathReport, Flows};
use crate::effect::history::History;
use crate::effect::lease::{LeaseHandle, LeaseState, clock};
use crate::effect::moved::MovedReport;
use crate::effect::quorum::task::QuorumHandle;
use crate::effect::status::StatusReport;
use crate::reconciler::Pulse;

use super::drain::DrainMark;
use super::home::Home;
use super::notify;
use super::rooms::Rooms;

/// How long the election's thread is waited for when somebody asks for its table.
const PATIENCE: Duration = Duration::from_secs(2);

/// The receivers of what the rooms publish.
pub(super) struct Reports {
    settings: Arc<Settings>,
    home: Home,
    node: NodeName,
    started: Timestamp,
    runtime: Handle,
    plan: watch::Receiver<Arc<Plan>>,
    accounts: watch::Receiver<Accounts>,
    pulse: Pulse,
    leases: LeaseHandle,
    lease_state: watch::Receiver<LeaseState>,
    datapath: watch::Receiver<DatapathReport>,
    announced: watch::Receiver<Arc<AnnounceReport>>,
    table: AnnouncedTable,
    socket_answers: watch::Receiver<AnswerCounts>,
    counters: Arc<landfall_ebpf::counters::Counters>,
    flows: Arc<Flows>,
    moved: watch::Receiver<MovedReport>,
    mark: DrainMark,
    history: History,
    quorum: QuorumHandle,
    members: watch::Receiver<Option<MemberRecord>>,
    written: Option<watch::Receiver<StatusReport>>,
}

impl Reports {
    /// Reports of an agent that starts now.
    pub(super) fn new(settings: Arc<Settings>, home: Home, rooms: &Rooms) -> Self {
        Self {
            node: NodeName::new(settings.node.name.as_str()),
            settings,
            home,
            started: Timestamp::now(),
            runtime: Handle::current(),
            plan: rooms.published.plan.clone(),
            accounts: rooms.published.accounts.clone(),
            pulse: rooms.published.pulse.clone(),
            leases: rooms.leases.clone(),
            lease_state: rooms.leases.state(),
            datapath: rooms.datapath.clone(),
            announced: rooms.announced.clone(),
            table: rooms.table.clone(),
            socket_answers: rooms.socket_answers.clone(),
            counters: Arc::clone(&rooms.counters),
            flows: Arc::clone(&rooms.flows),
            moved: rooms.moved.clone(),
            mark: rooms.mark.clone(),
            history: rooms.history.clone(),
            quorum: rooms.quorum.clone(),
            members: rooms.members.clone(),
            written: rooms.status.clone(),
        }
    }

    fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// The election's table; an empty one if its thread does not answer, which status tells by the store's trouble.
    fn lease_table(&self) -> LeaseTable {
        self.ask_for_leases().unwrap_or_default()
    }

    fn ask_for_leases(&self) -> Option<LeaseTable> {
        let asked = tokio::time::timeout(PATIENCE, self.leases.leases());
        self.runtime.block_on(async { asked.await.ok()?.ok() })
    }

    fn announced_here(&self, plan: &Plan) -> Vec<Announcement> {
        let mut answers = self.table.answers();
        for (place, count) in self.socket_answers.borrow().iter() {
            let InterfaceAddress { interface, ip } = *place;
            *answers.entry((LinkIndex(interface.0), ip)).or_default() += *count;
        }
        report::announcements(
            &self.announced.borrow(),
            &self.node,
            &services_of(plan),
            &answers,
        )
    }

    fn ground(&self, table: &LeaseTable) -> Ground {
        let settings = self.settings.l2.quorum();
        let (view, record) = (self.quorum.view(), self.members.borrow().clone());
        let least = self.quorum.gate().least_slack();
        Ground {
            least_slack_ms: least.and_then(|least| u64::try_from(least.as_millis()).ok()),
            ..report::ground(
                &view,
                record.as_ref(),
                (table, &self.node),
                &settings,
                clock::now(),
            )
        }
    }

    fn is_store_synced(&self) -> bool {
        let state = self.lease_state.borrow();
        state.synced && state.trouble.is_none()
    }

    fn lease_complaints(&self) -> Vec<Complaint> {
        let state = self.lease_state.borrow();
        let remembered = state.remembered.then(|| Complaint {
            origin: "leases".to_owned(),
            object: String::new(),
            field: String::new(),
            problem: "the lease store was not read since this agent started; it goes by what the node remembers, and changes nothing".to_owned(),
            remedy: self.home.leases_remedy().to_owned(),
            severity: Level::Warning,
        });
        let trouble = state.trouble.iter().map(|trouble| Complaint {
            origin: "leases".to_owned(),
            object: String::new(),
            field: String::new(),
            problem: trouble.clone(),
            remedy: format!(
                "{}; what is announced stays as long as its leases are good",
                self.home.leases_remedy()
            ),
            severity: Level::Error,
        });
        trouble.chain(remembered).collect()
    }
}

fn services_of(plan: &Plan) -> BTreeMap<LeaseName, Vec<String>> {
    let vips = plan.announcements.vips.iter();
    vips.map(|(lease, vip)| {
        (
            lease.clone(),
            vip.services.iter().map(ToString::to_string).collect(),
        )
    })
    .collect()
}

fn addresses_of(plan: &Plan) -> BTreeMap<LeaseName, Vec<IpAddr>> {
    let vips = plan.announcements.vips.iter();
    vips.map(|(lease, vip)| (lease.clone(), vip.addresses.keys().copied().collect()))
        .collect()
}

impl Snapshot for Reports {
    fn status(&self) -> Status {
        let plan = self.plan();
        let table = self.lease_table();
        let leases = self.leases_of(&table, &plan);
        let services: Vec<&Lease> = leases
            .iter()
            .filter(|lease| lease.kind == "service")
            .collect();
        let counts = status::counts(&plan);
        let path = self.datapath.borrow().clone();
        let pinned = self.settings.datapath.bpffs.join("landfall");
        let mut datapath = report::datapath(&path, &self.counters.read(), Some(pinned));
        datapath.maps.push(MapFill {
            name: "connections".to_owned(),
            entries: self.flows.report().flows,
            capacity: u64::from(self.settings.datapath.max_connections),
        });
        let moved = *self.moved.borrow();
        datapath.maps.push(MapFill {
            name: "moved_flows".to_owned(),
            entries: moved.entries,
            capacity: MovedReport::ROOM,
        });
        let mut complaints: Vec<Complaint> = status::complaints(&plan)
            .iter()
            .map(Complaint::from)
            .collect();
        complaints.extend(report::datapath_complaints(&path));
        complaints.extend(report::moved_complaints(&moved));
        complaints.extend(report::announce_complaints(&self.announced.borrow()));
        complaints.extend(self.lease_complaints());
        complaints.extend(self.home.complaints());
        if let Some(written) = &self.written {
            complaints.extend(written.borrow().complaints.iter().map(Complaint::from));
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.to_string(),
            started: self.started,
            now: Timestamp::now(),
            sources: vec![Source {
                name: self.home.name().to_owned(),
                from: self.home.place(&self.settings),
                synced: plan.complete && plan.recalled.is_empty(),
            }],
            services: ServiceCounts {
                ours: counts.ours,
                satisfied: counts.satisfied,
                left_out: counts.left_out,
                frontends: counts.frontends,
                backends: counts.backends,
            },
            leases: LeaseStore {
                store: self.home.lease_store(&self.settings).display().to_string(),
                held: services.iter().filter(|lease| lease.ours).count() as u64,
                total: services.len() as u64,
                renewed_ms_ago: self.renewed_ms_ago(&table),
                synced: self.is_store_synced(),
            },
            ground: self.ground(&table),
            datapath,
            drained: self.mark.is_set(),
            announced: self.announced_here(&plan),
            conflicts: report::conflicts(&self.announced.borrow()),
            api: self.api_work(),
            complaints,
        }
    }

    fn frontends(&self) -> Vec<Frontend> {
        report::frontends(&self.plan().table)
    }

    fn service(&self, name: &ServiceName) -> Option<Service> {
        let plan = self.plan();
        let found = status::service(&plan, &self.accounts.borrow(), name)?;
        let addresses = found.addresses.into_iter().map(|assigned| Address {
            address: assigned.address,
            pool: assigned.pool,
        });
        let text = name.to_string();
        let mut announced = self.announcements();
        announced.retain(|one| one.services.contains(&text));
        let mut frontends = self.frontends();
        frontends.retain(|one| one.service == text);
        Some(Service {
            namespace: name.namespace.to_string(),
            name: name.name.to_string(),
            addresses: addresses.collect(),
            external_ips: found.external_ips,
            announced,
            frontends,
            conditions: report::conditions(&found.account),
            events: report::events(&found.account, &self.node),
        })
    }

    fn pools(&self) -> Vec<Pool> {
        let pools = status::pools(&self.plan()).into_iter();
        pools
            .map(|pool| Pool {
                name: pool.name,
                blocks: pool.blocks,
                disabled: pool.disabled,
                conflicts_with: pool.conflicts_with,
                total: pool.total,
                used: pool.used,
                free: pool.free,
            })
            .collect()
    }

    fn leases(&self) -> Vec<Lease> {
        self.leases_of(&self.lease_table(), &self.plan())
    }

    fn announcements(&self) -> Vec<Announcement> {
        let plan = self.plan();
        let mut rows = self.announced_here(&plan);
        let names = services_of(&plan);
        let held = self
            .leases_of(&self.lease_table(), &plan)
            .into_iter()
            .filter(|lease| lease.kind == "service" && lease.valid && !lease.ours);
        for lease in held {
            let Some(node) = lease.holder else { continue };
            let services = LeaseName::parse(&lease.name)
                .and_then(|name| names.get(&name))
                .cloned()
                .unwrap_or_default();
            rows.extend(lease.addresses.into_iter().map(|address| Announcement {
                address,
                services: services.clone(),
                node: node.clone(),
                interface: None,
                responder: None,
                since: lease.since,
                answers: None,
            }));
        }
        rows.sort_by(|one, two| {
            (one.address, &one.node, &one.interface).cmp(&(two.address, &two.node, &two.interface))
        });
        rows
    }

    fn history(&self) -> Vec<HandOver> {
        let addresses = addresses_of(&self.plan());
        let changes = self.history.list().into_iter();
        changes
            .map(|change| HandOver {
                at: Timestamp(change.at),
                addresses: addresses.get(&change.lease).cloned().unwrap_or_default(),
                lease: change.lease.to_string(),
                from: change.from.map(|node| node.to_string()),
                to: change.to.map(|node| node.to_string()),
                cause: change.cause.to_string(),
                silence_ms: change
                    .silence
                    .map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)),
            })
            .collect()
    }

    fn drain(&self) -> Drain {
        let held = self.lease_state.borrow();
        let held = held.held.keys().filter(|name| name.carries_addresses());
        Drain {
            drained: self.mark.is_set(),
            held: held.map(ToString::to_string).collect(),
        }
    }

    fn set_drained(&self, drained: bool) -> Result<Drain, String> {
        self.mark.set(drained)?;
        let told = self.leases.drain(drained);
        told.map_err(|_| "the election has ended; see the agent's log".to_owned())?;
        tracing::info!(drained, "asked to hand over, or to take part again");
        Ok(self.drain())
    }

    fn live(&self) -> Vec<Check> {
        health::live(self.pulse.age(), self.ask_for_leases().is_some())
    }

    fn ready(&self) -> Vec<Check> {
        health::ready(
            notify::is_stopping(),
            &self.plan.borrow(),
            &self.lease_state.borrow(),
            &self.datapath.borrow(),
        )
    }
}

impl Reports {
    fn api_work(&self) -> Option<ApiWork> {
        let waiting = self.written.as_ref().map_or(0, |it| it.borrow().waiting);
        Some(ApiWork {
            kinds: self.home.kinds()?,
            status_waiting: waiting as u64,
        })
    }

    fn leases_of(&self, table: &LeaseTable, plan: &Plan) -> Vec<Lease> {
        report::leases(table, &self.node, clock::now(), &addresses_of(plan))
    }

    /// Since this node's own lease was last seen to change; absent while it has none.
    fn renewed_ms_ago(&self, table: &LeaseTable) -> Option<u64> {
        let seen = table.node(&self.node)?;
        u64::try_from(clock::now().since(seen.changed_at).as_millis()).ok()
    }
}
