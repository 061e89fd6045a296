//! What members tell each other, as plain data. The edge gives it a form on the wire and authenticates it.

use std::time::Duration;

use super::record::{Epoch, MemberRecord};
use crate::election::{Incarnation, Term};
use crate::model::NodeName;

/// Numbers a message among those of one process; grows with every one sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

/// One message of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The process that sent it.
    pub incarnation: Incarnation,
    /// Its number.
    pub serial: Serial,
}

/// What a granter says of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every promise to this member has run out. May be taken back.
    Silent,
    /// Nothing will ever be granted again to this term of the member, nor to one before it.
    Refused(Term),
}

/// What the message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Asks for a grant, and shows that the receiver's answers are heard.
    Heartbeat {
        /// The last answer heard from the receiver.
        heard: Option<MessageId>,
    },
    /// Answers a heartbeat.
    Answer {
        /// The heartbeat.
        to: MessageId,
        /// How long, from the sending of that heartbeat, the receiver may count on this granter; nothing where it
        /// grants nothing.
        granted: Option<Duration>,
    },
    /// Tells verdicts as soon as they change; not answered.
    News,
}

/// A message from one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: NodeName,
    /// The process and number of this message.
    pub id: MessageId,
    /// The record the sender has adopted.
    pub epoch: Epoch,
    /// The sender's tenure, while it has one.
    pub term: Option<Term>,
    /// Whether the sender has the right to answer at present.
    pub entitled: bool,
    /// The purpose.
    pub body: Body,
    /// All that the sender says as a granter of others; who is not named is granted to.
    pub verdicts: Vec<(NodeName, Verdict)>,
    /// The record, where the receiver was seen to have an older one.
    pub record: Option<MemberRecord>,
}
