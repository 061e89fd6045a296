//! How bad things are.

/// What goes wrong by chance. Chances are in 10,000.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The longest a message is under way.
    pub(crate) slowest_ms: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// A message is recorded, and comes (again) seconds later.
    pub(crate) belated: u64,
    /// A process, or a thread of it, is stopped in the middle of what it does.
    pub(crate) stall: u64,
    /// The longest half of a request to the store, or a piece of news from it, is under way.
    pub(crate) slowest_store_ms: u64,
    pub(crate) lost_request: u64,
    pub(crate) lost_reply: u64,
    pub(crate) lost_news: u64,
    pub(crate) slowest_disk_ms: u64,
    /// The process dies while something is on its way to the disk.
    pub(crate) dies_storing: u64,
    /// The longest that the announce effect takes, where there is one.
    pub(crate) slowest_effect_ms: u64,
}

pub(crate) const FAIR: Weather = Weather {
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
    slowest_effect_ms: 2,
};

pub(crate) const FOUL: Weather = Weather {
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
    slowest_effect_ms: 20,
};
