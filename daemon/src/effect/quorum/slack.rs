//! How close the deadline came to passing: what was left of it each time it was pushed on.
//!
//! Written on the quorum's thread, with a load and a store; read whenever somebody asks, without a lock between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use landfall_core::election::Moment;

/// Seconds that share a slot.
const SLOT_S: u64 = 10;
/// Slots: the present one, and six that are over, which make a minute.
const SLOTS: u64 = 7;

/// The least that was left in the last minute, by slots of ten seconds.
///
/// A slot holds its number in the upper half and microseconds in the lower one. One thread writes at a time.
#[derive(Debug, Default)]
pub(super) struct Slack([AtomicU64; SLOTS as usize]);

impl Slack {
    /// The deadline `until` was replaced at `now` by a later one.
    pub(super) fn note(&self, until: Moment, now: Moment) {
        let number = number(now);
        let left = until.since(now).as_micros();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let slot = self.slot(number);
        let known = slot.load(Ordering::Relaxed);
        if (known >> 32) != u64::from(number) || (known as u32) > left {
            slot.store(u64::from(number) << 32 | u64::from(left), Ordering::Relaxed);
        }
    }

    /// The least since a minute before `now`; nothing where no deadline was replaced.
    pub(super) fn least(&self, now: Moment) -> Option<Duration> {
        let present = number(now);
        let numbers = (1..=present).rev().take(SLOTS as usize);
        let known = numbers.filter_map(|number| {
            let slot = self.slot(number).load(Ordering::Relaxed);
            ((slot >> 32) == u64::from(number)).then_some(slot as u32)
        });
        known.min().map(|left| Duration::from_micros(left.into()))
    }

    fn slot(&self, number: u32) -> &AtomicU64 {
        &self.0[(u64::from(number) % SLOTS) as usize]
    }
}

/// The number of the slot that `now` falls into, from 1 so that an unused slot is of none.
fn number(now: Moment) -> u32 {
    u32::try_from(now.since_boot().as_secs() / SLOT_S + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_boot(Duration::from_millis(ms))
    }

    #[test]
    fn the_least_of_the_last_minute_is_told_and_then_forgotten() {
        let slack = Slack::default();
        assert_eq!(slack.least(at(0)), None);
        slack.note(at(1_250), at(1_000));
        slack.note(at(1_310), at(1_050));
        assert_eq!(slack.least(at(2_000)), Some(Duration::from_millis(250)));
        slack.note(at(30_040), at(30_000));
        assert_eq!(slack.least(at(31_000)), Some(Duration::from_millis(40)));
        assert_eq!(slack.least(at(89_000)), Some(Duration::from_millis(40)));
        assert_eq!(slack.least(at(101_000)), None);
    }

    #[test]
    fn a_deadline_that_had_passed_left_nothing() {
        let slack = Slack::default();
        slack.note(at(5_000), at(5_200));
        assert_eq!(slack.least(at(5_300)), Some(Duration::ZERO));
        // Ten seconds seven times over, the slot is another's.
        slack.note(at(75_300), at(75_100));
        assert_eq!(slack.least(at(75_300)), Some(Duration::from_millis(200)));
    }
}
