//! The election's side of a node: one turn of its thread after the other.
//!
//! A turn takes in what has come ([`ElectionSide::take_in`]), decides ([`ElectionSide::decide`]), carries out each action
//! ([`ElectionSide::carry_out`]; the edge then does the rest of it), and tells the quorum what it has come to
//! ([`ElectionSide::follow`]).

use std::time::Duration;

use super::answers::Answers;
use super::rights::Rights;
use crate::election::{
    Action, Election, Event, Identity, LeaseKind, LeaseName, Membership, Memory, Moment, Record,
    RequestId, Revision, Settings, Write,
};
use crate::model::NodeName;
use crate::quorum::record::MemberRecord;

/// Marks writes of the record of members, of which one is under way at a time. The election counts from zero.
const MEMBERS_REQUEST: RequestId = RequestId(u64::MAX);
/// How long a node that stops waits to be out of the record. One that is not is taken out by the others later.
const LEAVE_WITHIN: Duration = Duration::from_millis(1_500);
/// How long the store may take to tell of its content before what is remembered stands in for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where it has said that it cannot be read: one lease alone would be no reason.
const TROUBLED_PATIENCE: Duration = Duration::from_millis(100);
/// How old the last look at the whole store may be for it to pass for readable: two of the file store's, and a slow disk.
const UNREADABLE_AFTER: Duration = Duration::from_secs(5);

/// What the quorum wants of the election's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Write the members' record, expecting this revision of it.
    WriteRecord {
        /// The revision to expect; nothing where there must be none.
        expected: Option<Revision>,
        /// What to write.
        record: MemberRecord,
    },
    /// Read the record and all node leases afresh; answered by [`Event::Surveyed`](crate::quorum::Event::Surveyed) with
    /// this number.
    Survey(u64),
    /// The view has changed in what it says, and not only in how long it holds.
    ViewChanged,
    /// This node is no longer a member, as it asked.
    Left,
}

/// What reaches the election's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// News of the lease store.
    Store(Event),
    /// A word of the planner, the kernel or an operator.
    Agent(Event),
    /// A word of the quorum.
    Quorum(Notice),
}

/// What an input asks of the store at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Begin this write.
    Submit(Write),
    /// Look at all there is.
    Look,
}

/// What the end waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Outstanding {
    /// The record of members is to be rid of this node, until then at most.
    left_by: Option<Moment>,
    /// The election has ended.
    ended: bool,
}

/// The election with its rights, and what stands between it and the rest of the agent.
#[derive(Debug)]
pub struct ElectionSide<R: Rights> {
    node: NodeName,
    election: Election<R::Ground>,
    rights: R,
    answers: Answers,
    events: Vec<Event>,
    /// This node may not run beside the others, and has been told to stop.
    refusal: Option<String>,
    outstanding: Outstanding,
    /// What stands in for the store's content, if that has not come by then.
    remembered: Option<(Memory, Moment)>,
    planned: bool,
    superseded: bool,
    /// All that was in the store at this moment is known.
    looked_at: Option<Moment>,
    /// The last of these moments.
    seen_as_of: Option<Moment>,
    /// The store was read, and is not the one remembered.
    foreign: bool,
}

impl<R: Rights> ElectionSide<R> {
    /// An election that has just started, with what this node remembers of the store.
    #[must_use]
    pub fn new(
        me: Identity,
        settings: Settings,
        rights: R,
        memory: Option<Memory>,
        now: Moment,
    ) -> Self {
        let node = me.node.clone();
        let mut election = Election::on(rights.ground(), me, settings, now);
        if let Some(memory) = &memory {
            election.expect(memory);
        }
        Self {
            node,
            election,
            rights,
            answers: Answers::default(),
            events: Vec::new(),
            refusal: None,
            outstanding: Outstanding::default(),
            remembered: memory.map(|memory| (memory, now + PATIENCE)),
            planned: false,
            superseded: false,
            looked_at: None,
            seen_as_of: None,
            foreign: false,
        }
    }

    /// The election.
    #[must_use]
    pub fn election(&self) -> &Election<R::Ground> {
        &self.election
    }

