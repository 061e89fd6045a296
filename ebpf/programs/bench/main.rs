//! The benchmarks' harness in the kernel; an object of its own, which the daemon does not carry.
//!
//! BPF_PROG_TEST_RUN hands each repeat the frame that the last one left, so an entry first restores it from the course that
//! user space wrote, as the frame of the course's next flow, then tail-calls what is measured. Both entries are the same code
//! but for the slot they call: the difference of their times is that of the programs called.
#![no_std]
#![no_main]
#![expect(
    unreachable_pub,
    reason = "a binary's modules; entry points are exported by their section"
)]
#![expect(
    missing_docs,
    reason = "the attribute macros drop the doc comments of what they expand"
)]

mod course;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, ProgramArray};
use aya_ebpf::programs::XdpContext;

use crate::course::{Course, FRAME_WORDS, SLOT_FLOOR, SLOT_MEASURED};

#[map]
static COURSE: Array<Course> = Array::with_max_entries(1, 0);
#[map]
static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// Restores the frame, then calls the floor.
#[xdp(frags)]
pub fn bench_floor(ctx: XdpContext) -> u32 {
    enter(&ctx, SLOT_FLOOR)
}

/// Restores the frame, then calls the program that is measured.
#[xdp(frags)]
pub fn bench_measured(ctx: XdpContext) -> u32 {
    enter(&ctx, SLOT_MEASURED)
}

/// The least that a program can do with a frame.
#[xdp(frags)]
pub fn floor(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

#[inline(always)]
fn enter(ctx: &XdpContext, slot: u32) -> u32 {
    let start = ctx.data();
    if start + FRAME_WORDS * 8 > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    let Some(course) = COURSE.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the benchmark alone writes the course, between runs.
    let course = unsafe { &mut *course };
    // SAFETY: bounds checked above; the kernel lays test frames out at a multiple of eight.
    unsafe { course.write_next(start as *mut u64) };
    // SAFETY: both slots are filled before the first run; the entry holds nothing to be dropped.
    unsafe { PROGRAMS.tail_call(ctx, slot) };
    xdp_action::XDP_ABORTED
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Tail calls want a licence only where the programs called do; it is the same as theirs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
