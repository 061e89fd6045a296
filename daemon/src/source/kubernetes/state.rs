//! Where the source stands with each kind, for status, readiness and metrics; told once in the log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use metrics::counter;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::failure::Failure;
use super::kind::WatchedKind;
use crate::telemetry::metric;

/// Where the source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Every kind that is watched.
    pub kinds: BTreeMap<WatchedKind, KindState>,
    /// Whether the model goes by what was remembered of kinds that have not been read yet.
    pub recalled: bool,
}

/// Where the source stands with one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindState {
    /// What is known of its objects.
    pub content: Content,
    /// How many there are, be they read or remembered.
    pub objects: usize,
    /// Why it cannot be read at present. What is known of it stays in force.
    pub trouble: Option<Trouble>,
}

/// What is known of a kind's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing since the start.
    Unread,
    /// That the server does not know the kind, so that there are none.
    Missing,
    /// That they are Cilium's own operator's, so that there are none for us.
    LeftAlone,
    /// All of them have been read.
    Synced,
}

/// Why a kind cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// What the last attempt failed by.
    pub reason: String,
}

impl SourceState {
    /// Whether every kind has been read since the start, or is known to be missing.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        !self.kinds.is_empty() && self.kinds.values().all(KindState::is_synced)
    }

    /// The trouble that has lasted longest, with its kind.
    #[must_use]
    pub fn trouble(&self) -> Option<(WatchedKind, &Trouble)> {
        let troubled = self.kinds.iter().filter_map(|(kind, state)| {
            let trouble = state.trouble.as_ref()?;
            Some((*kind, trouble))
        });
        troubled.min_by_key(|(_, trouble)| trouble.since)
    }
}

impl KindState {
    /// Whether all its objects have been read since the start, or there are none for us.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.content != Content::Unread
    }
}

/// For how long a server may refuse before that is told: one that has just started refuses everybody until it knows the roles.
const REFUSAL: Duration = Duration::from_secs(10);

/// Keeps the state, and the log.
#[derive(Debug)]
pub(super) struct Ledger {
    server: String,
    told: watch::Sender<SourceState>,
    /// Kinds that are refused: since when, and whether that was told.
    refused: BTreeMap<WatchedKind, (Instant, bool)>,
}

impl Ledger {
    /// A ledger of `kinds`, none of them read.
    pub(super) fn new(
        server: String,
        told: watch::Sender<SourceState>,
        kinds: impl Iterator<Item = WatchedKind>,
    ) -> Self {
        let unread = KindState {
            content: Content::Unread,
            objects: 0,
            trouble: None,
        };
        let kinds: Vec<WatchedKind> = kinds.collect();
        for kind in &kinds {
            // There from the start, so that the first failure is an increase.
            counter!(metric::KIND_ERRORS.name, "kind" => kind.name()).increment(0);
        }
        told.send_replace(SourceState {
            kinds: kinds
                .into_iter()
                .map(|kind| (kind, unread.clone()))
                .collect(),
            recalled: false,
        });
        Self {
            server,
            told,
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.told.borrow().is_synced()
    }

    /// What is known of a kind now.
    pub(super) fn content(&mut self, kind: WatchedKind, content: Content) {
        let mut appeared = false;
        self.told.send_if_modified(|state| {
            let Some(known) = state.kinds.get_mut(&kind) else {
                return false;
            };
            let before = std::mem::replace(&mut known.content, content);
            appeared = before == Content::Missing && content == Content::Synced;
            let changed = before != content;
            if state.recalled && state.is_synced() {
                state.recalled = false;
                return true;
            }
            changed
        });
        if appeared {
            info!(%kind, "the API server serves a kind that was missing");
        }
        self.well(kind);
    }

    /// How many objects of each kind there are now.
    pub(super) fn count(&self, objects: impl Fn(WatchedKind) -> usize) {
        self.told.send_if_modified(|state| {
            let mut changed = false;
            for (kind, known) in &mut state.kinds {
                let objects = objects(*kind);
                changed |= std::mem::replace(&mut known.objects, objects) != objects;
            }
            changed
        });
    }

    /// What is remembered stands in for what was not read.
    pub(super) fn recalled(&self) {
        warn!(server = %self.server, "the API server cannot be read yet; what is remembered of its objects stays in force");
        self.told.send_modify(|state| state.recalled = true);
    }

    /// The kind can be read.
    pub(super) fn well(&mut self, kind: WatchedKind) {
        self.refused.remove(&kind);
        let ended = self.told.send_if_modified(|state| {
            let known = state.kinds.get_mut(&kind);
            known.is_some_and(|known| known.trouble.take().is_some())
        });
        if ended && self.told.borrow().trouble().is_none() {
            info!(server = %self.server, "the API server's objects are read again");
        }
    }

    /// The kind cannot be read.
    pub(super) fn trouble(&mut self, kind: WatchedKind, failure: Failure) {
        counter!(metric::KIND_ERRORS.name, "kind" => kind.name()).increment(1);
        let (forbidden, reason) = (failure.is_forbidden(), failure.reason);
        let first = self.told.borrow().trouble().is_none();
        let mut new = false;
        self.told.send_if_modified(|state| {
            let Some(known) = state.kinds.get_mut(&kind) else {
                return false;
            };
            match &mut known.trouble {
                Some(trouble) if trouble.reason == reason => false,
                Some(trouble) => {
                    trouble.reason.clone_from(&reason);
                    true
                }
                none => {
                    new = true;
                    *none = Some(Trouble {
                        since: SystemTime::now(),
                        reason: reason.clone(),
                    });
                    true
                }
            }
        });
        if forbidden {
            let now = Instant::now();
            let (since, told) = self.refused.entry(kind).or_insert((now, false));
            if !*told && now - *since >= REFUSAL {
                *told = true;
                error!(%kind, reason, "the API server does not let this agent read a kind; give its role list and watch on it");
            }
        } else {
            self.refused.remove(&kind);
        }
        if new && first {
            warn!(server = %self.server, %kind, reason, "the API server cannot be read; its last state stays in force");
        }
    }
}
