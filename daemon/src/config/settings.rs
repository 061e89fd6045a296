//! The settings as the daemon uses them, and their defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use landfall_core::{election, quorum};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// This node.
    pub node: Node,
    /// Where objects come from.
    pub source: SourceSettings,
    /// The way to the Kubernetes API.
    pub kubernetes: KubernetesSettings,
    /// Which Services are ours.
    pub services: ServiceSettings,
    /// What is kept on disk.
    pub state: State,
    /// The admin socket.
    pub api: Api,
    /// The Prometheus endpoint.
    pub metrics: Metrics,
    /// Leases and announcement.
    pub l2: L2,
    /// Kernel programs and maps.
    pub datapath: Datapath,
    /// The log.
    pub log: LogSettings,
}

/// `[node]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The name this node has in Node objects, `spec.nodeName` and leases.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Where objects come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Kubernetes where a kubeconfig or service account is found, else the manifest directory.
    #[default]
    Auto,
    /// The manifest directory.
    Manifests,
    /// The Kubernetes API.
    Kubernetes,
}

/// `[source]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Which source.
    pub kind: SourceKind,
    /// The directory of manifests.
    pub manifests_dir: PathBuf,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            kind: SourceKind::Auto,
            manifests_dir: "/etc/landfall/manifests".into(),
        }
    }
}

/// `[kubernetes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesSettings {
    /// Path of a kubeconfig; `auto` is that of `KUBECONFIG`, or the pod's service account.
    pub kubeconfig: String,
    /// The namespace of the agents' own objects: leases, the record of assignments, the key.
    pub namespace: String,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            kubeconfig: "auto".into(),
            namespace: "landfall-system".into(),
        }
    }
}

/// `[services]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    /// Whether LoadBalancer Services without a class are ours.
    pub without_class: bool,
    /// Whether class `io.cilium/l2-announcer` and the `cilium.io` kinds are ours besides our own.
    pub cilium: bool,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            without_class: true,
            cilium: true,
        }
    }
}

/// `[state]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Where the last plan and the epoch are kept.
    pub dir: PathBuf,
    /// Where file leases are kept; shared by the daemons that share announcing.
    #[serde(skip_serializing_if = "unset")]
    pub lease_dir: PathBuf,
}

fn unset(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}

impl Default for State {
    fn default() -> Self {
        Self {
            dir: "/var/lib/landfall".into(),
            lease_dir: PathBuf::new(),
        }
    }
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Path of the admin socket.
    pub socket: PathBuf,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            socket: "/run/landfall/landfall.sock".into(),
        }
    }
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where to serve them.
    pub listen: MetricsListen,
}

impl Default for Metrics {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9465);
        Self {
            listen: MetricsListen::At(address),
        }
    }
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsListen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl Serialize for MetricsListen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::At(address) => serializer.collect_str(address),
        }
    }
}

impl<'de> Deserialize<'de> for MetricsListen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| de::Error::custom(format_args!("`{text}` is not an address with a port")))
    }
}

/// Who answers ARP and neighbour discovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Responder {
    /// The kernel where its program can be attached, else the socket.
    #[default]
    Auto,
    /// The kernel program, or nothing.
    Kernel,
    /// The packet socket.
    Socket,
}

/// `[l2]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L2 {
    /// How long a lease is good without a renewal.
    #[serde(with = "human")]
    pub lease_duration: Duration,
    /// Within what time a renewal must succeed.
    #[serde(with = "human")]
    pub lease_renew_deadline: Duration,
    /// How soon a failed renewal is tried again.
    #[serde(with = "human")]
    pub lease_retry_period: Duration,
    /// Who answers.
    pub responder: Responder,
    /// How often addresses held are announced unasked; 0 for never again after a takeover.
    #[serde(with = "human")]
    pub announce_interval: Duration,
    /// Whether an address is probed for before it is announced for the first time.
    pub conflict_probe: bool,
    /// The file with the key that the agents share. Where there is none, the node runs alone.
    pub key_file: PathBuf,
    /// The UDP port of heartbeats, the same on all nodes.
    pub heartbeat_port: u16,
}

impl Default for L2 {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(3),
            lease_renew_deadline: Duration::from_secs(1),
            lease_retry_period: Duration::from_millis(200),
            responder: Responder::Auto,
            announce_interval: Duration::from_secs(60),
            conflict_probe: true,
            key_file: "/etc/landfall/l2.key".into(),
            heartbeat_port: 9465,
        }
    }
}

impl L2 {
    /// The election's part of them.
    pub fn election(&self) -> election::Settings {
        election::Settings {
            lease_duration: self.lease_duration,
            lease_renew_deadline: self.lease_renew_deadline,
            lease_retry_period: self.lease_retry_period,
            ..election::Settings::default()
        }
    }
}

impl L2 {
    /// The quorum's part of them.
    pub fn quorum(&self) -> quorum::Settings {
        let election = self.election();
        quorum::Settings {
            lease_duration: election.lease_duration,
            lease_margin: election.margin(),
            ..quorum::Settings::default()
        }
    }
}

/// How packets reach endpoints on other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardMode {
    /// L2 DSR where a probe shows that it works, else SNAT.
    #[default]
    Auto,
    /// Always L2 DSR.
    L2Dsr,
    /// Always SNAT through the announcing node.
    Snat,
}

/// Where programs are attached on uplinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachMode {
    /// The first of XDP in the driver, tcx and clsact that works.
    #[default]
    Auto,
    /// XDP in the driver.
    Xdp,
    /// XDP in the kernel's generic path.
    XdpGeneric,
    /// tc by links, Linux 6.6 and later.
    Tcx,
    /// tc by filters.
    Clsact,
}

/// `[datapath]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Datapath {
    /// The mounted BPF file system; pins go below `landfall/<layout version>` in it.
    pub bpffs: PathBuf,
    /// The cgroup whose processes get socket rewriting; `auto` is the root of the cgroup2 mount.
    pub cgroup_root: String,
    /// How packets reach endpoints on other nodes.
    pub mode: ForwardMode,
    /// Where programs are attached on uplinks.
    pub attach: AttachMode,
    /// Uplinks by regular expression; empty means those the announcement policies choose.
    pub interfaces: Vec<String>,
    /// Frontends the kernel maps have room for, and one more for each address.
    pub max_frontends: u32,
    /// Endpoints the kernel maps have room for, counted once for every frontend they serve.
    pub max_backends: u32,
    /// Rows of 256 slots the kernel maps have room for; lookup tables are made of them.
    pub max_rows: u32,
    /// Connections the kernel maps have room for.
    pub max_connections: u32,
}

impl Default for Datapath {
    fn default() -> Self {
        Self {
            bpffs: "/sys/fs/bpf".into(),
            cgroup_root: "auto".into(),
            mode: ForwardMode::Auto,
            attach: AttachMode::Auto,
            interfaces: Vec::new(),
            max_frontends: 65_536,
            max_backends: 262_144,
            max_rows: 65_536,
            max_connections: 262_144,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Words and `key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A level, or directives such as `info,landfall::source=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// Durations as people write them: `3s`, `200ms`, `1m 30s`.
mod human {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| de::Error::custom(format_args!("`{text}`: {error}")))
    }
}
