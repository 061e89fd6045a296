//! A frame in one of the two hooks.

use core::mem::size_of;

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC,
    bpf_fib_lookup as FibLookup, xdp_action, xdp_md,
};
use aya_ebpf::helpers::generated::{
    bpf_fib_lookup, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh,
    bpf_skb_change_tail, bpf_skb_pull_data, bpf_skb_store_bytes, bpf_xdp_adjust_tail,
    bpf_xdp_get_buff_len,
};
use landfall_ebpf_abi::checksum::Sum;

use crate::packet::{Endpoints, Packet, UDP};
use crate::verdict::{Action, Verdict};

/// Lets a packet re-enter the receive path of the interface it is redirected to.
const BPF_F_INGRESS: u64 = 1;
/// Offset of the source address in an IPv4 frame without VLAN tags.
const V4_ADDRESSES: usize = 26;
/// Offset of the header checksum in an IPv4 frame.
const V4_CHECKSUM: usize = 24;
/// Offset of the source address in an IPv6 frame.
const V6_ADDRESSES: usize = 22;

/// What paths need of a hook. Offsets count from the Ethernet header.
pub trait Frame: Copy {
    /// Address of the first octet.
    fn start(self) -> usize;
    /// Address after the last octet that can be read directly.
    fn end(self) -> usize;
    /// Index of the interface the frame came in (ingress) or leaves by (egress).
    fn ifindex(self) -> u32;
    /// Makes the first `len` octets readable, as far as the frame has them.
    fn pull(self, len: u32);
    /// Makes the frame `len` octets long; all pointers into it are void afterwards.
    fn resize(self, len: u32) -> bool;
    /// Rewrites addresses and ports, mending checksums; all pointers into the frame are void afterwards.
    fn translate(self, packet: &Packet, new: &Endpoints) -> bool;
    /// Looks up the route of `query`; 0 and the answer in it, or the kernel's reason.
    fn route(self, query: &mut FibLookup, flags: u32) -> i64;
    /// Whether this hook can send to a neighbour whose Ethernet address is not known yet.
    const RESOLVES: bool;
    /// Sends the frame out of `ifindex` to wherever the stack's route and neighbour tables say.
    fn resolve(self, ifindex: u32) -> Action;
    /// The hook's code for a verdict.
    fn conclude(self, verdict: Verdict) -> Action;

    /// A pointer to a `T` at `offset`, if it lies inside the frame.
    #[inline(always)]
    fn at<T>(self, offset: usize) -> Option<*mut T> {
        let start = self.start();
        if start + offset + size_of::<T>() > self.end() {
            return None;
        }
        Some((start + offset) as *mut T)
    }
}

/// A frame at XDP.
#[derive(Clone, Copy)]
pub struct XdpFrame {
    ctx: *mut xdp_md,
}

impl XdpFrame {
    /// Wraps the hook's context.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn start(self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.ctx).data as usize }
    }

    #[inline(always)]
    fn end(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.ctx).data_end as usize }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn pull(self, _len: u32) {}

    #[inline(always)]
    fn resize(self, len: u32) -> bool {
        // SAFETY: the helpers check the new length against the buffer, fragments included.
        unsafe {
            let current = bpf_xdp_get_buff_len(self.ctx) as i32;
            bpf_xdp_adjust_tail(self.ctx, len as i32 - current) == 0
        }
    }

    #[inline(always)]
    fn translate(self, packet: &Packet, new: &Endpoints) -> bool {
        let addresses = Sum::default()
            .replace_address(&packet.key.client.words, &new.source.words)
            .replace_address(&packet.key.frontend.words, &new.destination.words);
        let ports = Sum::default()
            .replace_half(packet.key.client_port.0, new.source_port.0)
            .replace_half(packet.key.frontend_port.0, new.destination_port.0);
        if packet.v6 {
            let Some(ip) = self.at::<[[u32; 4]; 2]>(V6_ADDRESSES) else {
                return false;
            };
            // SAFETY: bounds checked by `at`; unaligned because of the Ethernet header.
            unsafe { ip.write_unaligned([new.source.words, new.destination.words]) };
        } else {
            let Some(check) = self.at::<u16>(V4_CHECKSUM) else {
                return false;
            };
            // SAFETY: bounds checked by `at`.
            unsafe { check.write_unaligned(addresses.update(check.read_unaligned())) };
            let Some(ip) = self.at::<[u32; 2]>(V4_ADDRESSES) else {
                return false;
            };
            // SAFETY: bounds checked by `at`.
            unsafe { ip.write_unaligned([new.source.v4_word(), new.destination.v4_word()]) };
        }
        let Some(l4) = self.at::<[u16; 2]>(packet.l4()) else {
            return false;
        };
        // SAFETY: bounds checked by `at`.
        unsafe { l4.write_unaligned([new.source_port.0, new.destination_port.0]) };
        let Some(check) = self.at::<u16>(packet.l4_checksum()) else {
            return false;
        };
        // SAFETY: bounds checked by `at`.
        unsafe {
            let old = check.read_unaligned();
            if packet.key.protocol != UDP {
                check.write_unaligned(Sum(addresses.0 + ports.0).update(old));
            } else if old != 0 {
                // RFC 768: a computed checksum of zero is sent as all ones; zero means none.
                let updated = Sum(addresses.0 + ports.0).update(old);
                check.write_unaligned(if updated == 0 { 0xffff } else { updated });
            }
        }
        true
    }

    #[inline(always)]
    fn route(self, query: &mut FibLookup, flags: u32) -> i64 {
        // SAFETY: `query` is a whole `bpf_fib_lookup`.
        unsafe { bpf_fib_lookup(self.ctx.cast(), query, size_of::<FibLookup>() as i32, flags) }
    }

    const RESOLVES: bool = false;

    #[inline(always)]
    fn resolve(self, _ifindex: u32) -> Action {
        xdp_action::XDP_DROP as Action
    }

    #[inline(always)]
    fn conclude(self, verdict: Verdict) -> Action {
        (match verdict {
            Verdict::Pass | Verdict::PassRetyped => xdp_action::XDP_PASS,
            Verdict::Drop => xdp_action::XDP_DROP,
            Verdict::Reflect => xdp_action::XDP_TX,
            // SAFETY: plain helper call.
            Verdict::Transmit(ifindex) => unsafe { bpf_redirect(ifindex, 0) as u32 },
        }) as i32
    }
}