    /// What the kernel's answer table is to be.
    #[must_use]
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The store's content has arrived.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.election.is_synced()
    }

    /// The store's content has not arrived, and what is remembered of it stands in.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        self.election.is_dark()
    }

    /// The store can be read, and has no node's lease where this node remembers some: it is not taken for the one remembered.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// The planner's word and the store's content have arrived, or what stands in for that: the answers are the whole truth.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        (self.is_synced() || self.is_dark()) && self.planned
    }

    /// Why this node may not run beside the others, once it has been stopped for that.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// When `node` was last heard, where the ground hears nodes.
    #[must_use]
    pub fn last_heard(&self, node: &NodeName) -> Option<Moment> {
        self.rights.last_heard(self.election.ground(), node)
    }

    /// Whether the thread is to end: everything is handed over and the record of members is rid of this node, or that
    /// takes too long, or a newer agent of this node has taken over.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        let waits = self.outstanding.left_by.is_some_and(|by| now < by);
        self.superseded || (self.outstanding.ended && !waits)
    }

    /// When the next turn is due, unless something comes first. Must be looked at within a second all the same, as the end
    /// may wait.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Moment> {
        self.election.poll_deadline()
    }

    /// Sets what service leases are stamped with, seconds since the Unix epoch. For display only.
    pub fn set_wall_clock(&mut self, unix: u64) {
        self.election.set_wall_clock(unix);
    }

    /// The store has said that it cannot be read.
    pub fn troubled(&mut self, now: Moment) {
        if let Some((_, at)) = &mut self.remembered {
            *at = (*at).min(now + TROUBLED_PATIENCE);
        }
    }

    /// Takes in one input. `now` must have been read after the input came.
    pub fn take_in(&mut self, input: Input, now: Moment) -> Option<Request> {
        match input {
            Input::Store(event) => self.take_in_store(event),
            Input::Quorum(notice) => return self.take_notice(notice, now),
            Input::Agent(event) => {
                if event == Event::Stop && self.rights.leave() {
                    self.outstanding.left_by = Some(now + LEAVE_WITHIN);
                }
                self.planned |= matches!(event, Event::Desired(_));
                self.answers.confirm(&event);
                self.events.push(event);
            }
        }
        None
    }

    fn take_notice(&mut self, notice: Notice, now: Moment) -> Option<Request> {
        match notice {
            Notice::WriteRecord { expected, record } => {
                return Some(Request::Submit(Write {
                    request: MEMBERS_REQUEST,
                    name: LeaseName::members(),
                    expected,
                    record: Some(Record::Members(record)),
                }));
            }
            Notice::Survey(number) => {
                self.rights.survey(number, now);
                return Some(Request::Look);
            }
            Notice::ViewChanged => self.events.push(Event::Ground),
            Notice::Left => self.outstanding.left_by = None,
        }
        None
    }

    fn take_in_store(&mut self, event: Event) {
        match event {
            Event::Observed {
                name,
                revision,
                content,
            } if name.kind() == LeaseKind::Members => self.rights.record_seen(revision, &content),
            Event::Done { request, outcome } if request == MEMBERS_REQUEST => {
                self.rights.write_ended(outcome);
            }
            Event::Synced { as_of } => {
                self.looked_at = Some(as_of);
                self.events.push(event);
            }
            event => self.events.push(event),
        }
    }

    /// Decides what to do about all that was taken in. `now` must have been read before any of it is done.
    pub fn decide(&mut self, now: Moment) -> Vec<Action> {
        let mut events = vec![Event::Tick];
        events.append(&mut self.events);
        if self.refusal.is_none() {
            self.refusal = self.rights.refusal(&self.node);
            events.extend(self.refusal.is_some().then_some(Event::Stop));
        }
        self.recall(now);
        self.rights.refresh(self.election.ground_mut());
        self.election.handle_all(events, now)
    }

    /// Goes by what is remembered, where the store's content does not come.
    fn recall(&mut self, now: Moment) {
        if self.is_synced() {
            self.remembered = None;
        }
        if let Some((memory, _)) = self.remembered.take_if(|(_, at)| now >= *at) {
            self.election.recall(memory, now);
        }
    }

    /// Does what of an action is this side's: falling silent is in force on return. Writes are the edge's.
    pub fn carry_out(&mut self, action: &Action) {
        self.answers.carry_out(action);
        match action {
            Action::SetDeadline(until) => self.rights.push(*until),
            Action::Silence => self.rights.silence(),
            Action::Superseded => self.superseded = true,
            Action::Stopped => self.outstanding.ended = true,
            Action::Cas(_) | Action::Hold { .. } | Action::Release { .. } => {}
        }
    }

    /// Tells the quorum what the election has come to. Ends the turn.
    pub fn follow(&mut self, now: Moment) {
        let term = match self.election.membership() {
            Membership::Inside(term) => Some(term),
            _ => None,
        };
        let (ground, table) = self.election.ground_and_table();
        self.rights.follow(ground, term, table);
        if let Some(as_of) = self.looked_at.take() {
            self.seen_as_of = self.seen_as_of.max(Some(as_of));
            self.rights.synced(as_of, table);
            self.foreign = !self.election.is_synced() && as_of > Moment::default();
        }
        let readable = self
            .seen_as_of
            .is_some_and(|at| now.since(at) < UNREADABLE_AFTER);
        self.rights.store_readable(readable);
    }
}
