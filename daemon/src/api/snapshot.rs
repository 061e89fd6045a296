//! What the agent tells a person: the reports the admin socket serves and the command line shows.
//!
//! Plain data, the same for every source and ground. The field names are what `-o json` prints, so
//! they only ever grow.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use landfall_core::model::{ObjectError, ServiceName, Severity};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::health::Check;
use crate::objects::Condition;

/// Answers the admin socket's questions from what the rooms published last. Called on a blocking
/// thread, so that a table of 100,000 backends delays no task.
pub trait Snapshot: Send + Sync + 'static {
    /// The whole agent at a glance.
    fn status(&self) -> Status;
    /// Every frontend with its backends.
    fn frontends(&self) -> Vec<Frontend>;
    /// One Service of ours, or with external addresses; nothing where there is none of the name.
    fn service(&self, name: &ServiceName) -> Option<Service>;
    /// Every pool.
    fn pools(&self) -> Vec<Pool>;
    /// Node leases and service leases, of all nodes.
    fn leases(&self) -> Vec<Lease>;
    /// Every address announced, by whichever node.
    fn announcements(&self) -> Vec<Announcement>;
    /// The last VIPs that came to this node, the latest first.
    fn history(&self) -> Vec<HandOver>;
    /// Whether this node is drained, and what it still announces.
    fn drain(&self) -> Drain;
    /// Hands over what others can announce and takes nothing more, or takes part again. Kept across restarts.
    ///
    /// # Errors
    /// It cannot be kept; says why, and what to do.
    fn set_drained(&self, drained: bool) -> Result<Drain, String>;
    /// Whether the agent's loops turn.
    fn live(&self) -> Vec<Check>;
    /// Whether the agent serves what its sources want.
    fn ready(&self) -> Vec<Check>;
}

/// The whole agent at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// This node's name.
    pub node: String,
    /// When the agent started.
    pub started: Timestamp,
    /// When this was told; ages are counted from here.
    pub now: Timestamp,
    /// Where objects come from.
    pub sources: Vec<Source>,
    /// Services and their addresses.
    pub services: ServiceCounts,
    /// The lease store.
    pub leases: LeaseStore,
    /// What this node's right to answer rests on.
    #[serde(default)]
    pub ground: Ground,
    /// Kernel programs and maps.
    pub datapath: Datapath,
    /// This node hands over and takes nothing.
    #[serde(default)]
    pub drained: bool,
    /// Addresses this node announces.
    pub announced: Vec<Announcement>,
    /// Addresses of leases held here that other machines on the LAN use.
    #[serde(default)]
    pub conflicts: u64,
    /// How reading and writing the API's objects goes; nothing where objects come from elsewhere.
    #[serde(default)]
    pub api: Option<ApiWork>,
    /// Everything that needs a person.
    pub complaints: Vec<Complaint>,
}

/// How reading and writing the API's objects goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiWork {
    /// The kinds that are watched.
    pub kinds: Vec<WatchedKind>,
    /// Objects whose status is to be written.
    pub status_waiting: u64,
}

/// A kind of the API's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedKind {
    /// Its name, such as `Service`.
    pub name: String,
    /// All its objects were read since the start, or there are none for this agent.
    pub synced: bool,
    /// Objects as the API server told of them last, or as they are remembered.
    pub objects: u64,
    /// Why it cannot be read at present.
    pub trouble: Option<String>,
}

impl Status {
    /// Whether nothing needs a person.
    pub fn healthy(&self) -> bool {
        self.sources.iter().all(|source| source.synced)
            && !self
                .complaints
                .iter()
                .any(|complaint| complaint.severity == Level::Error)
    }
}

/// Whether a node is drained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// It hands over and takes nothing.
    pub drained: bool,
    /// Leases of services that it still holds, because they are on their way or nobody else can announce them.
    pub held: Vec<String>,
}

/// One change of hands of a VIP, as a node saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// When this node saw it.
    pub at: Timestamp,
    /// The lease of the VIP.
    pub lease: String,
    /// Its addresses, where they are known.
    pub addresses: Vec<IpAddr>,
    /// Who held it before, where that is known.
    pub from: Option<String>,
    /// Who holds it now; nobody where it was given up.
    pub to: Option<String>,
    /// `first`, `takeover`, `drained`, `unable`, `handover` or `continued`.
    pub cause: String,
    /// For how long at most nobody answered: after a takeover, the time since the holder before was last heard.
    pub silence_ms: Option<u64>,
}

