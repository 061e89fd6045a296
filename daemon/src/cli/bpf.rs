//! `landfall bpf`: what the kernel's pinned maps hold, read from them directly, so that it tells the
//! truth even where no agent runs.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use aya::Pod;
use aya::maps::{Array, Map, MapData};
use clap::Subcommand;
use landfall_ebpf::abi::flow::{Flow, FlowKey, Reply, ReplyKey};
use landfall_ebpf::abi::map;
use landfall_ebpf::abi::service::{Backend, FRONTEND_ADDRESS, Frontend, FrontendKey};
use landfall_ebpf::clock;
use landfall_ebpf::conntrack::{FlowState, TrackedFlow};
use landfall_ebpf::loader::pinned_hash;
use landfall_ebpf::pin::Pins;
use serde::{Deserialize, Serialize};

use super::exit::Exit;
use super::format::Output;
use super::render;
use crate::config::Settings;

/// What to look at.
#[derive(Debug, Subcommand)]
pub(super) enum Bpf {
    /// The load balancer's tables
    #[command(subcommand)]
    Lb(LbList),
    /// Tracked connections
    #[command(subcommand)]
    Ct(CtList),
}

#[derive(Debug, Subcommand)]
pub(super) enum LbList {
    /// List frontends with their endpoints
    #[command(visible_alias = "ls")]
    List(Output),
}

#[derive(Debug, Subcommand)]
pub(super) enum CtList {
    /// List connections
    #[command(visible_alias = "ls")]
    List(Output),
}

/// A frontend as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KernelFrontend {
    pub(super) id: u32,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: u8,
    pub(super) flags: u32,
    pub(super) backends: Vec<KernelBackend>,
}

/// An endpoint as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KernelBackend {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Index of its node; 0 is this one.
    pub(super) node: u16,
    /// `local`, `l2-dsr` or `snat`.
    pub(super) reached: String,
}

/// A connection as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KernelFlow {
    pub(super) protocol: u8,
    pub(super) client: IpAddr,
    pub(super) client_port: u16,
    pub(super) frontend: IpAddr,
    pub(super) frontend_port: u16,
    pub(super) backend: IpAddr,
    pub(super) backend_port: u16,
    pub(super) state: String,
    /// Since either side was last seen, in seconds.
    pub(super) idle_s: u64,
}

/// Looks.
pub(super) fn run(bpf: &Bpf, settings: &Settings) -> anyhow::Result<Exit> {
    let bpffs = &settings.datapath.bpffs;
    let missing = || {
        format!(
            "no data path of this version is pinned below {}; an agent pins it",
            bpffs.display()
        )
    };
    match bpf {
        Bpf::Lb(LbList::List(output)) => {
            let frontends = frontends(bpffs).with_context(missing)?;
            output.print(&frontends, |frontends, _| render::lb::table(frontends))?;
        }
        Bpf::Ct(CtList::List(output)) => {
            let flows = flows(bpffs).with_context(missing)?;
            output.print(&flows, |flows, _| render::conntrack::table(flows))?;
        }
    }
    Ok(Exit::Done)
}

fn frontends(bpffs: &Path) -> anyhow::Result<Vec<KernelFrontend>> {
    let table = pinned_hash::<FrontendKey, Frontend>(bpffs, map::FRONTENDS)?;
    let endpoints: Array<MapData, Backend> = pinned_array(bpffs, map::BACKENDS)?;
    let mut found = Vec::new();
    for entry in table.iter() {
        let (key, frontend) = entry?;
        if frontend.flags & FRONTEND_ADDRESS != 0 {
            continue;
        }
        let count = u32::from(frontend.backend_count);
        let backends = (0..count)
            .map(|offset| {
                let endpoint = endpoints.get(&(frontend.backend_base + offset), 0)?;
                let reached = if offset < u32::from(frontend.local_count) {
                    "local"
                } else if offset < count - u32::from(frontend.snat_count) {
                    "l2-dsr"
                } else {
                    "snat"
                };
                Ok(KernelBackend {
                    address: endpoint.address.into(),
                    port: endpoint.port.get(),
                    node: endpoint.node,
                    reached: reached.to_owned(),
                })
            })
            .collect::<anyhow::Result<_>>()?;
        found.push(KernelFrontend {
            id: frontend.id,
            address: key.address.into(),
            port: key.port.get(),
            protocol: key.protocol,
            flags: frontend.flags,
            backends,
        });
    }
    found.sort_by_key(|frontend| (frontend.address, frontend.port, frontend.protocol));
    Ok(found)
}

fn flows(bpffs: &Path) -> anyhow::Result<Vec<KernelFlow>> {
    let flows = pinned_hash::<FlowKey, Flow>(bpffs, map::FLOWS)?;
    let replies = pinned_hash::<ReplyKey, Reply>(bpffs, map::REPLIES)?;
    let now = clock::tick();
    let mut found = Vec::new();
    for entry in flows.iter() {
        let (key, flow) = entry?;
        let answered = ReplyKey {
            backend: flow.backend,
            source: flow.source,
            backend_port: flow.backend_port,
            source_port: flow.source_port,
            protocol: key.protocol,
            zero: [0; 3],
        };
        let tracked = TrackedFlow {
            key,
            flow,
            reply: replies.get(&answered, 0).ok(),
        };
        let state = match tracked.state() {
            FlowState::Opening => "opening",
            FlowState::Established => "established",
            FlowState::HalfClosed => "half-closed",
            FlowState::Closed => "closed",
        };
        found.push(KernelFlow {
            protocol: key.protocol,
            client: key.client.into(),
            client_port: key.client_port.get(),
            frontend: key.frontend.into(),
            frontend_port: key.frontend_port.get(),
            backend: flow.backend.into(),
            backend_port: flow.backend_port.get(),
            state: state.to_owned(),
            idle_s: tracked.silence(now).as_secs(),
        });
    }
    found.sort_by_key(|flow| {
        (
            flow.frontend,
            flow.frontend_port,
            flow.client,
            flow.client_port,
        )
    });
    Ok(found)
}

fn pinned_array<V: Pod>(bpffs: &Path, name: &str) -> anyhow::Result<Array<MapData, V>> {
    let data = MapData::from_pin(Pins::new(bpffs).maps().join(name))?;
    Ok(Array::try_from(Map::from_map_data(data)?)?)
}
