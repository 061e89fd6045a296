//! Gives out contiguous ranges of array maps.
//!
//! A range given back is not reused before [`REST`] has passed: a kernel program that looked a frontend up before its entry
//! was replaced may still read the old range.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a returned range rests. Programs run for microseconds.
pub const REST: Duration = Duration::from_millis(50);

/// Ranges of `0..size`.
#[derive(Debug)]
pub struct Ranges {
    free: BTreeMap<u32, u32>,
    resting: VecDeque<(Instant, u32, u32)>,
    size: u32,
    used: u32,
}

impl Ranges {
    /// All of `0..size`, free.
    pub fn new(size: u32) -> Self {
        Self {
            free: BTreeMap::from([(0, size)]),
            resting: VecDeque::new(),
            size,
            used: 0,
        }
    }

    /// Elements in use or at rest, of all.
    pub fn fill(&self) -> (u32, u32) {
        (self.used, self.size)
    }

    /// The first range of `len` elements that is free at `now`; nothing if there is none. Length 0 is always at 0.
    pub fn take(&mut self, len: u32, now: Instant) -> Option<u32> {
        if len == 0 {
            return Some(0);
        }
        while let Some((since, start, length)) = self.resting.front().copied() {
            if now.saturating_duration_since(since) < REST {
                break;
            }
            self.resting.pop_front();
            self.release(start, length);
        }
        let (start, length) = self
            .free
            .iter()
            .find(|(_, length)| **length >= len)
            .map(|(s, l)| (*s, *l))?;
        self.free.remove(&start);
        if length > len {
            self.free.insert(start + len, length - len);
        }
        self.used += len;
        Some(start)
    }

    /// Takes a range that is known to be in use, as found in a map after a restart. Overlap with a taken one is ignored.
    pub fn claim(&mut self, start: u32, len: u32) {
        let end = start.saturating_add(len).min(self.size);
        let pieces: Vec<(u32, u32)> = self
            .free
            .range(..end)
            .map(|(s, l)| (*s, *l))
            .filter(|(s, l)| s + l > start)
            .collect();
        for (s, l) in pieces {
            self.free.remove(&s);
            if s < start {
                self.free.insert(s, start - s);
            }
            if s + l > end {
                self.free.insert(end, s + l - end);
            }
            self.used += (s + l).min(end) - s.max(start);
        }
    }

    /// Gives a range back.
    pub fn give(&mut self, start: u32, len: u32, now: Instant) {
        if len > 0 {
            self.resting.push_back((now, start, len));
        }
    }

    fn release(&mut self, start: u32, len: u32) {
        self.used -= len;
        let (mut start, mut len) = (start, len);
        if let Some((before, length)) = self.free.range(..start).next_back().map(|(s, l)| (*s, *l))
            && before + length == start
        {
            self.free.remove(&before);
            start = before;
            len += length;
        }
        if let Some(length) = self.free.remove(&(start + len)) {
            len += length;
        }
        self.free.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_returned_range_rests_before_it_is_given_out_again() {
        let now = Instant::now();
        let mut ranges = Ranges::new(10);
        assert_eq!(ranges.take(10, now), Some(0));
        ranges.give(0, 10, now);
        assert_eq!(ranges.take(1, now), None);
        assert_eq!(ranges.take(10, now + REST), Some(0));
    }

    #[test]
    fn claimed_ranges_are_not_given_out() {
        let mut ranges = Ranges::new(10);
        ranges.claim(2, 3);
        ranges.claim(4, 2);
        assert_eq!(ranges.fill(), (4, 10));
        assert_eq!(ranges.take(4, Instant::now()), Some(6));
        assert_eq!(ranges.take(2, Instant::now()), Some(0));
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_all_come_back(lengths in prop::collection::vec(1_u32..20, 1..60)) {
            let mut now = Instant::now();
            let mut ranges = Ranges::new(256);
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (step, length) in lengths.into_iter().enumerate() {
                if step % 3 == 2 && !held.is_empty() {
                    let (start, len) = held.swap_remove(step % held.len());
                    ranges.give(start, len, now);
                    now += REST;
                }
                if let Some(start) = ranges.take(length, now) {
                    prop_assert!(start + length <= 256);
                    for (s, l) in &held {
                        prop_assert!(start + length <= *s || s + l <= start);
                    }
                    held.push((start, length));
                }
            }
            for (start, len) in held {
                ranges.give(start, len, now);
            }
            prop_assert_eq!(ranges.take(256, now + REST), Some(0));
        }
    }
}
