//! Weather: what makes one history differ from another.

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
