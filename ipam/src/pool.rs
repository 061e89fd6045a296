//! Pools of addresses as users define them, their conflicts and their counts.
//!
//! Owns validation of a pool as a whole. Fed by [`crate::Block`] and [`crate::LabelSelector`];
//! feeds the allocator, which reports back a [`PoolStatus`] per pool.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::block::{Block, FirstLast};
use crate::interval::IntervalSet;
use crate::range::PerFamily;
use crate::request::Created;
use crate::selector::LabelSelector;

/// A pool whose blocks do not overlap each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    name: Arc<str>,
    created: Created,
    blocks: Vec<Block>,
    first_last: FirstLast,
    selector: Option<LabelSelector>,
    disabled: bool,
}

/// A pool's place among pools: the oldest first, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PoolOrder {
    pub(crate) created: Created,
    pub(crate) name: Arc<str>,
}

impl Pool {
    /// An enabled pool for every service.
    ///
    /// # Errors
    /// Two of `blocks` overlap.
    pub fn new(
        name: &str,
        created: Created,
        blocks: Vec<Block>,
        first_last: FirstLast,
    ) -> Result<Self, PoolError> {
        let mut sorted: Vec<(usize, &Block)> = blocks.iter().enumerate().collect();
        sorted.sort_by_key(|(index, block)| (block.range(), *index));
        for pair in sorted.windows(2) {
            let [(low_index, low), (high_index, high)] = [pair[0], pair[1]];
            if low.range().overlaps(&high.range()) {
                let (first, second) = (low_index.min(high_index), low_index.max(high_index));
                return Err(PoolError::OverlappingBlocks {
                    first,
                    second,
                    first_block: Box::new(blocks[first]),
                    second_block: Box::new(blocks[second]),
                });
            }
        }
        let name = name.into();
        Ok(Self {
            name,
            created,
            blocks,
            first_last,
            selector: None,
            disabled: false,
        })
    }

    /// The same pool for the services that `selector` selects; `None` is for all.
    #[must_use]
    pub fn with_selector(mut self, selector: Option<LabelSelector>) -> Self {
        self.selector = selector;
        self
    }

    /// The same pool, disabled or not. From a disabled pool nothing new is given; what was given
    /// stays.
    #[must_use]
    pub fn with_disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was created; pools are tried from the oldest on.
    pub const fn created(&self) -> Created {
        self.created
    }

    /// The blocks as they were given.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether the first and the last address of a CIDR may be handed out.
    pub const fn first_last(&self) -> FirstLast {
        self.first_last
    }

    /// Which services the pool is for; `None` is all.
    pub const fn selector(&self) -> Option<&LabelSelector> {
        self.selector.as_ref()
    }

    /// Whether nothing new is given from it by its owner's will.
    pub const fn disabled(&self) -> bool {
        self.disabled
    }

    pub(crate) fn order(&self) -> PoolOrder {
        PoolOrder {
            created: self.created,
            name: Arc::clone(&self.name),
        }
    }

    /// The addresses that may be handed out.
    pub(crate) fn usable(&self) -> PerFamily<IntervalSet> {
        let mut usable = PerFamily::<IntervalSet>::default();
        for block in &self.blocks {
            let range = block.usable(self.first_last);
            let (first, last) = range.bounds();
            usable[range.family()].insert(first, last);
        }
        usable
    }
}

/// Why a list of blocks is no pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// Two blocks have an address in common.
    OverlappingBlocks {
        /// Index of the earlier one in `spec.blocks`.
        first: usize,
        /// Index of the later one.
        second: usize,
        /// The earlier one.
        first_block: Box<Block>,
        /// The later one.
        second_block: Box<Block>,
    },
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverlappingBlocks {
                first,
                second,
                first_block,
                second_block,
            } => write!(
                f,
                "spec.blocks[{second}]: {second_block} overlaps spec.blocks[{first}] \
                 {first_block}; remove or narrow one of them"
            ),
        }
    }
}

impl Error for PoolError {}

/// Two pools of one list have the same name; nothing of the list was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicatePool {
    /// The name.
    pub name: Arc<str>,
}

impl fmt::Display for DuplicatePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "metadata.name: two pools are named \"{}\"; rename one of them",
            self.name
        )
    }
}

impl Error for DuplicatePool {}

/// That a pool overlaps an older one, for which reason nothing new is given from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The pool's own block.
    pub block: Block,
    /// The older pool.
    pub with: Arc<str>,
    /// The older pool's block.
    pub with_block: Block,
}

impl Conflict {
    /// The reason of the condition `PoolConflict`, as in Cilium.
    pub const REASON: &'static str = "cidr_overlap";
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spec.blocks: {} overlaps {} of the older pool \"{}\"; nothing new is allocated from \
             this pool until one of them is narrowed",
            self.block, self.with_block, self.with
        )
    }
}

/// Counts and state of a pool. `total = used + available + reserved`, except where a count is
/// capped at `u128::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// The pool's name.
    pub name: Arc<str>,
    /// Addresses that may be handed out in principle (without reserved first and last ones).
    pub total: u128,
    /// Addresses within the pool that services have; a shared one counts once.
    pub used: u128,
    /// Addresses within the pool that are nodes' own.
    pub reserved: u128,
    /// Addresses that are free, whether or not the pool may give any at present.
    pub available: u128,
    /// Whether the pool is disabled.
    pub disabled: bool,
    /// With which older pool it conflicts.
    pub conflict: Option<Conflict>,
}
