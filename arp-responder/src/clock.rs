//! Time since boot, and the node's deadline for answering.
//!
//! Owns the one clock this crate reads: `CLOCK_BOOTTIME` in nanoseconds, the clock the kernel programs compare their
//! deadline with, so that program and socket fall silent at the same instant. It keeps counting while a machine is
//! suspended, as a right bounded in time must. The machines take instants as arguments and never read the clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An instant on `CLOCK_BOOTTIME`, in nanoseconds since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(u64);

impl BootInstant {
    /// The instant now. Costs one vDSO call.
    pub fn now() -> Self {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is a valid, writable timespec for the length of the call.
        let status = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
        assert_eq!(status, 0, "CLOCK_BOOTTIME exists since Linux 2.6.39");
        // Neither part is ever negative on a clock that starts at boot.
        Self(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
    }

    /// The instant `nanoseconds` after boot.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since boot, as the kernel's deadline map holds them.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to here; nothing when `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for BootInstant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl Sub<Duration> for BootInstant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanoseconds))
    }
}

impl fmt::Display for BootInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// The instant up to which this node may answer and announce, shared with whoever renews the right.
///
/// A fresh deadline lies in the past: nothing is answered until a right is granted. The cell is one atomic word, so the
/// thread that renews never waits for the one that answers.
#[derive(Clone, Debug, Default)]
pub struct Deadline(Arc<AtomicU64>);

impl Deadline {
    /// A deadline that lies in the past.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the deadline to `until`, which may also be earlier than before.
    pub fn set(&self, until: BootInstant) {
        self.0.store(until.as_nanos(), Ordering::Release);
    }

    /// Ends the right at once.
    pub fn revoke(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// The instant from which nothing may be answered or announced.
    pub fn get(&self) -> BootInstant {
        BootInstant(self.0.load(Ordering::Acquire))
    }
}

impl From<Arc<AtomicU64>> for Deadline {
    /// Shares a cell that holds `CLOCK_BOOTTIME` nanoseconds.
    fn from(cell: Arc<AtomicU64>) -> Self {
        Self(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_deadline_lies_in_the_past() {
        assert!(Deadline::new().get() < BootInstant::now());
    }

    #[test]
    fn clones_of_a_deadline_share_it() {
        let deadline = Deadline::new();
        let renewer = deadline.clone();
        renewer.set(BootInstant::from_nanos(7));
        assert_eq!(deadline.get(), BootInstant::from_nanos(7));
        renewer.revoke();
        assert_eq!(deadline.get(), BootInstant::default());
    }

    #[test]
    fn instants_saturate_rather_than_wrap() {
        let late = BootInstant::from_nanos(u64::MAX);
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(
            BootInstant::default() - Duration::from_secs(1),
            BootInstant::default()
        );
    }
}
