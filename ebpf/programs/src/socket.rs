//! Sockets of local clients: a destination that is a frontend becomes one of its endpoints before any packet exists, and
//! the socket is told the frontend's address where it asks whom it talks to.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_get_socket_cookie};
use aya_ebpf::programs::SockAddrContext;
use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::service::{Backend, FrontendKey};
use landfall_ebpf_abi::socket::{SocketKey, SocketOrigin};
use landfall_ebpf_abi::{Address, PortNumber};

use crate::count::count;
use crate::forward::may_be_frontend;
use crate::maps::{BACKENDS, FRONTENDS, SOCKET_ORIGINS};

/// The kernel lets the call go on.
const ALLOW: i32 = 1;

/// connect or sendmsg over IPv4.
#[inline(always)]
pub fn send4(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: the kernel hands the program a valid context; fields are words.
    let (ip, port) = unsafe { ((*addr).user_ip4, (*addr).user_port) };
    let frontend = Address::from_v4_word(ip);
    if let Some(backend) = rewrite(ctx, frontend, PortNumber(port as u16))
        && backend.address.is_v4()
    {
        // SAFETY: these fields are writable in this hook.
        unsafe {
            (*addr).user_ip4 = backend.address.v4_word();
            (*addr).user_port = u32::from(backend.port.0);
        }
    }
    ALLOW
}

/// connect or sendmsg over IPv6, mapped IPv4 included.
#[inline(always)]
pub fn send6(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    let frontend = Address {
        words: user_ip6(addr),
    };
    // SAFETY: as above.
    let port = unsafe { (*addr).user_port };
    if let Some(backend) = rewrite(ctx, frontend, PortNumber(port as u16)) {
        set_user_ip6(addr, &backend.address);
        // SAFETY: as above.
        unsafe { (*addr).user_port = u32::from(backend.port.0) };
    }
    ALLOW
}

/// recvmsg or getpeername over IPv4.
#[inline(always)]
pub fn receive4(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: as above.
    let (ip, port) = unsafe { ((*addr).user_ip4, (*addr).user_port) };
    if let Some(origin) = origin(ctx, Address::from_v4_word(ip), PortNumber(port as u16)) {
        // SAFETY: as above.
        unsafe {
            (*addr).user_ip4 = origin.frontend.v4_word();
            (*addr).user_port = u32::from(origin.frontend_port.0);
        }
    }
    ALLOW
}

/// recvmsg or getpeername over IPv6, mapped IPv4 included.
#[inline(always)]
pub fn receive6(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    let backend = Address {
        words: user_ip6(addr),
    };
    // SAFETY: as above.
    let port = unsafe { (*addr).user_port };
    if let Some(origin) = origin(ctx, backend, PortNumber(port as u16)) {
        set_user_ip6(addr, &origin.frontend);
        // SAFETY: as above.
        unsafe { (*addr).user_port = u32::from(origin.frontend_port.0) };
    }
    ALLOW
}

#[inline(always)]
fn user_ip6(addr: *mut bpf_sock_addr) -> [u32; 4] {
    // SAFETY: the kernel hands the program a valid context. Each word is read on its own: the verifier wants whole words.
    unsafe {
        let words = &raw const (*addr).user_ip6 as *const u32;
        [
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ]
    }
}

#[inline(always)]
fn set_user_ip6(addr: *mut bpf_sock_addr, address: &Address) {
    // SAFETY: the field is writable in these hooks, word by word.
    unsafe {
        let words = &raw mut (*addr).user_ip6 as *mut u32;
        words.write_volatile(address.words[0]);
        words.add(1).write_volatile(address.words[1]);
        words.add(2).write_volatile(address.words[2]);
        words.add(3).write_volatile(address.words[3]);
    }
}

/// Chooses an endpoint for a frontend and remembers what the socket had asked for.
#[inline(always)]
fn rewrite(ctx: &SockAddrContext, address: Address, port: PortNumber) -> Option<Backend> {
    if !may_be_frontend(&address.words) {
        return None;
    }
    // SAFETY: as above.
    let protocol = unsafe { (*ctx.sock_addr).protocol } as u8;
    // SAFETY: values are replaced whole.
    let frontend = unsafe {
        FRONTENDS.get(FrontendKey {
            address,
            port,
            protocol,
            zero: 0,
        })
    }?;
    let count_of = u32::from(frontend.backend_count);
    if count_of == 0 {
        return None;
    }
    // SAFETY: plain helper call.
    let random = unsafe { bpf_get_prandom_u32() };
    let backend = *BACKENDS.get(frontend.backend_base + random % count_of)?;
    let key = SocketKey {
        // SAFETY: plain helper call on the hook's context.
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        backend: backend.address,
        backend_port: backend.port,
        protocol,
        zero: [0; 5],
    };
    let origin = SocketOrigin {
        frontend: address,
        frontend_port: port,
        zero: 0,
    };
    SOCKET_ORIGINS.insert(&key, &origin, 0).ok()?;
    count(Counter::SocketRewritten);
    Some(backend)
}

#[inline(always)]
fn origin(
    ctx: &SockAddrContext,
    backend: Address,
    backend_port: PortNumber,
) -> Option<SocketOrigin> {
    let key = SocketKey {
        // SAFETY: plain helper call on the hook's context.
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        backend,
        backend_port,
        // SAFETY: as above.
        protocol: unsafe { (*ctx.sock_addr).protocol } as u8,
        zero: [0; 5],
    };
    // SAFETY: values are written whole.
    unsafe { SOCKET_ORIGINS.get(key) }.copied()
}
