//! Counting verdicts.

use landfall_ebpf_abi::counter::Counter;

use crate::maps::COUNTERS;

/// Counts one packet.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot is this CPU's own and programs do not migrate while they run.
        unsafe { *value = (*value).wrapping_add(1) };
    }
}
