//! Sockets of local clients whose destination was rewritten.

use crate::{Address, PortNumber};

/// Key of the origins: a socket and the endpoint it was sent to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// The kernel's socket cookie.
    pub cookie: u64,
    /// Endpoint.
    pub backend: Address,
    /// Endpoint's port.
    pub backend_port: PortNumber,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub zero: [u8; 5],
}

/// What the socket had asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOrigin {
    /// Frontend.
    pub frontend: Address,
    /// Frontend's port.
    pub frontend_port: PortNumber,
    /// Zero.
    pub zero: u16,
}

crate::pod!(SocketKey: 32, SocketOrigin: 20);
