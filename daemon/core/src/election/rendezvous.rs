//! Preference by rendezvous hash (Thaler and Ravishankar, 1998) under a cap: who takes what is free, and
//! who hands over what is too much.
//!
//! Each node computes the same answer from the same view. Views differ for moments; the store's
//! compare-and-swap decides then, never this.

use std::collections::{BTreeMap, BTreeSet};

use super::name::LeaseName;
use crate::model::NodeName;

/// The weight of `node` for `key`; the greatest wins. FNV-1a, 64 bits, then the finalizer of
/// `SplitMix64`, as FNV alone leaves alike names with alike high bits.
#[must_use]
pub fn weight(key: &str, node: &NodeName) -> u64 {
    let bytes = key.bytes().chain([0xff]).chain(node.as_str().bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// `nodes`, the most preferred for `key` first.
#[must_use]
pub fn ranked<'a>(key: &str, nodes: impl IntoIterator<Item = &'a NodeName>) -> Vec<&'a NodeName> {
    let mut ranked: Vec<_> = nodes
        .into_iter()
        .map(|node| (weight(key, node), node))
        .collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().map(|(_, node)| node).collect()
}

/// How many VIPs each live node holds, and how many it should at most.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    counts: BTreeMap<NodeName, usize>,
    cap: usize,
}

impl Shares {
    /// Shares of `vips` VIPs among `nodes`, the live ones that can announce any of them, nobody holding
    /// any yet. The cap is ceil(VIPs / nodes).
    #[must_use]
    pub fn new(vips: usize, nodes: &BTreeSet<NodeName>) -> Self {
        let counts = nodes.iter().map(|node| (node.clone(), 0)).collect();
        Self {
            counts,
            cap: vips.div_ceil(nodes.len().max(1)),
        }
    }

    /// The most VIPs a node should hold.
    #[must_use]
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// How many VIPs `node` holds.
    #[must_use]
    pub fn count(&self, node: &NodeName) -> usize {
        self.counts.get(node).copied().unwrap_or(0)
    }

    /// Counts one more VIP for `node`, where it is one of the nodes that share.
    pub fn add(&mut self, node: &NodeName) {
        if let Some(count) = self.counts.get_mut(node) {
            *count += 1;
        }
    }

    /// Who of `candidates` should have `vip`: the most preferred below the cap; where all are at it, the
    /// one with the least, since an IP without an answer is worse than an uneven share.
    #[must_use]
    pub fn choose<'a>(
        &self,
        vip: &LeaseName,
        candidates: impl IntoIterator<Item = &'a NodeName>,
    ) -> Option<&'a NodeName> {
        let ranked = ranked(vip.as_str(), candidates);
        let below = ranked.iter().find(|node| self.count(node) < self.cap);
        below
            .or_else(|| ranked.iter().min_by_key(|node| self.count(node)))
            .copied()
    }

    /// The node with the most VIPs, the first by name among equals, where it has more than the cap.
    #[must_use]
    pub fn overloaded(&self) -> Option<&NodeName> {
        let most = self
            .counts
            .iter()
            .max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        most.filter(|(_, count)| **count > self.cap)
            .map(|(node, _)| node)
    }
}
