//! Silences in a record of answers.

use std::time::{Duration, Instant};

/// A span of time that something was watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When the watching began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
}

/// A silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// How long it was.
    pub length: Duration,
    /// When it began: at an answer, or at the window's beginning.
    pub from: Instant,
}

impl Gap {
    /// When it ended: at an answer, or at the window's end.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.from + self.length
    }
}

/// The longest time within `window` without an answer: before the first, between two, or after
/// the last. `answers` are in order of time; those outside the window count for nothing.
#[must_use]
pub fn longest(answers: impl IntoIterator<Item = Instant>, window: Window) -> Gap {
    let mut longest = Gap {
        length: Duration::ZERO,
        from: window.from,
    };
    let mut last = window.from;
    let inside = answers
        .into_iter()
        .filter(|at| (window.from..=window.to).contains(at));
    for at in inside.chain([window.to]) {
        let length = at.saturating_duration_since(last);
        if length > longest.length {
            longest = Gap { length, from: last };
        }
        last = at;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_ms(answers: &[u64], from: u64, to: u64) -> (u64, u64) {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let gap = longest(
            answers.iter().map(|ms| at(*ms)),
            Window {
                from: at(from),
                to: at(to),
            },
        );
        (
            gap.length.as_millis() as u64,
            (gap.from - zero).as_millis() as u64,
        )
    }

    #[test]
    fn a_gap_may_be_before_between_or_after_the_answers() {
        assert_eq!(longest_ms(&[30, 35, 40], 0, 45), (30, 0));
        assert_eq!(longest_ms(&[5, 35, 40], 0, 45), (30, 5));
        assert_eq!(longest_ms(&[5, 10, 15], 0, 45), (30, 15));
    }

    #[test]
    fn no_answer_is_a_gap_as_long_as_the_window() {
        assert_eq!(longest_ms(&[], 10, 45), (35, 10));
        assert_eq!(longest_ms(&[5, 50], 10, 45), (35, 10));
    }
}
