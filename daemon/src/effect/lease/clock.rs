//! This machine's `CLOCK_BOOTTIME`: goes on through suspend, is never set, and is what the kernel program reads.

use std::time::Duration;

use landfall_core::election::Moment;
use rustix::time::{ClockId, clock_gettime};

/// The present reading.
#[must_use]
pub fn now() -> Moment {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Moment::from_boot(Duration::new(seconds, nanos))
}
