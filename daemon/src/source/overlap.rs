//! What is wrong between objects that are right by themselves.
//!
//! Pools that overlap, and addresses asked for that no pool has or that are a node's own. The
//! allocator judges by the same rules and refuses by itself; the complaints here tell a person, with
//! the file to look into, before an agent or without one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use landfall_core::model::{ObjectError, ObjectRef, Service, ServiceType, Severity};
use landfall_ipam::{AddressRange, Pool};

use super::object::Object;

/// An object with what complaints need to name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) origin: &'a str,
    pub(super) reference: &'a ObjectRef,
    pub(super) object: &'a Object,
    /// The field by which a Service asks for addresses.
    pub(super) request_field: &'a str,
}

/// Complaints about pools, and about the addresses that Services ask for.
pub(super) fn complaints<'a>(objects: impl Iterator<Item = Placed<'a>>) -> Vec<ObjectError> {
    let mut pools: Vec<(Placed<'a>, &Pool)> = Vec::new();
    let mut services: Vec<(Placed<'a>, &Service)> = Vec::new();
    let mut nodes: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for placed in objects {
        match placed.object {
            Object::Pool(pool) => pools.push((placed, pool)),
            Object::Service(service) if !service.requested_ips.is_empty() => {
                services.push((placed, service));
            }
            Object::Node(node) => {
                nodes.extend(
                    node.addresses
                        .iter()
                        .map(|address| (*address, node.name.as_str())),
                );
            }
            _ => {}
        }
    }
    pools.sort_by_key(|(_, pool)| (pool.created(), pool.name().to_owned()));
    let mut found = overlaps(&pools);
    for (placed, service) in services {
        if service.service_type == ServiceType::LoadBalancer {
            found.extend(
                service
                    .requested_ips
                    .iter()
                    .filter_map(|address| request(placed, *address, &pools, &nodes)),
            );
        }
    }
    found
}

/// A warning on each pool that overlaps an older one, for the first such pair of blocks.
///
/// Blocks are swept in order of their first addresses, so that a thousand pools cost no more than
/// sorting them.
fn overlaps(pools: &[(Placed<'_>, &Pool)]) -> Vec<ObjectError> {
    let mut blocks: Vec<_> = pools
        .iter()
        .enumerate()
        .flat_map(|(pool, (_, it))| {
            it.blocks()
                .iter()
                .enumerate()
                .map(move |(index, block)| (block.range(), pool, index))
        })
        .collect();
    blocks.sort();
    let mut conflicts: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
    let mut open: Vec<(AddressRange, usize, usize)> = Vec::new();
    for (range, pool, index) in blocks {
        open.retain(|(earlier, ..)| earlier.overlaps(&range));
        for &(_, other, other_index) in open.iter().filter(|(_, other, _)| *other != pool) {
            let mut pair = [(other, other_index), (pool, index)];
            pair.sort_unstable();
            let [(older, older_block), (younger, younger_block)] = pair;
            let conflict = (older, older_block, younger_block);
            let known = conflicts.entry(younger).or_insert(conflict);
            *known = (*known).min(conflict);
        }
        open.push((range, pool, index));
    }
    let mut found = Vec::new();
    for (younger, (older, older_block, younger_block)) in conflicts {
        let (placed, pool) = pools[younger];
        let (other, older) = pools[older];
        found.push(ObjectError {
            origin: placed.origin.to_owned(),
            object: placed.reference.clone(),
            field: format!("spec.blocks[{younger_block}]"),
            problem: format!(
                "{} overlaps {} of pool `{}` ({}), so that nothing new is given from this one",
                pool.blocks()[younger_block],
                older.blocks()[older_block],
                older.name(),
                other.origin,
            ),
            remedy: "narrow or remove one of the two".to_owned(),
            severity: Severity::Warning,
        });
    }
    found
}

/// What keeps a Service from the address it asks for.
fn request(
    placed: Placed<'_>,
    address: IpAddr,
    pools: &[(Placed<'_>, &Pool)],
    nodes: &BTreeMap<IpAddr, &str>,
) -> Option<ObjectError> {
    let complaint = |problem, remedy: &str, severity| {
        Some(ObjectError {
            origin: placed.origin.to_owned(),
            object: placed.reference.clone(),
            field: placed.request_field.to_owned(),
            problem,
            remedy: remedy.to_owned(),
            severity,
        })
    };
    if let Some(node) = nodes.get(&address) {
        return complaint(
            format!("{address} is an address of node `{node}` itself and is not given"),
            "ask for an address that no node has",
            Severity::Error,
        );
    }
    let within = |pool: &Pool| {
        pool.blocks()
            .iter()
            .any(|block| block.usable(pool.first_last()).contains(address))
    };
    if pools.is_empty() || pools.iter().any(|(_, pool)| within(pool)) {
        return None;
    }
    complaint(
        format!("{address} lies outside every pool and is not given"),
        "ask for an address of a pool, or add it to one",
        Severity::Warning,
    )
}
