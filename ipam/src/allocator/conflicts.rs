//! Which pools overlap older ones.
//!
//! Owns the rule: pools are looked at from the oldest on (ties by name), and one with a block that
//! overlaps a block of an accepted pool conflicts and is not accepted. Fed by the list of pools;
//! feeds the table of pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::Block;
use crate::pool::{Conflict, Pool, PoolOrder};
use crate::range::Family;

/// The conflict of each pool that has one.
pub(super) fn conflicts<'a>(
    pools: impl Iterator<Item = (&'a PoolOrder, &'a Pool)>,
) -> BTreeMap<PoolOrder, Conflict> {
    // Blocks of accepted pools, disjoint, by family and lowest address.
    let mut accepted: BTreeMap<(Family, u128), (u128, &PoolOrder, &Block)> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (order, pool) in pools {
        let conflict = pool.blocks().iter().find_map(|block| {
            let (family, (first, last)) = (block.range().family(), block.range().bounds());
            // Being disjoint, the block that begins last at or below ours also ends last.
            let (_, &(end, with, with_block)) =
                accepted.range((family, 0)..=(family, last)).next_back()?;
            (end >= first).then(|| Conflict {
                block: *block,
                with: Arc::clone(&with.name),
                with_block: *with_block,
            })
        });
        if let Some(conflict) = conflict {
            found.insert(order.clone(), conflict);
            continue;
        }
        for block in pool.blocks() {
            let (first, last) = block.range().bounds();
            accepted.insert((block.range().family(), first), (last, order, block));
        }
    }
    found
}
