//! What the directory's files said last, on this node's own disk, for a start without the directory (`docs/decisions/0007`).
//!
//! One sealed file in the state directory. Fed by the follower with what it has read, a whole step at a time; a thread writes,
//! as a disk may take its time, and rests ten times as long as that took. Ends when dropped, with what is left written.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::file::Content;
use crate::state_file::StateFile;

/// The layout of the file.
const LAYOUT: u32 = 1;
/// The least pause between two writes.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Form {
    /// Whose files these are.
    directory: String,
    files: BTreeMap<String, Kept>,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// When it was last modified, in seconds since the Unix epoch.
    modified: u64,
    text: String,
}

/// News of files: their content, or their end.
pub(super) type News = Vec<(OsString, Option<Content>)>;

#[derive(Debug, Default)]
struct Shared {
    pending: BTreeMap<String, Option<Kept>>,
    ended: bool,
}

/// The copies of one directory's files.
#[derive(Debug)]
pub(in crate::source) struct Mirror {
    /// As they were found at the start.
    found: BTreeMap<String, Kept>,
    shared: Arc<(Mutex<Shared>, Condvar)>,
    thread: Option<JoinHandle<()>>,
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
        let shared = Arc::new((Mutex::default(), Condvar::new()));
        let keeper = Keeper {
            file,
            form: Form {
                directory,
                files: found.clone(),
            },
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("landfall-mirror".into());
        let thread = thread.spawn(move || keeper.run());
        let thread = thread.inspect_err(|error| error!(%error, "manifests are not remembered"));
        Self {
            found,
            shared,
            thread: thread.ok(),
        }
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

    /// Takes in what became of files. What is no text has no objects, and is not kept.
    pub(super) fn keep(&self, news: News) {
        let (shared, changed) = &*self.shared;
        let mut shared = lock(shared);
        for (name, content) in news {
            let Some(name) = name.to_str() else { continue };
            let kept = content.and_then(|content| {
                let text = String::from_utf8(content.bytes).ok()?;
                Some(Kept {
                    modified: content.modified,
                    text,
                })
            });
            shared.pending.insert(name.to_owned(), kept);
        }
        changed.notify_one();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let (shared, changed) = &*self.shared;
        lock(shared).ended = true;
        changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Whoever panicked left the map as it was or with the news in it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keeper {
    file: StateFile,
    form: Form,
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl Keeper {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let (shared, changed) = &*shared;
        let (mut pause, mut troubled) = (Duration::ZERO, false);
        loop {
            let rests = |shared: &mut Shared| !shared.ended;
            let rested = changed.wait_timeout_while(lock(shared), pause, rests);
            let (rested, _) = rested.unwrap_or_else(PoisonError::into_inner);
            let idles = |shared: &mut Shared| !shared.ended && shared.pending.is_empty();
            let mut shared = changed
                .wait_while(rested, idles)
                .unwrap_or_else(PoisonError::into_inner);
            let (news, ended) = (std::mem::take(&mut shared.pending), shared.ended);
            drop(shared);
            if self.take(news) {
                let begun = Instant::now();
                let stored = self.file.seal(LAYOUT, &self.form);
                self.tell(stored.err(), &mut troubled);
                pause = PAUSE.max(begun.elapsed() * 10);
            }
            if ended {
                return;
            }
        }
    }

    /// Takes in news. Tells whether anything has changed by them.
    fn take(&mut self, news: BTreeMap<String, Option<Kept>>) -> bool {
        let mut changed = false;
        for (name, kept) in news {
            let before = match kept.clone() {
                Some(kept) => self.form.files.insert(name, kept),
                None => self.form.files.remove(&name),
            };
            changed |= before != kept;
        }
        changed
    }

    fn tell(&self, error: Option<io::Error>, troubled: &mut bool) {
        match &error {
            Some(error) if !*troubled => {
                let file = self.file.path();
                error!(%error, file = %file.display(), "manifests cannot be remembered; make state.dir writable");
            }
            None if *troubled => info!("manifests are remembered again"),
            _ => {}
        }
        *troubled = error.is_some();
    }
}