/// One source of objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `manifests`, `kubernetes` or `links`.
    pub name: String,
    /// The directory or server it reads.
    pub from: String,
    /// It has delivered everything it had at start.
    pub synced: bool,
}

/// Services and their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCounts {
    /// LoadBalancer Services that are ours.
    pub ours: u64,
    /// Those with all the addresses they need.
    pub satisfied: u64,
    /// Those that the record of assignments has no room for, on the node that allocates.
    #[serde(default)]
    pub left_out: u64,
    /// Frontends: address, port and protocol.
    pub frontends: u64,
    /// Backends of all frontends, each counted once a frontend.
    pub backends: u64,
}

/// The lease store as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStore {
    /// Where leases are kept.
    pub store: String,
    /// Service leases this node holds.
    pub held: u64,
    /// Service leases there are.
    pub total: u64,
    /// Since the last renewal of this node's own lease, in milliseconds.
    pub renewed_ms_ago: Option<u64>,
    /// All of it was read, and nothing has failed since.
    #[serde(default)]
    pub synced: bool,
}

/// What this node's right to answer rests on, as the node sees it. Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// `quorum` (grants of a majority), `lease` (renewals of the node lease), or `quorum and lease` while a change of
    /// members needs both; `none` before this node is a member.
    pub kind: String,
    /// The epoch of the record of members that this node has adopted.
    pub epoch: Option<u64>,
    /// A change of members is under way.
    pub changing: bool,
    /// The present term of this node.
    pub term: Option<u64>,
    /// The term can gain no right any more; the node begins another.
    pub refused: bool,
    /// For how long this node may still answer; absent where it may not.
    pub holds_ms: Option<u64>,
    /// Since the oldest heartbeat or renewal that the deadline stands on; absent where there is none.
    pub grant_age_ms: Option<u64>,
    /// The least that was left of a deadline in the last minute when the next was pushed.
    pub least_slack_ms: Option<u64>,
    /// All members.
    pub members: Vec<Member>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: String,
    /// Its grants count; all do but of more than seven members.
    pub grants: bool,
    /// `self`, `heard`, `silent`, or `refused`: the right of its present term is over.
    pub state: String,
    /// Since it was heard last, where it was.
    pub heard_ms_ago: Option<u64>,
}

/// Kernel programs and maps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datapath {
    /// Where programs and maps are pinned; absent while nothing is loaded.
    pub pinned: Option<PathBuf>,
    /// Interfaces with programs, or where one was refused.
    pub interfaces: Vec<Interface>,
    /// Maps with a bound.
    pub maps: Vec<MapFill>,
    /// Packets by verdict, since the programs were loaded.
    pub verdicts: Vec<Verdicts>,
}

/// Packets that met one verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The verdict, such as `delivered_new`.
    pub verdict: String,
    /// How many packets.
    pub packets: u64,
}

/// An interface the data path is or should be on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `xdp`, `xdp-generic`, `tcx` or `clsact`; absent where nothing could be attached.
    pub attached: Option<String>,
    /// `l2-dsr` or `snat`.
    pub forwarding: String,
    /// Carrier.
    pub up: bool,
    /// Why nothing, or less than asked for, is attached.
    pub problem: Option<String>,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapFill {
    /// The map.
    pub name: String,
    /// Entries in it.
    pub entries: u64,
    /// Entries it has room for.
    pub capacity: u64,
}

impl MapFill {
    /// Entries in percent of capacity, rounded down.
    pub fn percent(&self) -> u64 {
        self.entries
            .saturating_mul(100)
            .checked_div(self.capacity)
            .unwrap_or(100)
    }
}

/// One frontend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    /// Position in the table, from 1.
    pub id: u64,
    /// What clients address.
    pub address: IpAddr,
    /// Destination port.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// `ClusterIP`, `LoadBalancer` or `ExternalIP`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The Service, `namespace/name`.
    pub service: String,
    /// The Service port's name; empty where it has none.
    pub port_name: String,
    /// `Cluster` or `Local`.
    pub traffic_policy: String,
    /// Admitted client ranges; none admits everybody.
    pub source_ranges: Vec<String>,
    /// Where connections go.
    pub backends: Vec<Backend>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The node it runs on, where known.
    pub node: Option<String>,
    /// `active` takes connections, `terminating` finishes those it has.
    pub state: String,
}

