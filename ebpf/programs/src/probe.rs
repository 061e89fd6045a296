//! Liveness probes of other nodes: the pinned program echoes them, whether or not the agent lives.

use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::wire::{PROBE_ECHO, PROBE_REQUEST, PROBE_VERSION, Probe};

use crate::count::count;
use crate::frame::Frame;
use crate::packet::{ETHERNET, Ethernet};
use crate::verdict::{Action, Verdict};

/// Echoes a request; an echo goes up to the agent that asked.
#[inline(never)]
pub fn echo(frame: impl Frame) -> Action {
    let Some(ethernet) = Ethernet::read(frame) else {
        return frame.conclude(Verdict::Pass);
    };
    let verdict = decide(frame, &ethernet);
    frame.conclude(verdict)
}

#[inline(always)]
fn decide(frame: impl Frame, ethernet: &Ethernet) -> Verdict {
    let Some(place) = frame.at::<Probe>(ETHERNET) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`.
    let probe = unsafe { place.read_unaligned() };
    if probe.kind != PROBE_REQUEST || probe.version != PROBE_VERSION {
        return Verdict::Pass;
    }
    let header = Ethernet {
        destination: ethernet.source,
        source: ethernet.destination,
        ethertype: ethernet.ethertype,
    };
    // SAFETY: bounds checked by `at`.
    unsafe {
        place.write_unaligned(Probe {
            kind: PROBE_ECHO,
            ..probe
        })
    };
    let Some(place) = frame.at::<Ethernet>(0) else {
        return Verdict::Drop;
    };
    // SAFETY: bounds checked by `at`.
    unsafe { place.write_unaligned(header) };
    count(Counter::ProbeEchoed);
    Verdict::Reflect
}
