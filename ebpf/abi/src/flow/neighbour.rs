//! The same in another order and size: the layout of a neighbouring version, which the tests of upgrades are made with.

use super::Mark;
use crate::{Address, PortNumber};

/// Where a flow goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// What the client has said, and when it was last heard.
    pub mark: Mark,
    /// Source port the endpoint sees.
    pub source_port: PortNumber,
    /// Endpoint's port.
    pub backend_port: PortNumber,
    /// Source address the endpoint sees.
    pub source: Address,
    /// Zero.
    pub zero: [u32; 2],
    /// Endpoint.
    pub backend: Address,
}

impl Flow {
    /// Both ends as the endpoint sees them.
    #[inline(always)]
    pub const fn new(
        backend: Address,
        source: Address,
        backend_port: PortNumber,
        source_port: PortNumber,
        mark: Mark,
    ) -> Self {
        Self {
            mark,
            source_port,
            backend_port,
            source,
            zero: [0; 2],
            backend,
        }
    }
}

/// Whom an answer is really from, and to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Client.
    pub client: Address,
    /// Client's port.
    pub client_port: PortNumber,
    /// Frontend's port.
    pub frontend_port: PortNumber,
    /// Zero.
    pub zero: [u32; 2],
    /// What the endpoint has said, and when it was last heard.
    pub mark: Mark,
    /// Frontend.
    pub frontend: Address,
}

impl Reply {
    /// Both ends as the client sees them.
    #[inline(always)]
    pub const fn new(
        frontend: Address,
        client: Address,
        frontend_port: PortNumber,
        client_port: PortNumber,
        mark: Mark,
    ) -> Self {
        Self {
            client,
            client_port,
            frontend_port,
            zero: [0; 2],
            mark,
            frontend,
        }
    }
}

crate::pod!(Flow: 48, Reply: 48);
