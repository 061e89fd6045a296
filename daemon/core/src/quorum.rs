//! How long this node may answer at all: members, heartbeats, grants, verdicts.
//!
//! One sans-IO machine per node, on a thread of its own. `docs/decisions/0005-ground-quorum.md` says how it works and why
//! it is safe. Fed by the election (tenure, renewals), the lease store (the record, node leases) and the peers
//! ([`message::Message`]); feeds the kernel's deadline, the store, the node's disk and the peers ([`Action`]), and the
//! election through a [`View`].
//!
//! Each part of the protocol has its file: `grant` asks and answers, `pace` says for how long is granted, `right` adds up
//! what was granted, `verdict` calls peers silent and refuses their terms, `adopt` goes from one record to the next,
//! `change` writes records.

mod adopt;
mod change;
mod event;
mod grant;
pub mod message;
mod pace;
mod peer;
pub mod record;
mod right;
mod rule;
mod settings;
#[cfg(test)]
mod tests;
mod verdict;
mod view;

use std::collections::{BTreeMap, VecDeque};

use self::change::{InStore, Intent};
use self::message::{Serial, Verdict};
use self::pace::WritePace;
use self::peer::Peer;
use self::record::{Epoch, MemberRecord, Members};
use self::rule::{Rule, names};
use crate::election::{Moment, Term};
use crate::model::NodeName;

pub use self::event::{Action, Durable, Event, Leases, PeerLease};
pub use self::settings::{Identity, Settings, SettingsError};
pub use self::view::{Lapse, PeerView, View};

/// A reading of the store that was asked for.
#[derive(Clone, Copy, Debug)]
struct Survey {
    number: u64,
    at: Moment,
    term: Option<Term>,
    epoch: Option<Epoch>,
}

/// What was last told of the view; a change of it is told at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    entitled: bool,
    refused: bool,
    term: Option<Term>,
    epoch: Option<Epoch>,
    news: u64,
}

/// The quorum as one node runs it.
#[derive(Debug)]
pub struct Quorum {
    me: Identity,
    settings: Settings,
    started: Moment,
    serial: Serial,

    /// What is on disk, and what shall be: it differs while a store is under way.
    durable: Durable,
    wanted: Durable,
    stores: VecDeque<(u64, Durable)>,
    version: u64,

    /// The newest record known, and since when.
    newest: Option<MemberRecord>,
    newest_since: Moment,
    /// The rules that the node's right and its judgement rest on.
    rules: Vec<Rule>,
    /// All that a record in force, or about to be, names; this node included.
    members: Members,
    /// Who of them grants.
    granters: Members,

    term: Option<Term>,
    renewed: Option<Moment>,
    pace: WritePace,
    /// The deadline as last set, by this process.
    set: Option<(Term, Option<Moment>)>,
    /// Since when the right would be lost with any one granter more, because others refuse the term.
    brittle_since: Option<Moment>,
    /// Since when a quorum has given no right, and others refuse the term.
    starved_since: Option<Moment>,
    /// A deadline has to be set although none may be.
    silence: bool,

    peers: BTreeMap<NodeName, Peer>,
    /// The terms over by the rules in force.
    lapsed: BTreeMap<NodeName, Term>,
    verdicts: Vec<(NodeName, Verdict)>,
    /// Counts what the view's readers have to know at once.
    news: u64,
    told: Told,

    /// The lease store can be read: a term that is refused can be fenced.
    store_readable: bool,
    leases: Option<Leases>,
    /// Since when a lease is seen to state its term, and to be fenced or gone.
    stated_since: BTreeMap<NodeName, (Term, Moment)>,
    gone_since: BTreeMap<NodeName, Moment>,
    in_store: InStore,
    intent: Option<Intent>,
    writing: Option<MemberRecord>,
    write_after: Moment,
    survey: Option<Survey>,
    surveys: u64,
    survey_after: Moment,
    /// A reading of the record begun within this term found this epoch.
    read_for: Option<(Term, Epoch)>,
    /// Members whose leases were found fenced or gone when this epoch was in force.
    found_gone: Option<(Epoch, Members)>,
    leaving: bool,
    left: bool,

    next_beat: Moment,
    wake: Option<Moment>,
}

impl Quorum {
    /// A machine that has just started, with what its predecessor left on disk.
    #[must_use]
    pub fn new(me: Identity, settings: Settings, durable: Option<Durable>, now: Moment) -> Self {
        let durable = durable.unwrap_or_default();
        let mut quorum = Self {
            me,
            settings,
            started: now,
            serial: Serial(0),
            wanted: durable.clone(),
            newest: durable.record.clone(),
            durable,
            stores: VecDeque::new(),
            version: 0,
            newest_since: now,
            rules: Vec::new(),
            members: Members::new(),
            granters: Members::new(),
            term: None,
            renewed: None,
            pace: WritePace::default(),
            set: None,
            brittle_since: None,
            starved_since: None,
            silence: false,
            peers: BTreeMap::new(),
            lapsed: BTreeMap::new(),
            verdicts: Vec::new(),
            news: 0,
            told: Told::default(),
            store_readable: true,
            leases: None,
            stated_since: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            in_store: InStore::Unseen,
            intent: None,
            writing: None,
            write_after: now,
            survey: None,
            surveys: 0,
            survey_after: now,
            read_for: None,
            found_gone: None,
            leaving: false,
            left: false,
            next_beat: now,
            wake: Some(now),
        };
        quorum.take_rules(now);
        quorum.gather_verdicts();
        quorum
    }

