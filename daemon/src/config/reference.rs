//! Every setting by key: what it does and what may be written. The README's table, the messages'
//! remedies and `landfall config` all come from here.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key, `section.name`.
    pub key: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What may be written, so that "write ..." reads well.
    pub expects: &'static str,
}

impl Setting {
    /// The setting of that key; a list's element counts as the list.
    pub fn of(key: &str) -> Option<&'static Self> {
        let key = key.split('[').next().unwrap_or(key);
        REFERENCE.iter().find(|setting| setting.key == key)
    }
}

/// The environment variable that sets `key`. Two underscores part section and name, as names hold
/// single ones.
pub fn environment_variable(key: &str) -> String {
    format!("LANDFALL_{}", key.replace('.', "__").to_uppercase())
}

const fn setting(key: &'static str, does: &'static str, expects: &'static str) -> Setting {
    Setting { key, does, expects }
}

/// All settings, in the order they are shown.
pub const REFERENCE: &[Setting] = &[
    setting(
        "node.name",
        "This node's name, as in Node objects and `spec.nodeName`",
        "a lower-case DNS name such as \"node1\"",
    ),
    setting(
        "source.kind",
        "Where objects come from; \"auto\" is Kubernetes where a kubeconfig or service account is found",
        "\"auto\", \"manifests\" or \"kubernetes\"",
    ),
    setting(
        "source.manifests_dir",
        "The directory of manifests",
        "an absolute path such as \"/etc/landfall/manifests\"",
    ),
    setting(
        "kubernetes.kubeconfig",
        "The kubeconfig; \"auto\" is that of `KUBECONFIG`, or the pod's service account",
        "\"auto\" or an absolute path",
    ),
    setting(
        "kubernetes.namespace",
        "The namespace of the agents' own objects",
        "a namespace such as \"landfall-system\"",
    ),
    setting(
        "services.without_class",
        "Whether LoadBalancer Services without a class are ours",
        "true or false",
    ),
    setting(
        "services.cilium",
        "Whether `cilium.io` pools and policies and Cilium's L2 class are ours too",
        "true or false",
    ),
    setting(
        "state.dir",
        "Where the daemon keeps its state",
        "an absolute path",
    ),
    setting(
        "state.lease_dir",
        "Where file leases are kept; daemons that share it share the announcing",
        "an absolute path",
    ),
    setting("api.socket", "The admin socket", "an absolute path"),
    setting(
        "metrics.listen",
        "Where Prometheus metrics and health are served over HTTP",
        "an address with a port such as \"127.0.0.1:9465\", or \"off\"",
    ),
    setting(
        "l2.lease_duration",
        "How long a lease is good without a renewal",
        "a duration such as \"3s\"",
    ),
    setting(
        "l2.lease_renew_deadline",
        "How often a lease is renewed and within what time that must succeed; at most half of `lease_duration`",
        "a duration such as \"1s\"",
    ),
    setting(
        "l2.lease_retry_period",
        "How soon a failed renewal is tried again; within `lease_renew_deadline`",
        "a duration such as \"200ms\"",
    ),
    setting(
        "l2.responder",
        "Who answers ARP and neighbour discovery",
        "\"auto\", \"kernel\" or \"socket\"",
    ),
    setting(
        "l2.announce_interval",
        "How often held addresses are announced unasked; \"0s\" for on takeover only",
        "a duration such as \"60s\"",
    ),
    setting(
        "l2.conflict_probe",
        "Whether an address is probed for before it is first announced",
        "true or false",
    ),
    setting(
        "l2.key_file",
        "The file with the key that all agents share; `landfall keygen` makes one. Several nodes do not run without it",
        "an absolute path such as \"/etc/landfall/l2.key\"",
    ),
    setting(
        "l2.heartbeat_port",
        "The UDP port of heartbeats between nodes; the same on all",
        "a port from 1 to 65535",
    ),
    setting(
        "datapath.bpffs",
        "The BPF file system; pins go below `landfall/` in it",
        "an absolute path such as \"/sys/fs/bpf\"",
    ),
    setting(
        "datapath.cgroup_root",
        "The cgroup whose processes reach VIPs by socket rewriting",
        "\"auto\" or an absolute path below the cgroup2 mount",
    ),
    setting(
        "datapath.mode",
        "How packets reach endpoints on other nodes",
        "\"auto\", \"l2-dsr\" or \"snat\"",
    ),
    setting(
        "datapath.attach",
        "Where programs are attached on uplinks",
        "\"auto\", \"xdp\", \"xdp-generic\", \"tcx\" or \"clsact\"",
    ),
    setting(
        "datapath.interfaces",
        "Uplinks by regular expression; none means those the policies choose",
        "a list of regular expressions such as [\"^ens[0-9]+\"]",
    ),
    setting(
        "datapath.max_frontends",
        "Frontends the kernel maps have room for, and one more for each address",
        "a number from 1 to 1048576",
    ),
    setting(
        "datapath.max_backends",
        "Endpoints the kernel maps have room for, counted once for every frontend they serve",
        "a number from 1 to 16777216",
    ),
    setting(
        "datapath.max_rows",
        "Rows of 256 slots the kernel maps have room for; lookup tables are made of them",
        "a number from 1 to 1048576",
    ),
    setting(
        "datapath.max_connections",
        "Connections the kernel maps have room for",
        "a number from 1024 to 16777216",
    ),
    setting(
        "log.level",
        "What is logged",
        "\"error\", \"warn\", \"info\", \"debug\", \"trace\" or directives such as \
         \"info,landfall::source=debug\"",
    ),
    setting("log.format", "How log lines look", "\"text\" or \"json\""),
];
