//! Weather: what makes one history differ from another.

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
