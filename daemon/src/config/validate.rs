//! What the types alone cannot say: ranges, and settings that must fit each other.

use std::collections::BTreeMap;
use std::path::Path;

use landfall_core::election::SettingsError;

use super::{Effective, SettingError, Settings};

/// All complaints about `settings`.
pub(super) fn check(
    settings: &Settings,
    effective: &BTreeMap<String, Effective>,
) -> Vec<SettingError> {
    let mut found = Found {
        effective,
        errors: Vec::new(),
    };
    node_name(settings, &mut found);
    namespace(settings, &mut found);
    paths(settings, &mut found);
    leases(settings, &mut found);
    heartbeats(settings, &mut found);
    datapath(settings, &mut found);
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&settings.log.level) {
        found.push(
            "log.level",
            format!("`{}` is not a level: {error}", settings.log.level),
            "write \"info\", or directives such as \"info,landfall::source=debug\"",
        );
    }
    found.errors
}

struct Found<'a> {
    effective: &'a BTreeMap<String, Effective>,
    errors: Vec<SettingError>,
}

impl Found<'_> {
    fn push(&mut self, key: &str, problem: String, remedy: &str) {
        let origin = self
            .effective
            .get(key)
            .map(|value| value.origin.clone())
            .unwrap_or_default();
        self.errors.push(SettingError {
            origin,
            key: key.to_owned(),
            problem,
            remedy: remedy.to_owned(),
        });
    }
}

/// Node names are DNS-1123 subdomains.
fn node_name(settings: &Settings, found: &mut Found<'_>) {
    let name = &settings.node.name;
    let legal = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if !legal {
        found.push(
            "node.name",
            format!("`{name}` is not a node's name"),
            "write lower-case letters, digits, `-` and `.`, at most 253, such as \"node1\"",
        );
    }
}

/// Namespaces are DNS-1123 labels.
fn namespace(settings: &Settings, found: &mut Found<'_>) {
    let name = &settings.kubernetes.namespace;
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let legal = (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !legal {
        found.push(
            "kubernetes.namespace",
            format!("`{name}` is not a namespace's name"),
            "write lower-case letters, digits and `-`, at most 63, such as \"landfall-system\"",
        );
    }
}

fn paths(settings: &Settings, found: &mut Found<'_>) {
    for (key, path) in [
        ("source.manifests_dir", &settings.source.manifests_dir),
        ("state.dir", &settings.state.dir),
        ("state.lease_dir", &settings.state.lease_dir),
        ("api.socket", &settings.api.socket),
        ("l2.key_file", &settings.l2.key_file),
        ("datapath.bpffs", &settings.datapath.bpffs),
    ] {
        absolute(key, path, found);
    }
    if settings.datapath.cgroup_root != "auto" {
        absolute(
            "datapath.cgroup_root",
            Path::new(&settings.datapath.cgroup_root),
            found,
        );
    }
    if settings.kubernetes.kubeconfig != "auto" {
        absolute(
            "kubernetes.kubeconfig",
            Path::new(&settings.kubernetes.kubeconfig),
            found,
        );
    }
    // sockaddr_un holds 108 bytes with the terminating zero (unix(7)).
    if settings.api.socket.as_os_str().len() > 107 {
        found.push(
            "api.socket",
            "is longer than the 107 bytes a socket's path may have".to_owned(),
            "write a shorter path such as \"/run/landfall/landfall.sock\"",
        );
    }
}

fn absolute(key: &str, path: &Path, found: &mut Found<'_>) {
    if !path.is_absolute() {
        found.push(
            key,
            format!("`{}` is not an absolute path", path.display()),
            "write the path from `/` on",
        );
    }
}

fn heartbeats(settings: &Settings, found: &mut Found<'_>) {
    if settings.l2.heartbeat_port == 0 {
        found.push(
            "l2.heartbeat_port",
            "0 is no port".to_owned(),
            "write a port from 1 to 65535, the same on all nodes",
        );
    }
}

/// The election knows what its times must be to each other; keys and remedies are added here.
fn leases(settings: &Settings, found: &mut Found<'_>) {
    let text = |duration| humantime::format_duration(duration).to_string();
    match settings.l2.election().validate() {
        Ok(()) => {}
        Err(SettingsError::RenewTooSlow { renew, duration }) => found.push(
            "l2.lease_renew_deadline",
            format!(
                "{} is more than half of l2.lease_duration, {}",
                text(renew),
                text(duration)
            ),
            "make it at most half, so that a renewal may fail once",
        ),
        Err(SettingsError::RetryOutOfRange { retry, renew }) => found.push(
            "l2.lease_retry_period",
            format!(
                "{} is not within l2.lease_renew_deadline, {}",
                text(retry),
                text(renew)
            ),
            "make it shorter, so that a failed renewal is tried again",
        ),
        Err(SettingsError::TooShort(duration)) => found.push(
            "l2.lease_duration",
            format!(
                "{} is too short to be renewed with certainty",
                text(duration)
            ),
            "write at least \"500ms\"",
        ),
    }
}

fn datapath(settings: &Settings, found: &mut Found<'_>) {
    let datapath = &settings.datapath;
    for pattern in &datapath.interfaces {
        if let Err(error) = regex::Regex::new(pattern) {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            found.push(
                "datapath.interfaces",
                format!("`{pattern}` is not a regular expression: {reason}"),
                "write one such as \"^ens[0-9]+\"",
            );
        }
    }
    for (key, number, range) in [
        (
            "datapath.max_frontends",
            datapath.max_frontends,
            1..=1 << 20,
        ),
        ("datapath.max_backends", datapath.max_backends, 1..=1 << 24),
        ("datapath.max_rows", datapath.max_rows, 1..=1 << 20),
        (
            "datapath.max_connections",
            datapath.max_connections,
            1 << 10..=1 << 24,
        ),
    ] {
        if !range.contains(&number) {
            let remedy = format!("write a number from {} to {}", range.start(), range.end());
            found.push(key, format!("{number} is out of range"), &remedy);
        }
    }
}
