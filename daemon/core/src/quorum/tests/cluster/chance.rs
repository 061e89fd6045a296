//! Chance and weather: what makes one history differ from another.

use std::time::Duration;

/// `SplitMix64`: small, and the same everywhere, so that a seed names a history for good.
#[derive(Clone, Debug)]
pub(in crate::quorum::tests) struct Rng(u64);

impl Rng {
    pub(in crate::quorum::tests) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::quorum::tests) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place among `count`.
    pub(in crate::quorum::tests) fn place(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// Once in 10,000 for each of `chances`.
    pub(in crate::quorum::tests) fn chance(&mut self, chances: u64) -> bool {
        self.below(10_000) < chances
    }

    pub(in crate::quorum::tests) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to.max(from) - from) * 1000))
    }

    pub(in crate::quorum::tests) fn number(&mut self) -> u64 {
        self.next()
    }
}

/// How bad things are. Chances are in 10,000.
#[derive(Clone, Copy, Debug)]
pub(in crate::quorum::tests) struct Weather {
    /// The longest a message is under way.
    pub(in crate::quorum::tests) slowest_ms: u64,
    pub(in crate::quorum::tests) lost: u64,
    pub(in crate::quorum::tests) doubled: u64,
    /// A message is recorded, and comes (again) seconds later.
    pub(in crate::quorum::tests) belated: u64,
    /// The process is stopped between two actions.
    pub(in crate::quorum::tests) stall: u64,
    /// The longest half of a request to the store, or a piece of news from it, is under way.
    pub(in crate::quorum::tests) slowest_store_ms: u64,
    pub(in crate::quorum::tests) lost_request: u64,
    pub(in crate::quorum::tests) lost_reply: u64,
    pub(in crate::quorum::tests) lost_news: u64,
    pub(in crate::quorum::tests) slowest_disk_ms: u64,
    /// The process dies while something is on its way to the disk.
    pub(in crate::quorum::tests) dies_storing: u64,
}

pub(in crate::quorum::tests) const FAIR: Weather = Weather {
    slowest_ms: 3,
    lost: 0,
    doubled: 0,
    belated: 0,
    stall: 0,
    slowest_store_ms: 10,
    lost_request: 0,
    lost_reply: 0,
    lost_news: 0,
    slowest_disk_ms: 8,
    dies_storing: 0,
};

pub(in crate::quorum::tests) const FOUL: Weather = Weather {
    slowest_ms: 100,
    lost: 800,
    doubled: 200,
    belated: 20,
    stall: 2,
    slowest_store_ms: 400,
    lost_request: 300,
    lost_reply: 300,
    lost_news: 1000,
    slowest_disk_ms: 100,
    dies_storing: 800,
};
