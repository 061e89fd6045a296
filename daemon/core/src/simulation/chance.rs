//! Chance: small, and the same everywhere, so that a seed names a history for good.

use std::time::Duration;

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// Begins with this very state.
    pub(crate) fn of_state(state: u64) -> Self {
        Self(state)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place among `count`.
    pub(crate) fn place(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// Once in 10,000 for each of `chances`.
    pub(crate) fn chance(&mut self, chances: u64) -> bool {
        self.below(10_000) < chances
    }

    /// Once in 1,000 for each of `chances`.
    pub(crate) fn per_mille(&mut self, chances: u64) -> bool {
        self.below(1000) < chances
    }

    /// One of `items`, where there are any.
    pub(crate) fn pick<T>(&mut self, mut items: Vec<T>) -> Option<T> {
        let place = self.place(items.len());
        (!items.is_empty()).then(|| items.swap_remove(place))
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to.max(from) - from) * 1000))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next()
    }
}
