//! What the rooms are started with, by the settings.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use landfall_arp_responder::Timing;
use landfall_arp_responder::takeover::AnnounceTiming;
use landfall_core::model::NodeName;
use landfall_ebpf::attach::Hook;
use landfall_ebpf::loader;
use tracing::warn;

use crate::config::{AttachMode, ForwardMode, Responder, Settings};
use crate::effect::announce;
use crate::effect::datapath::{self, Attach, Mode};

pub(super) fn loader(settings: &Settings) -> loader::Options {
    let path = &settings.datapath;
    loader::Options {
        bpffs: path.bpffs.clone(),
        max_frontends: path.max_frontends,
        max_backends: path.max_backends,
        max_rows: path.max_rows,
        max_connections: path.max_connections,
    }
}

pub(super) fn datapath(settings: &Settings, node: &NodeName) -> anyhow::Result<datapath::Options> {
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

pub(super) fn responder(setting: Responder) -> announce::Responder {
    match setting {
        Responder::Auto => announce::Responder::Auto,
        Responder::Kernel => announce::Responder::Kernel,
        Responder::Socket => announce::Responder::Socket,
    }
}

pub(super) fn timing(settings: &Settings) -> Timing {
    let refresh = settings.l2.announce_interval;
    Timing {
        announce: AnnounceTiming {
            refresh,
            ..AnnounceTiming::default()
        },
        ..Timing::default()
    }
}
