//! What the API server said last, on this node's own disk, for a start without the server (`docs/decisions/0007`).
//!
//! The trimmed objects of all kinds, each in its last good state, in one sealed file that is named for the server. Nothing is
//! kept before every kind was read once, so that a copy is always one of everything.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::kind::WatchedKind;
use super::object::{Place, Seen, Text};
use crate::state_file::{Keeper, Kept, StateFile};

/// The layout of the file.
const LAYOUT: u32 = 1;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    /// Whose objects these are.
    server: String,
    /// By kind, and by `namespace/name`.
    kinds: BTreeMap<String, BTreeMap<String, Text>>,
}

/// What became of objects: their new texts, or their end.
pub(super) type Texts = Vec<(WatchedKind, Place, Option<Text>)>;

/// What is to be kept.
#[derive(Debug)]
pub(super) enum Copied {
    /// These, and no other.
    Whole(Texts),
    /// These have changed.
    Changed(Texts),
}

impl Kept for Form {
    type News = Copied;

    fn take(&mut self, news: Copied) -> bool {
        match news {
            Copied::Whole(texts) => {
                let before = std::mem::take(&mut self.kinds);
                self.note(texts);
                self.kinds != before
            }
            Copied::Changed(texts) => self.note(texts),
        }
    }
}

impl Form {
    fn note(&mut self, texts: Texts) -> bool {
        let mut changed = false;
        for (kind, place, text) in texts {
            let objects = self.kinds.entry(kind.name().to_owned()).or_default();
            let place = place.to_string();
            let before = match text.clone() {
                Some(text) => objects.insert(place, text),
                None => objects.remove(&place),
            };
            changed |= before != text;
        }
        changed
    }
}

/// The copy of one server's objects.
#[derive(Debug)]
pub(super) struct Copy {
    keeper: Keeper<Copied>,
}

impl Copy {
    /// The copy that the state directory has of the objects of `server`, and what is in it; nothing where there is none. One of
    /// no use is told and counts as none. Blocking.
    pub(super) fn load(state: &Path, server: &str) -> (Self, Option<Vec<(WatchedKind, Seen)>>) {
        let file = StateFile::new(state, "objects.json");
        let found = match file.unseal::<Form>(LAYOUT) {
            Ok(Some(form)) if form.server == server => Some(form),
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "no objects are remembered");
                None
            }
        };
        let objects = found.as_ref().map(|form| {
            let kinds = form.kinds.iter();
            let kinds = kinds.filter_map(|(name, texts)| Some((WatchedKind::named(name)?, texts)));
            let objects = kinds.flat_map(|(kind, texts)| {
                let seen = texts.values().cloned().filter_map(Seen::from_text);
                seen.map(move |seen| (kind, seen))
            });
            objects.collect()
        });
        let form = found.unwrap_or_else(|| Form {
            server: server.to_owned(),
            kinds: BTreeMap::new(),
        });
        let keeper = Keeper::start(file, LAYOUT, form);
        (Self { keeper }, objects)
    }

    /// Takes in what became of objects.
    pub(super) fn keep(&self, news: Copied) {
        self.keeper.keep(news);
    }
}
