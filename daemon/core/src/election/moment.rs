//! Time as the election sees it: readings of one node's own clock, never of a wall clock.
//!
//! The daemon fills a [`Moment`] from `CLOCK_BOOTTIME`, which goes on while the machine is suspended
//! (`CLOCK_MONOTONIC`, and with it `std::time::Instant`, stands still then), and which the kernel
//! program reads as well (`bpf_ktime_get_boot_ns`, Linux 5.8). Tests fill it from a virtual clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A reading of this node's `CLOCK_BOOTTIME`. Readings of two machines cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_boot` after the machine's start.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// How long after the machine's start this moment is; the form the kernel map holds.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment, zero where `earlier` is in fact later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s after boot",
            self.0.as_secs(),
            self.0.subsec_micros()
        )
    }
}
