//! Landfall's kernel programs.
//!
//! One file per packet path; the entry points below read as tables of verdicts. XDP and tc run the same paths over
//! [`frame::Frame`], which hides what differs: how a frame is resized, translated, re-sent and handed to the stack.
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
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key given by value is copied on the program's stack"
)]

mod arp;
mod count;
mod deliver;
mod echo;
mod forward;
mod frame;
mod maps;
mod ndp;
mod packet;
mod probe;
mod reject;
mod restore;
mod snat;
mod socket;
mod uplink;
mod verdict;

use aya_ebpf::macros::{cgroup_sock_addr, classifier, xdp};
use aya_ebpf::programs::{SockAddrContext, TcContext, XdpContext};

use crate::frame::{SkbFrame, XdpFrame};

/// Ingress of an uplink, before the stack has a buffer for the frame.
#[xdp(frags)]
pub fn xdp_uplink(ctx: XdpContext) -> u32 {
    uplink::ingress(XdpFrame::new(ctx.ctx)) as u32
}

/// Ingress of an uplink at tcx or clsact, where XDP cannot be.
#[classifier]
pub fn tc_uplink(ctx: TcContext) -> i32 {
    uplink::ingress(SkbFrame::new(ctx.skb.skb))
}

/// Egress of an uplink: answers of this node's endpoints get their frontend's address back.
#[classifier]
pub fn tc_restore(ctx: TcContext) -> i32 {
    restore::egress(SkbFrame::new(ctx.skb.skb))
}

/// A local client connects over IPv4.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    socket::send4(&ctx)
}

/// A local client connects over IPv6.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    socket::send6(&ctx)
}

/// A local client sends a datagram from an unconnected IPv4 socket.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    socket::send4(&ctx)
}

/// A local client sends a datagram from an unconnected IPv6 socket.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    socket::send6(&ctx)
}

/// A local client is told whom a datagram is from, IPv4.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    socket::receive4(&ctx)
}

/// A local client is told whom a datagram is from, IPv6.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    socket::receive6(&ctx)
}

/// A local client asks for its peer, IPv4.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    socket::receive4(&ctx)
}

/// A local client asks for its peer, IPv6.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    socket::receive6(&ctx)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Connection tracking's and others' helpers are GPL-only; the programs are dual licensed.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
