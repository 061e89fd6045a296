//! Between the election's thread and the quorum's: what each tells the other.
//!
//! Lives on the election's thread. To the quorum go the record of members and the node leases as the store shows them, the
//! node's own tenure and renewals; to the election comes the latest [`View`] as its [`Ground`]. Falling silent goes past both,
//! straight through the [`Gate`].

use std::sync::{Arc, OnceLock};

use landfall_core::election::ground::{self, Ground};
use landfall_core::election::{Content, LeaseTable, Moment, Outcome, Record, Revision, Term};
use landfall_core::model::NodeName;
use landfall_core::quorum::record::MemberRecord;
use landfall_core::quorum::{Event, Lapse, Leases, PeerLease, View};

use super::gate::Gate;
use super::task::QuorumHandle;
use crate::effect::lease::Rights;

/// The quorum as the election's ground: the latest view, and what the election has said since.
#[derive(Debug, Default)]
pub struct QuorumGround {
    view: View,
    /// The term the election renewed last; nothing since it fell silent.
    term: Option<Term>,
    renewals: Vec<(Term, Moment)>,
}

impl QuorumGround {
    fn is_current(&self) -> bool {
        self.term.is_some() && self.view.term == self.term
    }
}

impl Ground for QuorumGround {
    fn renewed(&mut self, term: Term, started: Moment) {
        self.term = Some(term);
        self.renewals.push((term, started));
    }

    fn silenced(&mut self) {
        self.term = None;
    }

    fn deadline(&self) -> Option<Moment> {
        self.view.deadline().filter(|_| self.is_current())
    }

    fn lapse(&self, peer: &ground::PeerLease<'_>, now: Moment) -> ground::Lapse {
        match self.view.lapse(peer.node, &seen(peer), now) {
            Lapse::Over => ground::Lapse::Over,
            Lapse::At(at) => ground::Lapse::At(at),
            Lapse::Unknown => ground::Lapse::Unknown,
        }
    }

    fn is_live(&self, peer: &ground::PeerLease<'_>, now: Moment) -> bool {
        self.view.is_live(peer.node, &seen(peer), now)
    }

    fn look_again_at(&self, peer: &ground::PeerLease<'_>, now: Moment) -> Option<Moment> {
        // By quorum, a peer that is heard no more is news of the view's.
        let at = peer.changed_at + peer.duration;
        (self.view.by_lease && now < at).then_some(at)
    }

    fn is_refused(&self) -> bool {
        self.view.is_refused() && self.is_current()
    }
}

fn seen(peer: &ground::PeerLease<'_>) -> PeerLease {
    PeerLease {
        term: peer.term,
        fenced: false,
        changed_at: peer.changed_at,
        duration: peer.duration,
    }
}

/// A reading of the whole store that the quorum waits for.
#[derive(Clone, Copy, Debug)]
struct Survey {
    number: u64,
    asked: Moment,
}

/// The election's end of the link.
#[derive(Debug)]
pub struct QuorumLink {
    gate: Arc<Gate>,
    /// Set once the quorum's thread runs.
    quorum: Arc<OnceLock<QuorumHandle>>,
    /// The quorum has been told what was known before it ran.
    caught_up: bool,
    record: Option<(Option<Revision>, Option<MemberRecord>)>,
    leases: Leases,
    term: Option<Term>,
    survey: Option<Survey>,
    /// There is a key, so that this node may be one of several.
    keyed: bool,
}

impl QuorumLink {
    /// The end of a link whose other end is put into `quorum` when its thread runs.
    #[must_use]
    pub fn new(gate: Arc<Gate>, quorum: Arc<OnceLock<QuorumHandle>>, keyed: bool) -> Self {
        Self {
            gate,
            quorum,
            caught_up: false,
            record: None,
            leases: Leases::new(),
            term: None,
            survey: None,
            keyed,
        }
    }

    fn tell(&self, event: Event) {
        if let (Some(quorum), true) = (self.quorum.get(), self.caught_up) {
            quorum.tell(event);
        }
    }

    fn record(&self) -> Option<&MemberRecord> {
        self.record.as_ref()?.1.as_ref()
    }
}

impl Rights for QuorumLink {
    type Ground = QuorumGround;

    fn ground(&self) -> QuorumGround {
        QuorumGround::default()
    }

    fn refresh(&mut self, ground: &mut QuorumGround) {
        let Some(quorum) = self.quorum.get() else {
            return;
        };
        if !self.caught_up {
            self.caught_up = true;
            if let Some((revision, record)) = self.record.clone() {
                quorum.tell(Event::Record { revision, record });
            }
            quorum.tell(Event::Leases(self.leases.clone()));
            quorum.tell(Event::Tenure(self.term));
        }
        ground.view = quorum.view();
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
                self.gate.open(term);
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
        self.gate.shut();
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