/// A frame at tcx or clsact.
#[derive(Clone, Copy)]
pub struct SkbFrame {
    skb: *mut __sk_buff,
}

impl SkbFrame {
    /// Wraps the hook's context.
    #[inline(always)]
    pub fn new(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    #[inline(always)]
    fn store<T>(self, offset: usize, value: &T) -> bool {
        // SAFETY: the helper checks the offset; `value` is plain data.
        unsafe {
            bpf_skb_store_bytes(
                self.skb,
                offset as u32,
                core::ptr::from_ref(value).cast(),
                size_of::<T>() as u32,
                0,
            ) == 0
        }
    }
}

impl Frame for SkbFrame {
    #[inline(always)]
    fn start(self) -> usize {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.skb).data as usize }
    }

    #[inline(always)]
    fn end(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.skb).data_end as usize }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    fn pull(self, len: u32) {
        if self.start() + len as usize > self.end() {
            // SAFETY: as above.
            let whole = unsafe { (*self.skb).len };
            let len = if whole < len { whole } else { len };
            // SAFETY: plain helper call; failure leaves the frame as it is and later bounds checks refuse it.
            unsafe { bpf_skb_pull_data(self.skb, len) };
        }
    }

    #[inline(always)]
    fn resize(self, len: u32) -> bool {
        // SAFETY: plain helper calls.
        unsafe {
            if bpf_skb_change_tail(self.skb, len, 0) != 0 {
                return false;
            }
            bpf_skb_pull_data(self.skb, len) == 0
        }
    }

    #[inline(always)]
    fn translate(self, packet: &Packet, new: &Endpoints) -> bool {
        let addresses = Sum::default()
            .replace_address(&packet.key.client.words, &new.source.words)
            .replace_address(&packet.key.frontend.words, &new.destination.words)
            .fold32();
        let ports = Sum::default()
            .replace_half(packet.key.client_port.0, new.source_port.0)
            .replace_half(packet.key.frontend_port.0, new.destination_port.0)
            .fold32();
        let mangled = if packet.key.protocol == UDP {
            u64::from(BPF_F_MARK_MANGLED_0)
        } else {
            0
        };
        let check = packet.l4_checksum() as u32;
        let pseudo = mangled | u64::from(BPF_F_PSEUDO_HDR);
        // SAFETY: plain helper calls; size 0 in the flags means that the last value is a difference.
        unsafe {
            if bpf_l4_csum_replace(self.skb, check, 0, u64::from(addresses), pseudo) != 0
                || bpf_l4_csum_replace(self.skb, check, 0, u64::from(ports), mangled) != 0
            {
                return false;
            }
        }
        let stored = if packet.v6 {
            self.store(V6_ADDRESSES, &[new.source.words, new.destination.words])
        } else {
            // SAFETY: plain helper call.
            let mended = unsafe {
                bpf_l3_csum_replace(self.skb, V4_CHECKSUM as u32, 0, u64::from(addresses), 0) == 0
            };
            mended
                && self.store(
                    V4_ADDRESSES,
                    &[new.source.v4_word(), new.destination.v4_word()],
                )
        };
        stored && self.store(packet.l4(), &[new.source_port.0, new.destination_port.0])
    }

    #[inline(always)]
    fn route(self, query: &mut FibLookup, flags: u32) -> i64 {
        // SAFETY: `query` is a whole `bpf_fib_lookup`.
        unsafe { bpf_fib_lookup(self.skb.cast(), query, size_of::<FibLookup>() as i32, flags) }
    }

    const RESOLVES: bool = true;

    #[inline(always)]
    fn resolve(self, ifindex: u32) -> Action {
        // SAFETY: plain helper call; without parameters the helper looks the route up by itself.
        unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as Action }
    }

    #[inline(always)]
    fn conclude(self, verdict: Verdict) -> Action {
        match verdict {
            // Not TC_ACT_OK, which would end the chain: a CNI's programs may stand behind this one.
            Verdict::Pass => TC_ACT_UNSPEC,
            Verdict::Drop => TC_ACT_SHOT,
            // The stack reads the EtherType before this hook; only another receive makes it look again.
            // SAFETY: plain helper call.
            Verdict::PassRetyped => unsafe { bpf_redirect(self.ifindex(), BPF_F_INGRESS) as i32 },
            // SAFETY: plain helper call.
            Verdict::Reflect => unsafe { bpf_redirect(self.ifindex(), 0) as i32 },
            // SAFETY: plain helper call.
            Verdict::Transmit(ifindex) => unsafe { bpf_redirect(ifindex, 0) as i32 },
        }
    }
}
