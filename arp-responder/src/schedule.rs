//! Which key is due when: the timers of a machine that never looks at a clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::BootInstant;

/// One timer per key.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    by_key: BTreeMap<K, BootInstant>,
    by_time: BTreeSet<(BootInstant, K)>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Schedule<K> {
    /// Sets the timer of `key`, instead of the one it had.
    pub(crate) fn set(&mut self, key: K, at: BootInstant) {
        self.cancel(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// Whether `key` has a timer.
    pub(crate) fn contains(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Takes one key that is due at `now`, the earliest first.
    pub(crate) fn pop_due(&mut self, now: BootInstant) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        (at <= now).then(|| {
            self.cancel(key);
            key
        })
    }

    /// When the next key is due.
    pub(crate) fn next(&self) -> Option<BootInstant> {
        self.by_time.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_due_in_order_and_once() {
        let at = BootInstant::from_nanos;
        let mut schedule = Schedule::default();
        schedule.set('a', at(30));
        schedule.set('b', at(10));
        schedule.set('c', at(20));
        schedule.set('a', at(5));
        schedule.cancel('b');
        assert_eq!(schedule.next(), Some(at(5)));
        assert_eq!(schedule.pop_due(at(4)), None);
        assert_eq!(schedule.pop_due(at(20)), Some('a'));
        assert_eq!(schedule.pop_due(at(20)), Some('c'));
        assert_eq!(schedule.pop_due(at(99)), None);
        assert_eq!(schedule.next(), None);
    }
}
