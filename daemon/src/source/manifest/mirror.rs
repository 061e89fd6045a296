//! What the directory's files said last, on this node's own disk, for a start without the directory (`docs/decisions/0007`).
//!
//! One sealed file in the state directory. Fed by the follower with what it has read, a whole step at a time; written by a
//! [`Keeper`], and with what is left when dropped.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::file::Content;
use crate::state_file::{Keeper, Kept, StateFile};

/// The layout of the file.
const LAYOUT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Form {
    /// Whose files these are.
    directory: String,
    files: BTreeMap<String, Text>,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    /// When it was last modified, in seconds since the Unix epoch.
    modified: u64,
    text: String,
}

/// News of files: their content, or their end.
pub(super) type News = Vec<(OsString, Option<Content>)>;

impl Kept for Form {
    type News = News;

    /// What is no text has no objects, and is not kept.
    fn take(&mut self, news: News) -> bool {
        let mut changed = false;
        for (name, content) in news {
            let Some(name) = name.to_str() else { continue };
            let text = content.and_then(|content| {
                let text = String::from_utf8(content.bytes).ok()?;
                Some(Text {
                    modified: content.modified,
                    text,
                })
            });
            let before = match text.clone() {
                Some(text) => self.files.insert(name.to_owned(), text),
                None => self.files.remove(name),
            };
            changed |= before != text;
        }
        changed
    }
}

/// The copies of one directory's files.
#[derive(Debug)]
pub(in crate::source) struct Mirror {
    /// As they were found at the start.
    found: BTreeMap<String, Text>,
    keeper: Keeper<News>,
}

impl Mirror {
    /// The copies that the state directory has of the files of `directory`. Those of no use are told and count as none.
    pub(in crate::source) fn load(state: &Path, directory: &Path) -> Self {
        let file = StateFile::new(state, "manifests.json");
        let directory = directory.display().to_string();
        let found = match file.unseal::<Form>(LAYOUT) {
            Ok(Some(form)) if form.directory == directory => form.files,
            Ok(_) => BTreeMap::new(),
            Err(error) => {
                warn!(%error, "no manifests are remembered");
                BTreeMap::new()
            }
        };
        let form = Form {
            directory,
            files: found.clone(),
        };
        let keeper = Keeper::start(file, LAYOUT, form);
        Self { found, keeper }
    }

    /// A file's content as it was found at the start.
    pub(super) fn found(&self, name: &OsStr) -> Option<Content> {
        let kept = self.found.get(name.to_str()?)?;
        Some(Content::remembered(
            kept.text.clone().into_bytes(),
            kept.modified,
        ))
    }

    /// The names of the files that were found at the start.
    pub(super) fn names(&self) -> impl Iterator<Item = OsString> {
        self.found.keys().map(OsString::from)
    }

    /// Nothing that was found is needed any more.
    pub(super) fn forget_found(&mut self) {
        self.found.clear();
    }

    /// Takes in what became of files.
    pub(super) fn keep(&self, news: News) {
        self.keeper.keep(news);
    }
}
