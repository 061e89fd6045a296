//! The records that nodes leave in the lease store, as plain data. The store's edge gives them a form
//! on disk or in an object.
//!
//! A service lease names its holder as of one transition, by node and *term*; where the VIP went from
//! there, the holder's node lease tells ([`Bequests`]). A term is a node's unbroken tenure: it survives
//! restarts of the agent, since the same kernel goes on answering, and ends when a peer fences the node
//! or the node lets go of everything. Terms of one node only grow, so that a reader whose view of the
//! node's lease is older than its view of the service's lease can tell "not known yet" from "over".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::bequest::Bequests;
use crate::model::NodeName;
use crate::quorum::record::MemberRecord;

/// One run of an agent's process: random, so that no two runs are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

/// One run of a kernel: `/proc/sys/kernel/random/boot_id`. Tells an agent that was restarted (its kernel
/// may still be answering, and may go on) from a machine that was, or from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u128);

/// The count of a node's tenures; grows with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The term that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The store's version of one lease: grows with every write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Who ended a node's term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The node that wrote the fence; the leaseholder itself where it left in order.
    pub node: NodeName,
    /// That node's process.
    pub incarnation: Incarnation,
}

/// A node's own lease: the only record that is written periodically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// Whose lease this is.
    pub node: NodeName,
    /// The process that wrote it last.
    pub incarnation: Incarnation,
    /// The kernel that process runs on.
    pub boot: BootId,
    /// The node's tenure.
    pub term: Term,
    /// Grows with every attempt to renew, so that no two writes are alike.
    pub renewals: u64,
    /// How long the lease is good after it was written.
    pub duration: Duration,
    /// Set by the peer that ended `term`, or by the node itself on leaving.
    pub fenced_by: Option<Fence>,
    /// Where the VIPs went that this node held, in this term or before.
    pub bequests: Arc<Bequests>,
    /// What the agent tells its peers (interfaces, MACs, version, cordon, drain); opaque here.
    pub payload: Arc<str>,
}

/// Who holds a service lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub node: NodeName,
    /// The node's term within which this is true; see the module's text.
    pub term: Term,
}

/// Why a service lease changed hands, for people and for the gratuitous ARP that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody held it before.
    First,
    /// The holder before was fenced.
    Takeover,
    /// The holder before gave it to this one, or gave it up.
    HandOver,
    /// The holder before gave it away because it was drained or stopped.
    Drained,
    /// The holder before gave it away because it may not announce it any more: its interface, a policy, or no proof that it
    /// is heard.
    Unable,
    /// This node held it before its agent was restarted, and its kernel may never have stopped answering.
    Continued,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::First,
        Self::Takeover,
        Self::HandOver,
        Self::Drained,
        Self::Unable,
        Self::Continued,
    ];

    /// The cause as one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Takeover => "takeover",
            Self::HandOver => "handover",
            Self::Drained => "drained",
            Self::Unable => "unable",
            Self::Continued => "continued",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The lease of an announced service: the record of its last change of hands but those that the holders'
/// node leases tell of, which are recorded here a moment later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLease {
    /// Who may answer, as of this transition; nobody between hands.
    pub holder: Option<Holder>,
    /// The holder before, for display.
    pub previous: Option<NodeName>,
    /// Why the lease came to its holder.
    pub cause: Cause,
    /// When the holder got it, seconds since the Unix epoch. For display only, nothing is decided by it.
    pub acquired_unix: u64,
    /// How often it changed hands; the number of this holding.
    pub transitions: u64,
}

/// The content of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A node's lease.
    Node(NodeLease),
    /// A service's lease.
    Service(ServiceLease),
    /// Who the members are.
    Members(MemberRecord),
}
