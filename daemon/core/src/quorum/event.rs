//! What goes into the machine and what comes out of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::Message;
use super::record::MemberRecord;
use crate::election::{Moment, Revision, Term};
use crate::model::NodeName;

/// What a node must find again after a restart, as one value on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The record the node has adopted.
    pub record: Option<MemberRecord>,
    /// As a granter: the last term of each node that is refused for good. The node's own entry is a term that it has
    /// given up, since it lost a rule of its right while it had none.
    pub refused: BTreeMap<NodeName, Term>,
    /// The node's own term for which the record was read from the store after the term began.
    pub verified: Option<Term>,
}

/// A node lease as seen in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLease {
    /// The term it states.
    pub term: Term,
    /// That term is over.
    pub fenced: bool,
    /// When this node saw it change last.
    pub changed_at: Moment,
    /// How long it is good, as it states.
    pub duration: Duration,
}

/// The node leases in the store.
pub type Leases = BTreeMap<NodeName, PeerLease>;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The store's record as the watch sees it, on every change and once at the start.
    Record {
        /// Its revision; nothing where it is not there.
        revision: Option<Revision>,
        /// Its content; nothing where it is not there, or cannot be read.
        record: Option<MemberRecord>,
    },
    /// The write under way was done.
    Written(Revision),
    /// The write under way found another revision than it expected, and did nothing.
    Conflict {
        /// What is there instead.
        revision: Option<Revision>,
        /// Its content, where it can be read.
        record: Option<MemberRecord>,
    },
    /// Whether the write under way was done is not known.
    WriteFailed,
    /// This node's own term, from the election; nothing while it has none.
    Tenure(Option<Term>),
    /// This node's lease was renewed by a write that began at `started`.
    Renewed {
        /// The term it states.
        term: Term,
        /// When the write began.
        started: Moment,
    },
    /// All node leases as the watch sees them, on every change.
    Leases(Leases),
    /// The outcome of [`Action::Survey`]. Where the reading failed nothing is reported: it is asked for again.
    Surveyed {
        /// The number it was asked for by.
        number: u64,
        /// The record's revision.
        revision: Option<Revision>,
        /// The record.
        record: Option<MemberRecord>,
        /// All node leases.
        leases: Leases,
    },
    /// Whether the lease store can be read. It can, until told otherwise.
    Store {
        /// All that is in it was seen a short while ago.
        readable: bool,
    },
    /// A message of a peer, authenticated.
    Received(Message),
    /// [`Action::Store`] of this version is on disk, and so are those before it.
    Stored {
        /// The version.
        version: u64,
    },
    /// The node leaves for good, and wants to be out of the record.
    Leave,
    /// The time of [`super::Quorum::poll_deadline`] has come.
    Tick,
}

/// Something to do. Actions are begun in the order given: a deadline is set before what follows it is stored or sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message, once.
    Send {
        /// The receiver.
        to: NodeName,
        /// The message.
        message: Message,
    },
    /// Set the kernel's deadline: it may be earlier than the one before.
    SetDeadline {
        /// The term it is for.
        term: Term,
        /// Until when the kernel may answer; nothing where it may not answer at all.
        until: Option<Moment>,
    },
    /// Write the record by compare-and-swap. One at a time; answered by [`Event::Written`], [`Event::Conflict`] or
    /// [`Event::WriteFailed`].
    WriteRecord {
        /// The revision it replaces; nothing where there must be none.
        expected: Option<Revision>,
        /// The record.
        record: MemberRecord,
    },
    /// Read the record and all node leases from the store: *from now on*, not from a cache (a linearizable reading).
    /// Answered by [`Event::Surveyed`].
    Survey {
        /// Names this reading; a later one replaces it.
        number: u64,
    },
    /// Make durable. A later version replaces an earlier one. Answered by [`Event::Stored`] once on disk.
    Store {
        /// Grows with each.
        version: u64,
        /// All of it.
        durable: Durable,
    },
    /// The node is out of the record, after [`Event::Leave`].
    Left,
    /// [`super::Quorum::view`] has changed.
    ViewChanged,
}
