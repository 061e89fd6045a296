//! Follows the directory step by step: what to read when, and what to wait for. Blocking.
//!
//! Fed by the watch's events and by timers through the task; feeds the store. Files are read when
//! their writer has closed or renamed them, never while they are written; for what events do not
//! tell (links made to open files, a queue that ran over) there is the scan.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use landfall_core::model::{Change, SourceId};

use super::file::{self, Fault, Signature};
use super::mirror::{Mirror, News};
use super::store::{Sight, Store};
use crate::source::reading::whole;
use crate::source::{Batch, ClassPolicy};

/// How long a name may be missing before its objects are. Editors that rename the old file away and
/// then write the new one take some milliseconds.
const GRACE: Duration = Duration::from_millis(20);
/// For how long a file must have lain still before a scan reads it, lest it be half written.
const SETTLE: Duration = Duration::from_millis(500);

/// What the watch told of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::source) struct Events {
    /// Written and closed, or renamed into place.
    pub(in crate::source) written: BTreeSet<OsString>,
    /// Made or relabelled; perhaps about to be written.
    pub(in crate::source) touched: BTreeSet<OsString>,
    /// Removed or renamed away.
    pub(in crate::source) removed: BTreeSet<OsString>,
    /// Anything may have changed.
    pub(in crate::source) rescan: bool,
}

impl Events {
    pub(in crate::source) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Follows one directory.
#[derive(Debug)]
pub(in crate::source) struct Follower {
    path: PathBuf,
    store: Store,
    /// The state each file was read in; nothing for those that could not be read.
    read: BTreeMap<OsString, Option<Signature>>,
    leaving: BTreeMap<OsString, Instant>,
    settling: Option<Instant>,
    synced: bool,
    mirror: Mirror,
    /// Files read in this step, and those that are gone.
    news: News,
    /// Files of which the mirror has something.
    mirrored: BTreeSet<OsString>,
}

impl Follower {
    /// A follower of the directory `path`, which keeps copies in the directory `state`.
    pub(in crate::source) fn new(path: PathBuf, state: &Path, class: ClassPolicy) -> Self {
        let mirror = Mirror::load(state, &path);
        let store = Store::new(path.clone(), class);
        let (read, leaving) = (BTreeMap::new(), BTreeMap::new());
        Self {
            path,
            store,
            read,
            leaving,
            settling: None,
            synced: false,
            mirrored: mirror.names().collect(),
            mirror,
            news: News::new(),
        }
    }

    pub(in crate::source) fn path(&self) -> &Path {
        &self.path
    }

    /// When [`Self::expire`] wants to be called.
    pub(in crate::source) fn deadline(&self) -> Option<Instant> {
        self.leaving.values().copied().chain(self.settling).min()
    }

    /// Takes in that the directory cannot be followed; its objects stay as they are, or as they are remembered.
    pub(in crate::source) fn lost(&mut self, error: &io::Error) -> Batch {
        let (problem, remedy) = match error.kind() {
            io::ErrorKind::NotFound => ("does not exist".to_owned(), "create the directory"),
            io::ErrorKind::NotADirectory => (
                "is not a directory".to_owned(),
                "name a directory in source.manifests_dir",
            ),
            io::ErrorKind::PermissionDenied => (
                "may not be read".to_owned(),
                "make it readable for the agent's user",
            ),
            _ => (format!("cannot be followed: {error}"), "make it readable"),
        };
        let complaint = whole(&self.path.display().to_string(), problem, remedy);
        let mut batch = self.store.directory(Some(complaint));
        if !self.synced && self.read.is_empty() {
            batch.extend(self.recall());
        }
        batch
    }

    /// The directory as it is remembered.
    fn recall(&mut self) -> Batch {
        let names: Vec<OsString> = self.mirror.names().collect();
        let found = names.into_iter().filter_map(|name| {
            let content = self.mirror.found(&name)?;
            // Whatever is there will be read once it can be.
            self.read.insert(name.clone(), None);
            Some((name, Sight::Content(content)))
        });
        let found: Vec<_> = found.collect();
        let mut batch = self.store.apply(found);
        if !self.read.is_empty() {
            batch.push(Change::Recalled(SourceId::Manifests));
        }
        batch
    }

    /// Keeps copies of what was read. Of a file in which something is refused the copy before stays, if there is one.
    fn keep(&mut self) {
        let (store, mirrored) = (&self.store, &mut self.mirrored);
        let mut news = std::mem::take(&mut self.news);
        news.retain(|(name, content)| match content {
            Some(_) => mirrored.insert(name.clone()) || !store.is_refused(name),
            None => mirrored.remove(name),
        });
        if !news.is_empty() {
            self.mirror.keep(news);
        }
    }

