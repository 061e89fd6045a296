//! The kernel's clocks that programs compare with.

use std::time::Duration;

use landfall_ebpf_abi::flow::TICK_SHIFT;

/// CLOCK_BOOTTIME: counts suspended time too; the deadline's clock.
pub fn boottime() -> Duration {
    read(libc::CLOCK_BOOTTIME)
}

/// Now in connection tracking's ticks of 1.07 s (CLOCK_MONOTONIC).
pub fn tick() -> u32 {
    (read(libc::CLOCK_MONOTONIC_COARSE).as_nanos() >> TICK_SHIFT) as u32
}

/// Number of whole ticks in a duration, at least one.
pub const fn ticks(duration: Duration) -> u32 {
    let ticks = duration.as_nanos() >> TICK_SHIFT;
    if ticks == 0 { 1 } else { ticks as u32 }
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec; both clocks exist on every kernel that loads our programs.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(
        result, 0,
        "CLOCK_BOOTTIME and CLOCK_MONOTONIC_COARSE exist since Linux 2.6"
    );
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
