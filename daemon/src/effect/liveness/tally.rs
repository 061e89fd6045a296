//! Counting probes that were sent and echoed. Sans-IO.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Numbers a probe; grows with every one sent.
pub type Serial = u64;

/// How many probes in a row make a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Probes in a row without an echo after which silence is found.
    pub missed: usize,
    /// How long the last of them is waited for.
    pub echo: Duration,
    /// Echoes in a row after which it ends.
    pub regained: u32,
}

/// What becomes of the probes of one kind on one road.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Not echoed, since the last that was.
    unanswered: VecDeque<(Serial, Instant)>,
    /// Echoes without a miss in between.
    in_a_row: u32,
    /// The verdict.
    pub(super) silent: bool,
}

impl Tally {
    /// A probe has left; no more than `keep` are remembered.
    pub(super) fn sent(&mut self, serial: Serial, at: Instant, keep: usize) {
        self.unanswered.push_back((serial, at));
        if self.unanswered.len() > keep {
            self.unanswered.pop_front();
        }
    }

    /// An echo has come in. One of none of those remembered is a second one, or older than all that count.
    pub(super) fn heard(&mut self, serial: Serial) {
        let mut unanswered = self.unanswered.iter();
        let Some(place) = unanswered.position(|(sent, _)| *sent == serial) else {
            return;
        };
        self.in_a_row = if place == 0 {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        self.unanswered.drain(..=place);
    }

    /// What is out counts for nothing.
    pub(super) fn void(&mut self) {
        self.unanswered.clear();
    }

    /// Probes without an echo so far, however short a time ago they were sent.
    pub(super) fn missing(&self) -> usize {
        self.unanswered.len()
    }

    /// When `count` probes in a row will have been missed, if as many are out.
    pub(super) fn missed_at(&self, count: usize, echo: Duration) -> Option<Instant> {
        let (_, sent) = self.unanswered.get(count.checked_sub(1)?)?;
        Some(*sent + echo)
    }

    /// Judges at `now`, by `missed` probes in a row instead of the patience's own number.
    pub(super) fn judge(&mut self, patience: &Patience, missed: usize, now: Instant) {
        let is_missed = |count| {
            let at = self.missed_at(count, patience.echo);
            at.is_some_and(|at| now >= at)
        };
        let silent = if self.silent {
            self.in_a_row < patience.regained || is_missed(1)
        } else {
            is_missed(missed)
        };
        if silent && !self.silent {
            self.in_a_row = 0;
        }
        self.silent = silent;
    }
}