    /// Looks at everything. The first scan that succeeds ends with [`Change::Synced`].
    pub(in crate::source) fn scan(&mut self, now: Instant) -> Batch {
        let names = match names(&self.path) {
            Ok(names) => names,
            Err(error) => return self.lost(&error),
        };
        if !self.synced {
            let gone = self.mirror.names().filter(|name| !names.contains(name));
            self.news.extend(gone.map(|name| (name, None)));
        }
        let mut batch = self.store.directory(None);
        let missing: Vec<_> = self
            .read
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        let mut seen: Vec<_> = missing
            .into_iter()
            .filter_map(|name| self.leave(name, now))
            .collect();
        let wall = SystemTime::now();
        for name in names {
            let signature = Signature::at(&self.path.join(&name)).ok();
            let known = self.read.get(&name);
            if known.is_some_and(|known| known.is_some() && *known == signature) {
                // Back within its grace, unchanged: it has to be taken in again.
                if self.leaving.contains_key(&name) {
                    seen.extend(self.look(name));
                }
                continue;
            }
            let young = signature.is_some_and(|signature| signature.age(wall) < SETTLE);
            if young && self.synced {
                self.settle(now);
            } else {
                seen.extend(self.look(name));
            }
        }
        batch.extend(self.store.apply(seen));
        self.keep();
        if !self.synced {
            self.synced = true;
            self.mirror.forget_found();
            batch.push(Change::Synced(SourceId::Manifests));
        }
        batch
    }

    /// Takes in what the watch told.
    pub(in crate::source) fn take(&mut self, events: Events, now: Instant) -> Batch {
        let mut seen = Vec::new();
        for name in events.removed.difference(&events.written).cloned() {
            // A name that is there again will be closed by its writer in time.
            if self.path.join(&name).symlink_metadata().is_err() {
                seen.extend(self.leave(name, now));
            } else {
                self.settle(now);
            }
        }
        for name in events.touched.difference(&events.written).cloned() {
            if self.is_finished(&name) {
                seen.extend(self.look(name));
            } else {
                self.settle(now);
            }
        }
        for name in events.written {
            seen.extend(self.look(name));
        }
        let mut batch = self.store.apply(seen);
        self.keep();
        if events.rescan {
            batch.extend(self.scan(now));
        }
        batch
    }

    /// Does what was waited for until `now`.
    pub(in crate::source) fn expire(&mut self, now: Instant) -> Batch {
        let due: Vec<_> = self
            .leaving
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let mut seen = Vec::new();
        for name in due {
            match Signature::at(&self.path.join(&name)) {
                // It is there again and perhaps still being written.
                Ok(signature) if signature.age(SystemTime::now()) < SETTLE => {
                    self.leaving.insert(name, now + GRACE);
                }
                _ => seen.extend(self.look(name)),
            }
        }
        let mut batch = self.store.apply(seen);
        self.keep();
        if self.settling.is_some_and(|at| at <= now) {
            self.settling = None;
            batch.extend(self.scan(now));
        }
        batch
    }

    /// Whether a file that was only just made, or whose attributes changed, can be read at once:
    /// links and what is no file will not be closed by a writer, and one that could not be read may
    /// now.
    fn is_finished(&self, name: &OsStr) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(metadata) = self.path.join(name).symlink_metadata() else {
            return false;
        };
        !metadata.is_file()
            || metadata.nlink() > 1
            || (self.read.get(name) == Some(&None) && self.store.is_faulty(name))
    }

    fn settle(&mut self, now: Instant) {
        // A little more than a file must have lain still, as the clock of file times is coarse.
        let at = now + SETTLE + SETTLE / 5;
        self.settling = Some(self.settling.map_or(at, |earlier| earlier.min(at)));
    }

    fn leave(&mut self, name: OsString, now: Instant) -> Option<(OsString, Sight)> {
        if !self.read.contains_key(&name) || self.leaving.contains_key(&name) {
            return None;
        }
        self.leaving.insert(name.clone(), now + GRACE);
        Some((name, Sight::Leaving))
    }

    /// Reads a file. At the first look what is remembered of it comes before: its last good state.
    fn look(&mut self, name: OsString) -> Vec<(OsString, Sight)> {
        self.leaving.remove(&name);
        let mut seen = Vec::new();
        let read = file::read(&self.path.join(&name));
        if !self.synced
            && !matches!(read, Err(Fault::Gone))
            && let Some(content) = self.mirror.found(&name)
        {
            seen.push((name.clone(), Sight::Content(content)));
        }
        let sight = match read {
            Ok(content) => {
                self.read.insert(name.clone(), Some(content.signature));
                self.news.push((name.clone(), Some(content.clone())));
                Sight::Content(content)
            }
            Err(Fault::Gone) => {
                self.news.push((name.clone(), None));
                if self.read.remove(&name).is_none() {
                    return seen;
                }
                Sight::Gone
            }
            Err(fault) => {
                self.read.insert(name.clone(), None);
                Sight::Fault(fault)
            }
        };
        seen.push((name, sight));
        seen
    }
}

/// The names in `directory` that are manifests, sorted.
///
/// # Errors
/// It cannot be listed.
pub(in crate::source) fn names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if is_manifest(&name) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Whether a file of this name is read: `*.yaml`, `*.yml` and `*.json` that are not hidden. What
/// editors leave lying about (`x.yaml~`, `#x.yaml#`, `.x.yaml.swp`) is not.
pub(in crate::source) fn is_manifest(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    !name.as_bytes().starts_with(b".") && matches!(extension, Some("yaml" | "yml" | "json"))
}
