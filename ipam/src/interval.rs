//! A set of numbers of 128 bits kept as disjoint intervals.
//!
//! Owns the structure that makes "lowest free address" a look at one tree node instead of a scan:
//! a pool's free addresses are such a set. Taking, giving back, and finding the lowest element are
//! O(log n) in the number of intervals, whatever the number of elements. Fed by pools and by the
//! occupancy of addresses; feeds the allocator.

use std::collections::BTreeMap;

/// Disjoint, non-adjacent, inclusive intervals, keyed by their lower bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IntervalSet {
    intervals: BTreeMap<u128, u128>,
    /// Number of elements modulo 2^128: zero in a set that is not empty stands for 2^128.
    len: u128,
}

impl IntervalSet {
    /// Whether there is no element.
    pub(crate) fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Number of elements, saturating at `u128::MAX`.
    pub(crate) fn len(&self) -> u128 {
        if self.len == 0 && !self.is_empty() {
            u128::MAX
        } else {
            self.len
        }
    }

    /// The lowest element.
    pub(crate) fn first(&self) -> Option<u128> {
        self.intervals.first_key_value().map(|(&first, _)| first)
    }

    /// Whether `element` is in the set.
    pub(crate) fn contains(&self, element: u128) -> bool {
        self.intervals
            .range(..=element)
            .next_back()
            .is_some_and(|(_, &last)| element <= last)
    }

    /// The intervals in ascending order, as inclusive bounds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.intervals.iter().map(|(&first, &last)| (first, last))
    }

    /// Adds `first..=last`; elements already there stay.
    pub(crate) fn insert(&mut self, mut first: u128, mut last: u128) {
        debug_assert!(first <= last);
        // Swallow every interval that touches or overlaps the new one.
        if let Some((&start, &end)) = self.intervals.range(..first).next_back()
            && end >= first - 1
        {
            self.drop_interval(start);
            first = start;
            last = last.max(end);
        }
        let reach = last.saturating_add(1);
        while let Some((&start, &end)) = self.intervals.range(first..=reach).next() {
            self.drop_interval(start);
            last = last.max(end);
        }
        self.add_interval(first, last);
    }

    /// Takes `first..=last` out; elements not there are passed over.
    pub(crate) fn remove(&mut self, first: u128, last: u128) {
        debug_assert!(first <= last);
        if let Some((&start, &end)) = self.intervals.range(..first).next_back()
            && end >= first
        {
            self.drop_interval(start);
            self.add_interval(start, first - 1);
            if end > last {
                self.add_interval(last + 1, end);
                return;
            }
        }
        while let Some((&start, &end)) = self.intervals.range(first..=last).next() {
            self.drop_interval(start);
            if end > last {
                self.add_interval(last + 1, end);
                return;
            }
        }
    }

    /// The elements of `self` that are not in `other`.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut difference = self.clone();
        for (first, last) in other.iter() {
            difference.remove(first, last);
        }
        difference
    }

    fn add_interval(&mut self, first: u128, last: u128) {
        self.len = self.len.wrapping_add((last - first).wrapping_add(1));
        self.intervals.insert(first, last);
    }

    fn drop_interval(&mut self, first: u128) {
        if let Some(last) = self.intervals.remove(&first) {
            self.len = self.len.wrapping_sub((last - first).wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests;
