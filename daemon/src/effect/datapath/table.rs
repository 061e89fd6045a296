//! From the plan's service table to what the kernel's table wants.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use landfall_core::model::{NodeName, Protocol};
use landfall_core::plan::service_table::{
    Backend, Frontend, FrontendKey, FrontendKind, ServiceTable,
};
use landfall_ebpf::abi::{Address, PortNumber};
use landfall_ebpf::conntrack::LiveEndpoint;
use landfall_ebpf::frontends::{Endpoint, NodeShare, Spec};
use landfall_ebpf::maglev;
use landfall_ebpf::peers::Reach;

use super::moved::Fingerprint;

/// What a spec depends on besides its frontend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Surroundings {
    /// Index and reach of every other node.
    pub(super) nodes: BTreeMap<NodeName, (u16, Reach)>,
    /// Addresses of nodes: a packet to one of their ports that no service has is theirs.
    pub(super) own: BTreeSet<IpAddr>,
}

/// The kernel's key of a frontend.
pub(super) fn key(key: &FrontendKey) -> landfall_ebpf::abi::service::FrontendKey {
    landfall_ebpf::abi::service::FrontendKey {
        address: Address::from(key.address),
        port: PortNumber::new(key.port.get()),
        protocol: key.protocol.number(),
        zero: 0,
    }
}

/// A hash of all that the node tables of `node` are made of: equal where two nodes choose alike. Frontends that stay on one
/// node are left out, since no other node has the same table of them.
pub(super) fn fingerprint(
    table: &ServiceTable,
    node: &NodeName,
    around: &Surroundings,
) -> Fingerprint {
    let mut text = Vec::new();
    let shared = table
        .frontends
        .iter()
        .filter(|(_, frontend)| frontend.kind != FrontendKind::ClusterIp && !frontend.local_only);
    for (key, frontend) in shared {
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        for name in frontend
            .backends
            .iter()
            .filter_map(|backend| backend.node.as_ref())
        {
            let reach = around.nodes.get(name).map(|(_, reach)| *reach);
            if name == node || reach.is_some_and(|reach| reach != Reach::Unreachable) {
                *shares.entry(name.as_str()).or_default() += 1;
            }
        }
        text.extend_from_slice(&Address::from(key.address).octets());
        text.extend_from_slice(&key.port.get().to_be_bytes());
        text.extend_from_slice(&[key.protocol.number(), u8::from(frontend.affinity.is_some())]);
        for (name, weight) in shares {
            text.extend_from_slice(name.as_bytes());
            text.push(0);
            text.extend_from_slice(&weight.to_be_bytes());
        }
    }
    Fingerprint(maglev::identity(&text))
}

/// A frontend for people.
pub(super) fn show(key: &FrontendKey) -> String {
    match key.address {
        IpAddr::V4(v4) => format!("{v4}:{}/{}", key.port, key.protocol),
        IpAddr::V6(v6) => format!("[{v6}]:{}/{}", key.port, key.protocol),
    }
}

fn endpoint(backend: &Backend) -> Endpoint {
    (
        Address::from(backend.address),
        PortNumber::new(backend.port.get()),
    )
}

/// What a frontend shall be in the kernel of `node`.
pub(super) fn spec(
    key: &FrontendKey,
    frontend: &Frontend,
    node: &NodeName,
    around: &Surroundings,
) -> Spec {
    let mut here: Vec<Endpoint> = Vec::new();
    let mut there: BTreeMap<&NodeName, Vec<Endpoint>> = BTreeMap::new();
    let mut others: Vec<Endpoint> = Vec::new();
    for backend in &frontend.backends {
        match &backend.node {
            Some(name) if name == node => here.push(endpoint(backend)),
            Some(name) if around.nodes.contains_key(name) && !frontend.local_only => {
                there.entry(name).or_default().push(endpoint(backend));
            }
            _ => others.push(endpoint(backend)),
        }
    }
    let mut nodes = vec![NodeShare {
        index: 0,
        identity: maglev::identity(node.as_str().as_bytes()),
        snat: false,
        endpoints: here,
    }];
    for (name, endpoints) in there {
        let (index, reach) = around.nodes[name];
        if reach == Reach::Unreachable {
            others.extend(endpoints);
            continue;
        }
        nodes.push(NodeShare {
            index,
            identity: maglev::identity(name.as_str().as_bytes()),
            snat: reach == Reach::Snat,
            endpoints,
        });
    }
    let draining = frontend
        .draining
        .iter()
        .filter(|backend| backend.node.as_ref() == Some(node))
        .map(endpoint)
        .collect();
    Spec {
        external: frontend.kind != FrontendKind::ClusterIp,
        owns_address: frontend.kind != FrontendKind::ClusterIp
            && !around.own.contains(&key.address),
        affinity_s: frontend.affinity.map_or(0, |timeout| {
            u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)
        }),
        source_ranges: frontend.source_ranges.iter().flat_map(prefixes).collect(),
        nodes,
        others,
        draining,
    }
}

/// A block as mapped addresses with prefix lengths of 128 bits.
fn prefixes(block: &landfall_ipam::Block) -> Vec<(Address, u8)> {
    let range = block.range();
    let (first, last) = (range.first(), range.last());
    let (bits, first, last) = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (32_u32, u128::from(u32::from(a)), u128::from(u32::from(b)))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => (128, u128::from(a), u128::from(b)),
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    let mut from = first;
    while from <= last {
        let aligned = from.trailing_zeros().min(bits);
        let room = last - from;
        let fits = (room.checked_add(1)).map_or(bits, u128::ilog2);
        let size = aligned.min(fits);
        let address = if bits == 32 {
            IpAddr::V4((from as u32).into())
        } else {
            IpAddr::V6(from.into())
        };
        found.push((Address::from(address), (128 - size) as u8));
        match 1_u128
            .checked_shl(size)
            .and_then(|step| from.checked_add(step))
        {
            Some(next) => from = next,
            None => break,
        }
    }
    found
}

/// Endpoints of this node that flows may still go to. A datagram flow leaves a draining endpoint, a connection finishes.
pub(super) fn live_endpoints(table: &ServiceTable, node: &NodeName) -> HashSet<LiveEndpoint> {
    let mut live = HashSet::new();
    for (key, frontend) in &table.frontends {
        let draining = frontend
            .draining
            .iter()
            .filter(|_| key.protocol == Protocol::Tcp);
        for backend in frontend.backends.iter().chain(draining) {
            if backend.node.as_ref() == Some(node) {
                let (address, port) = endpoint(backend);
                live.insert((address, port, key.protocol.number()));
            }
        }
    }
    live
}
