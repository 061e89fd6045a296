//! Folding of changes into the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Change, DesiredState, ServiceName};

/// What planning must look at again.
#[derive(Clone, Debug, Default)]
pub(super) struct Dirty {
    /// Services that came, changed, went, or whose endpoints may have.
    pub(super) services: BTreeSet<ServiceName>,
    /// A pool changed.
    pub(super) pools: bool,
    /// A policy, Node, interface or peer changed.
    pub(super) ground: bool,
    /// Whether anything at all changed.
    pub(super) any: bool,
}

/// Puts `new` under `key`, or removes what is there; returns what was there and whether that differs.
pub(super) fn replace<K: Ord, V: PartialEq + Clone>(
    map: &mut BTreeMap<K, V>,
    key: K,
    new: Option<V>,
) -> (Option<V>, bool) {
    if map.get(&key) == new.as_ref() {
        return (None, false);
    }
    let before = match new {
        Some(new) => map.insert(key, new),
        None => map.remove(&key),
    };
    (before, true)
}

/// The changes that make `state` of nothing.
pub(super) fn changes(state: &DesiredState) -> impl Iterator<Item = Change> {
    let services = state
        .services
        .iter()
        .map(|(k, v)| Change::Service(k.clone(), Some(v.clone())));
    let slices = state
        .slices
        .iter()
        .map(|(k, v)| Change::EndpointSlice(k.clone(), Some(v.clone())));
    let pods = state
        .pods
        .iter()
        .map(|(k, v)| Change::Pod(k.clone(), Some(v.clone())));
    let nodes = state
        .nodes
        .iter()
        .map(|(k, v)| Change::Node(k.clone(), Some(v.clone())));
    let namespaces = state
        .namespaces
        .iter()
        .map(|(k, v)| Change::Namespace(Arc::clone(k), Some(v.clone())));
    let pools = state
        .pools
        .iter()
        .map(|(k, v)| Change::Pool(k.clone(), Some(v.clone())));
    let policies = state
        .policies
        .iter()
        .map(|(k, v)| Change::Policy(k.clone(), Some(v.clone())));
    let links = std::iter::once_with(|| Change::Links(state.links.clone()));
    services
        .chain(slices)
        .chain(pods)
        .chain(nodes)
        .chain(namespaces)
        .chain(pools)
        .chain(policies)
        .chain(links)
}
