//! What the flow tables hold of each flow.

use super::Mark;
use crate::{Address, PortNumber};

/// Where a flow goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Endpoint.
    pub backend: Address,
    /// Source address the endpoint sees: the client's, or this node's where it is translated.
    pub source: Address,
    /// Endpoint's port.
    pub backend_port: PortNumber,
    /// Source port the endpoint sees; not the client's only where two flows would have met.
    pub source_port: PortNumber,
    /// What the client has said, and when it was last heard.
    pub mark: Mark,
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
            backend,
            source,
            backend_port,
            source_port,
            mark,
        }
    }
}

/// Whom an answer is really from, and to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Frontend.
    pub frontend: Address,
    /// Client.
    pub client: Address,
    /// Frontend's port.
    pub frontend_port: PortNumber,
    /// Client's port.
    pub client_port: PortNumber,
    /// What the endpoint has said, and when it was last heard.
    pub mark: Mark,
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
            frontend,
            client,
            frontend_port,
            client_port,
            mark,
        }
    }
}

crate::pod!(Flow: 40, Reply: 40);