    /// When [`Event::Tick`] is due, unless something else comes first.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Moment> {
        self.wake
    }

    /// The record in force.
    #[must_use]
    pub fn record(&self) -> Option<&MemberRecord> {
        self.durable.record.as_ref()
    }

    /// Takes in one event. `now` must have been read before the event's actions can begin.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut hurry = None;
        self.wake = None;
        match event {
            Event::Record { revision, record } => self.see_store(revision, record, now),
            Event::Conflict { revision, record } => self.conflict(revision, record, now),
            Event::Written(revision) => self.written(revision, now),
            Event::WriteFailed => {
                self.writing = None;
                self.write_after = now + self.settings.patience;
            }
            Event::Tenure(term) => self.take_tenure(term, &mut actions),
            Event::Renewed { term, started } => {
                self.pace.note(started, now);
                if self.term == Some(term) {
                    self.renewed = self.renewed.max(Some(started));
                }
            }
            Event::Leases(leases) => self.see_leases(leases, now),
            Event::Surveyed {
                number,
                revision,
                record,
                leases,
            } => {
                self.surveyed(number, (revision, record), leases, now);
            }
            Event::Store { readable } => self.store_readable = readable,
            Event::Received(message) => hurry = self.receive(message, now, &mut actions),
            Event::Stored { version } => self.stored(version, now),
            Event::Leave => self.leaving = true,
            Event::Tick => {}
        }
        self.adopt(now);
        self.verify();
        let due = now >= self.next_beat;
        let changed = self.judge(now);
        self.notice_brittle(now);
        self.lead_with_deadline(now, &mut actions);
        self.store(&mut actions);
        if changed {
            self.gather_verdicts();
            self.send_news(now, &mut actions);
        }
        if due {
            self.beat(now, &mut actions);
        } else if let Some(peer) = hurry {
            self.ask(&peer, now, &mut actions);
        }
        self.change(now, &mut actions);
        self.tell(due, now, &mut actions);
        self.wake_at(self.next_beat);
        actions
    }

    /// The quorum as it is now.
    #[must_use]
    pub fn view(&self, now: Moment) -> View {
        let peers = self.peers.iter().map(|(node, peer)| {
            let view = PeerView {
                heard_at: peer.heard_at,
                entitled: peer.entitled,
                vouched: self.is_vouched_for(node, now),
                lapsed: self.lapsed.get(node).copied(),
            };
            (node.clone(), view)
        });
        let own = PeerView {
            lapsed: self.lapsed.get(&self.me.node).copied(),
            ..PeerView::default()
        };
        let deadline = self.right(now).filter(|deadline| *deadline > now);
        let mut granters = self.peers.values();
        let last = granters.find(|peer| deadline.is_some() && peer.support == deadline);
        View {
            term: self.term,
            deadline,
            granted_for: last.map_or(self.settings.span, |peer| peer.supported_for),
            refused: self.is_refused(now),
            epoch: self.durable.record.as_ref().map(|record| record.epoch),
            joint: self
                .durable
                .record
                .as_ref()
                .is_some_and(|record| record.previous.is_some()),
            by_quorum: self.rules.iter().any(Rule::is_quorum),
            by_lease: self.rules.iter().any(|rule| !rule.is_quorum()),
            peers: peers.chain([(self.me.node.clone(), own)]).collect(),
            member: self
                .record()
                .is_some_and(|record| names(record, &self.me.node)),
            me: Some(self.me.node.clone()),
            window: self.settings.promise(),
            fresh: self.settings.fresh(),
        }
    }

    fn take_tenure(&mut self, term: Option<Term>, actions: &mut Vec<Action>) {
        if self.term == term {
            return;
        }
        self.term = term;
        self.renewed = None;
        for peer in self.peers.values_mut() {
            peer.support = None;
            peer.asked.clear();
        }
        if let Some((before, Some(_))) = self.set {
            self.set = Some((before, None));
            actions.push(Action::SetDeadline {
                term: before,
                until: None,
            });
        }
    }

    /// Asks for what has to be on disk, and says of what is there.
    fn store(&mut self, actions: &mut Vec<Action>) {
        let last = self.stores.back().map_or(&self.durable, |(_, last)| last);
        if *last == self.wanted {
            return;
        }
        self.version += 1;
        let (version, durable) = (self.version, self.wanted.clone());
        self.stores.push_back((version, durable.clone()));
        actions.push(Action::Store { version, durable });
    }

    fn stored(&mut self, version: u64, now: Moment) {
        let mut on_disk = None;
        while self
            .stores
            .front()
            .is_some_and(|(sent, _)| *sent <= version)
        {
            on_disk = self.stores.pop_front();
        }
        let Some((_, durable)) = on_disk else { return };
        self.durable = durable;
        self.take_rules(now);
        self.find_lapsed();
    }

    /// Tells the view's readers of a change, and of the time of what was heard once a heartbeat.
    fn tell(&mut self, due: bool, now: Moment, actions: &mut Vec<Action>) {
        let told = Told {
            entitled: self.is_entitled(now),
            refused: self.is_refused(now),
            term: self.term,
            epoch: self.durable.record.as_ref().map(|record| record.epoch),
            news: self.news,
        };
        if due || told != self.told {
            self.told = told;
            actions.push(Action::ViewChanged);
        }
    }

    fn is_up(&self, now: Moment) -> bool {
        now >= self.started + self.settings.promise()
    }

    fn wake_at(&mut self, at: Moment) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
