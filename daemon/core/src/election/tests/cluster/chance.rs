//! Chance and weather: what makes one history differ from another.

use std::time::Duration;

/// `SplitMix64`: small, and the same everywhere, so that a seed names a history for good.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(in crate::election::tests) u64);

impl Rng {
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

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to - from) * 1000))
    }

    /// One of `items`, where there are any.
    pub(crate) fn pick<T>(&mut self, mut items: Vec<T>) -> Option<T> {
        let place = usize::try_from(self.below(items.len() as u64)).unwrap_or(0);
        (!items.is_empty()).then(|| items.swap_remove(place))
    }
}

/// How bad things are. Chances are per mille.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The longest a request, an answer or half of a piece of news is under way, in milliseconds.
    pub(crate) slowest_ms: u64,
    /// How long each of a node's writers is busy with one write, in milliseconds.
    pub(crate) write_ms: u64,
    pub(crate) lost_request: u64,
    pub(crate) lost_answer: u64,
    pub(crate) lost_news: u64,
    pub(crate) freeze_in_action: u64,
}

pub(crate) const FAIR: Weather = Weather {
    slowest_ms: 8,
    write_ms: 0,
    lost_request: 0,
    lost_answer: 0,
    lost_news: 0,
    freeze_in_action: 0,
};

pub(crate) const FOUL: Weather = Weather {
    slowest_ms: 400,
    write_ms: 0,
    lost_request: 40,
    lost_answer: 40,
    lost_news: 100,
    freeze_in_action: 3,
};

/// A directory on a disk that takes its time to make a write durable.
pub(crate) const SLOW_DISK: Weather = Weather {
    slowest_ms: 2,
    write_ms: 5,
    ..FAIR
};
