//! Between the election's thread and the quorum's: what each tells the other.
//!
//! Lives on the election's thread. To the quorum go the record of members and the node leases as the store shows them, the
//! node's own tenure and renewals; to the election comes the latest [`View`] as its ground. Falling silent goes past both,
//! straight to the [`Door`](super::Door).

use super::ground::QuorumGround;
use super::rights::Rights;
use crate::election::{Content, LeaseTable, Moment, Outcome, Record, Revision, Term};
use crate::model::NodeName;
use crate::quorum::record::MemberRecord;
use crate::quorum::{Event, Leases, PeerLease, View};

/// How the link reaches the quorum's thread and the door.
pub trait QuorumPort {
    /// Whether the quorum runs. It does for good once it does.
    fn is_running(&self) -> bool;

    /// Tells the quorum, in this order.
    fn tell(&mut self, event: Event);

    /// What the quorum said last.
    fn view(&self) -> View;

    /// Opens the door.
    fn open(&mut self, term: Term);

    /// Shuts the door, and silences the kernel. In force when this returns.
    fn shut(&mut self);
}

/// A reading of the whole store that the quorum waits for.
#[derive(Clone, Copy, Debug)]
struct Survey {
    number: u64,
    asked: Moment,
}

/// The election's end of the link.
#[derive(Debug)]
pub struct QuorumLink<P> {
    port: P,
    /// The quorum has been told what was known before it ran.
    caught_up: bool,
    record: Option<(Option<Revision>, Option<MemberRecord>)>,
    leases: Leases,
    term: Option<Term>,
    survey: Option<Survey>,
    /// The store can be read, as the quorum was told.
    readable: bool,
    /// There is a key, so that this node may be one of several.
    keyed: bool,
}

impl<P: QuorumPort> QuorumLink<P> {
    /// The end of a link.
    #[must_use]
    pub fn new(port: P, keyed: bool) -> Self {
        Self {
            port,
            caught_up: false,
            record: None,
            leases: Leases::new(),
            term: None,
            survey: None,
            readable: false,
            keyed,
        }
    }

    fn tell(&mut self, event: Event) {
        if self.caught_up {
            self.port.tell(event);
        }
    }

    fn record(&self) -> Option<&MemberRecord> {
        self.record.as_ref()?.1.as_ref()
    }
}

impl<P: QuorumPort> Rights for QuorumLink<P> {
    type Ground = QuorumGround;

    fn ground(&self) -> QuorumGround {
        QuorumGround::default()
    }

    fn refresh(&mut self, ground: &mut QuorumGround) {
        if !self.port.is_running() {
            return;
        }
        if !self.caught_up {
            self.caught_up = true;
            if let Some((revision, record)) = self.record.clone() {
                self.port.tell(Event::Record { revision, record });
            }
            let readable = self.readable;
            self.port.tell(Event::Store { readable });
            self.port.tell(Event::Leases(self.leases.clone()));
            self.port.tell(Event::Tenure(self.term));
        }
        ground.view = self.port.view();
    }

    fn follow(&mut self, ground: &mut QuorumGround, term: Option<Term>, table: &LeaseTable) {
        let leases = leases(table);
        if leases != self.leases {
            self.leases.clone_from(&leases);
            self.tell(Event::Leases(leases));
        }
        if term != self.term {
            self.term = term;
            if let Some(term) = term {
                self.port.open(term);
            }
            self.tell(Event::Tenure(term));
        }
        for (term, started) in ground.renewals.drain(..) {
            self.tell(Event::Renewed { term, started });
        }
    }

    fn push(&mut self, _until: Moment) {
        // The quorum's thread pushes the deadline itself.
    }

    fn silence(&mut self) {
        self.port.shut();
        self.term = None;
        self.tell(Event::Tenure(None));
    }

    fn record_seen(&mut self, revision: Option<Revision>, content: &Content) {
        let record = record_of(content);
        self.record = Some((revision, record.clone()));
        self.tell(Event::Record { revision, record });
    }

    fn write_ended(&mut self, outcome: Outcome) {
        self.tell(match outcome {
            Outcome::Written(revision) => Event::Written(revision),
            Outcome::Conflict { revision, content } => Event::Conflict {
                revision,
                record: record_of(&content),
            },
            Outcome::Failed => Event::WriteFailed,
        });
    }

    fn survey(&mut self, number: u64, now: Moment) {
        self.survey = Some(Survey { number, asked: now });
    }

    fn synced(&mut self, as_of: Moment, table: &LeaseTable) {
        // Nothing was told of the record: there is none.
        if self.record.is_none() {
            self.record_seen(None, &Content::Absent);
        }
        let Some(survey) = self.survey.take_if(|survey| survey.asked <= as_of) else {
            return;
        };
        let (revision, record) = self.record.clone().unwrap_or((None, None));
        self.tell(Event::Surveyed {
            number: survey.number,
            revision,
            record,
            leases: leases(table),
        });
    }

    fn store_readable(&mut self, readable: bool) {
        if std::mem::replace(&mut self.readable, readable) != readable {
            self.tell(Event::Store { readable });
        }
    }

    fn last_heard(&self, ground: &QuorumGround, node: &NodeName) -> Option<Moment> {
        ground.view.peers.get(node)?.heard_at
    }

    fn leave(&mut self) -> bool {
        self.tell(Event::Leave);
        self.record().is_some_and(|record| record.members.len() > 1)
    }

    fn refusal(&self, me: &NodeName) -> Option<String> {
        if self.keyed {
            return None;
        }
        let record = self.record()?;
        let before = record.previous.iter().flatten();
        let other = record
            .members
            .iter()
            .chain(before)
            .find(|node| *node != me)?;
        Some(no_key(other))
    }
}

/// What a node without a key is told that is not alone.
#[must_use]
pub fn no_key(other: &NodeName) -> String {
    format!(
        "node {other} is a member too, and several nodes need the key that authenticates their heartbeats; make one with \
         `landfall keygen`, and put it into the file l2.key_file on every node"
    )
}

fn record_of(content: &Content) -> Option<MemberRecord> {
    match content {
        Content::Record(Record::Members(record)) => Some(record.clone()),
        _ => None,
    }
}

/// The node leases that are there and can be read.
fn leases(table: &LeaseTable) -> Leases {
    let present = table
        .nodes()
        .filter_map(|(_, seen)| Some((seen.present()?, seen.changed_at)));
    present
        .map(|(lease, changed_at)| {
            let lease_seen = PeerLease {
                term: lease.term,
                fenced: lease.fenced_by.is_some(),
                changed_at,
                duration: lease.duration,
            };
            (lease.node.clone(), lease_seen)
        })
        .collect()
}
