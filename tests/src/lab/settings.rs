//! The settings file of a node's agent. Every name of a setting that the lab uses is here.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The key that the nodes of a lab share, as its file has it.
pub const KEY: &str = "1f0c7a62d94be85317c6a0f29e4d8b53";

/// How the lease of a node is kept, named as in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How long a lease is good.
    pub duration: Duration,
    /// Within what time a renewal must succeed.
    pub renew_deadline: Duration,
    /// How soon a failed renewal is tried again.
    pub retry_period: Duration,
}

impl Default for Lease {
    /// The settings that the bounds of the scenarios are stated for: 3 s, 1 s, 200 ms.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(3),
            renew_deadline: Duration::from_secs(1),
            retry_period: Duration::from_millis(200),
        }
    }
}

/// What all nodes of a lab have in common.
#[derive(Debug, Clone, Default)]
pub struct Common {
    /// The lease settings.
    pub lease: Lease,
    /// `datapath.mode` (`auto`, `l2-dsr`, `snat`), when it is to be set.
    pub mode: Option<String>,
    /// `datapath.attach` (`auto`, `xdp`, `xdp-generic`, `tcx`, `clsact`), when it is to be set.
    pub attach: Option<String>,
    /// `datapath.max_frontends`, when it is to be set.
    pub max_frontends: Option<u32>,
    /// `l2.responder` (`auto`, `kernel`, `socket`), when it is to be set.
    pub responder: Option<String>,
}

/// Where a node's agent finds and keeps its things.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The manifests, shared by all nodes.
    pub manifests: PathBuf,
    /// The node's own state.
    pub state: PathBuf,
    /// The leases, shared by all nodes: the node's own name for them, which a fault can take away.
    pub leases: PathBuf,
    /// The cluster's key, shared by all nodes.
    pub key: PathBuf,
    /// The kubeconfig, where the agents' source is a cluster's API: then there are no manifests, no
    /// lease directory and no key file.
    pub kubeconfig: Option<PathBuf>,
    /// The admin socket.
    pub socket: PathBuf,
    /// The settings file itself.
    pub settings: PathBuf,
    /// What the agent prints.
    pub log: PathBuf,
}

/// The settings file of the node `name`.
#[must_use]
pub fn file(name: &str, paths: &Paths, cgroup_root: &Path, common: &Common) -> String {
    let lease = common.lease;
    let optional = |key: &str, value: &Option<String>| {
        value
            .as_ref()
            .map_or_else(String::new, |value| format!("{key} = \"{value}\"\n"))
    };
    let source = source(paths);
    format!(
        r#"[node]
name = "{name}"

{source}
[api]
socket = "{socket}"

[datapath]
bpffs = "/sys/fs/bpf"
cgroup_root = "{cgroup}"
{mode}{attach}{max_frontends}
[l2]
lease_duration = "{duration}ms"
lease_renew_deadline = "{renew}ms"
lease_retry_period = "{retry}ms"
{key}{responder}
[log]
level = "{level}"
"#,
        socket = paths.socket.display(),
        cgroup = cgroup_root.display(),
        mode = optional("mode", &common.mode),
        attach = optional("attach", &common.attach),
        max_frontends = common
            .max_frontends
            .map_or_else(String::new, |most| format!("max_frontends = {most}\n")),
        duration = lease.duration.as_millis(),
        renew = lease.renew_deadline.as_millis(),
        retry = lease.retry_period.as_millis(),
        responder = optional("responder", &common.responder),
        key = match &paths.kubeconfig {
            None => format!("key_file = \"{}\"\n", paths.key.display()),
            Some(_) => String::new(),
        },
        // A scenario that fails prints the end of the log; its author may want more of it.
        level = std::env::var("LANDFALL_LAB_LOG").unwrap_or_else(|_| "info".to_owned()),
    )
}

/// Where objects come from, and where leases and state are kept.
fn source(paths: &Paths) -> String {
    let state = paths.state.display();
    match &paths.kubeconfig {
        None => format!(
            r#"[source]
kind = "manifests"
manifests_dir = "{manifests}"

[state]
dir = "{state}"
lease_dir = "{leases}"
"#,
            manifests = paths.manifests.display(),
            leases = paths.leases.display(),
        ),
        Some(kubeconfig) => format!(
            r#"[source]
kind = "kubernetes"

[kubernetes]
kubeconfig = "{kubeconfig}"

[state]
dir = "{state}"
"#,
            kubeconfig = kubeconfig.display(),
        ),
    }
}
