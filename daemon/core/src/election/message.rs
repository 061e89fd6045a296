//! What goes into the election and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::moment::Moment;
use super::name::LeaseName;
use super::record::{Cause, Record, Revision};
use super::table::Content;
use crate::model::NodeName;

/// The VIPs to be announced, by the name of their lease, and the nodes that can announce each (IP
/// assigned, policy matches, carrier up, not excluded or drained, with a local endpoint where the traffic
/// policy asks for one). A node is the judge of its own candidacy.
pub type DesiredVips = BTreeMap<LeaseName, BTreeSet<NodeName>>;

/// Tells the outcome of one write from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A compare-and-swap on one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// To be given back with the outcome.
    pub request: RequestId,
    /// The lease.
    pub name: LeaseName,
    /// The revision that must be there; nothing where the lease must not exist.
    pub expected: Option<Revision>,
    /// The new content; nothing removes the lease.
    pub record: Option<Record>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the lease is at this revision.
    Written(Revision),
    /// Not done: another revision was there. What a read after the attempt found.
    Conflict {
        /// The revision found; nothing where there is no such lease.
        revision: Option<Revision>,
        /// The content found.
        content: Content,
    },
    /// It may or may not have been done, or may yet be.
    Failed,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The planner's word on who may announce what. Nothing is taken, held or given up before the first.
    Desired(DesiredVips),
    /// What this node tells its peers in its lease from now on.
    Payload(Arc<str>),
    /// The store was seen to hold this. Observations of one lease come in the store's order; one that
    /// goes back in revision is preceded by [`Content::Absent`].
    Observed {
        /// The lease.
        name: LeaseName,
        /// Its revision; nothing with [`Content::Absent`].
        revision: Option<Revision>,
        /// What is there.
        content: Content,
    },
    /// Everything that was in the store at `as_of` has been observed. Comes again and again, and tells how old
    /// this node's view of the store is.
    Synced {
        /// A moment before the look at the store began.
        as_of: Moment,
    },
    /// A write has ended.
    Done {
        /// Which.
        request: RequestId,
        /// How.
        outcome: Outcome,
    },
    /// What the node's right to answer rests on, or a peer's, has changed; see
    /// [`Ground`](super::ground::Ground).
    Ground,
    /// The kernel no longer answers for this VIP, as [`Action::Release`] asked.
    Released(LeaseName),
    /// The kernel answers for nothing and its table is empty, as [`Action::Silence`] asked.
    Silenced,
    /// The moment of [`Election::poll_deadline`](super::Election::poll_deadline) has come.
    Tick,
    /// Whether the node can prove that its answers work. An unfit node hands everything over and takes nothing.
    Fit(bool),
    /// Whether to hand over whatever another node can announce.
    Drain(bool),
    /// Hand over everything, leave, and say [`Action::Stopped`].
    Stop,
}

/// What to do. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write to the store, and report with [`Event::Done`]. Does not wait.
    Cas(Write),
    /// The kernel may answer for what it holds until this moment.
    SetDeadline(Moment),
    /// Put the VIP into the kernel's answer table.
    Hold {
        /// The VIP's lease.
        vip: LeaseName,
        /// Why; after a takeover or a hand-over the neighbours have to be told.
        cause: Cause,
    },
    /// Take the VIP out of the answer table, and report with [`Event::Released`].
    Release {
        /// The VIP's lease.
        vip: LeaseName,
    },
    /// Set the deadline to zero before anything else, empty the answer table, then report with
    /// [`Event::Silenced`].
    Silence,
    /// A newer agent of this node has taken over: end, and leave the kernel alone.
    Superseded,
    /// Everything is handed over or let go; the agent may end.
    Stopped,
}
