//! Numbers for what the tables name.

use std::collections::BTreeSet;

/// Numbers that are free to give.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    next: u32,
    free: BTreeSet<u32>,
}

impl Numbers {
    pub(super) fn from(next: u32) -> Self {
        let free = BTreeSet::new();
        Self { next, free }
    }

    pub(super) fn take(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Not to be called before the tables no longer name `number`.
    pub(super) fn give_back(&mut self, number: u32) {
        self.free.insert(number);
    }
}