/// One Service, with what holds of it and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its LoadBalancer addresses.
    pub addresses: Vec<Address>,
    /// `spec.externalIPs` that go with a lease.
    pub external_ips: Vec<IpAddr>,
    /// Who announces its addresses.
    pub announced: Vec<Announcement>,
    /// Its frontends.
    pub frontends: Vec<Frontend>,
    /// What holds of it, as this node sees it; with the fields of Kubernetes' conditions.
    pub conditions: Vec<Condition>,
    /// What this node saw happen to it, the latest at the end.
    pub events: Vec<Event>,
}

/// An assigned address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The pool it is of.
    pub pool: String,
}

/// Something that happened to a Service, with the fields of Kubernetes' Events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A word for programs.
    pub reason: String,
    /// A sentence for a person.
    pub message: String,
    /// How often it happened.
    pub count: u32,
    /// When it happened first.
    pub first_timestamp: Timestamp,
    /// When it happened last.
    pub last_timestamp: Timestamp,
    /// The node that tells of it.
    pub reporting_instance: String,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its blocks as written.
    pub blocks: Vec<String>,
    /// It gives no new addresses.
    pub disabled: bool,
    /// The pool it overlaps, which makes it unusable.
    pub conflicts_with: Option<String>,
    /// Addresses in it, `2^64` and more as a decimal string's number.
    pub total: String,
    /// Addresses given to Services.
    pub used: u64,
    /// Addresses left.
    pub free: String,
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name, such as `landfall-l2-default.svc1`.
    pub name: String,
    /// `node` or `service`.
    pub kind: String,
    /// The node that holds it.
    pub holder: Option<String>,
    /// The holder is this node.
    pub ours: bool,
    /// Whether it is valid as this node judges it.
    pub valid: bool,
    /// When it was taken.
    pub since: Option<Timestamp>,
    /// How often it changed hands.
    pub transitions: u64,
    /// Why it came to its holder: `first`, `takeover`, `drained`, `unable`, `handover` or `continued`; absent for node
    /// leases.
    pub cause: Option<String>,
    /// Whether the lease itself tells of its holder. If not, another node's lease does, and the holder is about to
    /// write the record.
    pub recorded: bool,
    /// Addresses that go with it.
    pub addresses: Vec<IpAddr>,
}

/// One announced address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The address.
    pub address: IpAddr,
    /// The Services behind it, `namespace/name`.
    pub services: Vec<String>,
    /// The node that announces it.
    pub node: String,
    /// On which interface; known on the announcing node only.
    pub interface: Option<String>,
    /// `kernel` or `socket`; known on the announcing node only.
    pub responder: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// ARP replies and neighbour advertisements sent; known on the announcing node only.
    pub answers: Option<u64>,
}

/// How much a complaint matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something works less well than it was asked to.
    Warning,
    /// Something does not work.
    Error,
}

/// Something that needs a person: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// A file with the document's number in it, or the room that complains.
    pub origin: String,
    /// `Kind name`; empty where there is no object.
    pub object: String,
    /// Path of the field; empty where the whole is meant.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
    /// How much it matters.
    pub severity: Level,
}

impl From<&ObjectError> for Complaint {
    fn from(error: &ObjectError) -> Self {
        Self {
            origin: error.origin.clone(),
            object: error.object.to_string().trim().to_owned(),
            field: error.field.clone(),
            problem: error.problem.clone(),
            remedy: error.remedy.clone(),
            severity: match error.severity {
                Severity::Warning => Level::Warning,
                Severity::Error => Level::Error,
            },
        }
    }
}

/// A point in time, written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl Timestamp {
    /// Now.
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// How long before `now` this was; zero where it was after.
    pub fn age(self, now: Self) -> Duration {
        now.0.duration_since(self.0).unwrap_or_default()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(self.0))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text)
            .map(Self)
            .map_err(de::Error::custom)
    }
}
