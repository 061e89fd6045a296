//! What waits to be told: bounded, and paced; without I/O.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::effect::status::Notice;

/// Events that are told at once.
const BURST: u32 = 50;
/// How long one more takes beyond that.
const PERIOD: Duration = Duration::from_millis(200);
/// Events that wait; of more, those that wait longest are dropped.
const WAITING: usize = 1024;

/// Events in the order in which they happened.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Notice>,
    dropped: u64,
    /// When the whole burst is there again; each event puts it off by a period.
    full_at: Instant,
    not_before: Instant,
}

impl Queue {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            dropped: 0,
            full_at: now,
            not_before: now,
        }
    }

    pub(super) fn push(&mut self, notice: Notice, now: Instant) {
        self.waiting.push_back(notice);
        if self.waiting.len() > WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
            super::note(super::DROPPED, 1);
        }
        self.full_at = self.full_at.max(now);
    }

    /// Puts back what could not be told; nothing is told before `until`.
    pub(super) fn put_back(&mut self, notice: Notice, until: Instant) {
        self.waiting.push_front(notice);
        self.not_before = until;
    }

    /// When the next one may be told, if any waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.waiting.front()?;
        let paced = (self.full_at + PERIOD)
            .checked_sub(PERIOD * BURST)
            .unwrap_or(now);
        Some(paced.max(self.not_before).max(now))
    }

    /// The next one, if it may be told at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Notice> {
        if self.due(now)? > now {
            return None;
        }
        self.full_at = self.full_at.max(now) + PERIOD;
        let notice = self.waiting.pop_front();
        if self.waiting.is_empty() && self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            warn!(
                dropped,
                "there were too many events; the earliest were not told"
            );
        }
        notice
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::model::ServiceName;
    use landfall_core::report::EventKind;

    use super::*;
    use crate::telemetry::Scrape;

    fn notice(index: usize) -> Notice {
        Notice {
            service: ServiceName::new("default", format!("s{index}")),
            kind: EventKind::Normal,
            reason: "Announcing",
            message: String::new(),
        }
    }

    /// How many may be told at `now`.
    fn told(queue: &mut Queue, now: Instant) -> usize {
        std::iter::from_fn(|| queue.pop(now)).count()
    }

    #[test]
    fn fifty_are_told_at_once_and_then_five_in_a_second() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        for index in 0..100 {
            queue.push(notice(index), now);
        }
        assert_eq!(told(&mut queue, now), 50);
        assert_eq!(queue.due(now), Some(now + PERIOD));
        assert_eq!(told(&mut queue, now + Duration::from_secs(1)), 5);
        assert_eq!(told(&mut queue, now + Duration::from_secs(60)), 45);
        assert_eq!(queue.due(now), None);
        // The burst is there again, and no more than that.
        let later = now + Duration::from_secs(3600);
        for index in 0..100 {
            queue.push(notice(index), later);
        }
        assert_eq!(told(&mut queue, later), 50);
    }

    #[test]
    fn what_waits_longest_is_dropped_when_there_is_too_much() {
        let scrape = Scrape::new();
        let _here = scrape.here();
        let now = Instant::now();
        let mut queue = Queue::new(now);
        for index in 0..WAITING + 3 {
            queue.push(notice(index), now);
        }
        assert_eq!(queue.dropped, 3);
        let dropped = scrape.value("landfall_event_writes_total{outcome=\"dropped\"}");
        assert_eq!(dropped, Some(3.0));
        assert_eq!(queue.pop(now), Some(notice(3)));
    }

    #[test]
    fn what_could_not_be_told_is_the_next_one_after_a_pause() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.push(notice(0), now);
        queue.push(notice(1), now);
        let first = queue.pop(now).expect("it may be told");
        let until = now + Duration::from_secs(1);
        queue.put_back(first, until);
        assert_eq!((queue.pop(now), queue.due(now)), (None, Some(until)));
        assert_eq!(queue.pop(until), Some(notice(0)));
    }
}
