//! The record in files, shared by all daemons of a lease directory.
//!
//! A thread follows the directory by inotify and looks each half second anyway; writes are on blocking threads.
//!
//! Each revision is a file named by its number, linked whole from a flushed temporary file: of all writers that expect one
//! revision a single one succeeds, and nobody ever waits for a lock. The first line of a file is a checksum of the rest, so
//! that a torn one is known for what it is: the revision before it counts, and the next write goes above it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use landfall_core::election::Revision;
use landfall_core::model::{AssignmentRecord, ObservedAssignments};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::memory::Memory;
use super::{Held, RETRY, Written, content, offer};

/// Old revisions kept, in case the newest is torn.
const KEEP: usize = 16;
/// How long the thread waits for a change before it looks anyway, and for its cancellation.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// The record's directory. All calls block.
#[derive(Clone, Debug)]
pub struct AssignmentFiles {
    path: PathBuf,
    memory: Memory,
    written: Arc<AtomicU64>,
}

impl AssignmentFiles {
    /// Opens the directory, with a copy in the directory `state`. It is made if need be, unless it is `known` to have been there
    /// before: then it is waited for.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path, state: &Path, known: bool) -> io::Result<Self> {
        if !known {
            fs::create_dir_all(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            memory: Memory::new(state, &path.display().to_string()),
            written: Arc::default(),
        })
    }

    /// What the node remembers of the record.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The record as it is: the highest number that is whole, under the highest number there is.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn read(&self) -> io::Result<ObservedAssignments> {
        let numbers = self.numbers()?;
        let revision = numbers.last().map(|number| Revision(*number));
        for number in numbers.iter().rev() {
            match fs::read_to_string(self.file(*number)) {
                Ok(text) => match content::from_text(&text) {
                    Some(record) => {
                        return Ok(ObservedAssignments {
                            revision,
                            record: Arc::new(record),
                            recalled: false,
                            lost: false,
                        });
                    }
                    None => {
                        warn!(file = %self.file(*number).display(), "a record of assignments is torn; the one before it counts")
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ObservedAssignments {
            revision,
            record: Arc::default(),
            recalled: false,
            lost: false,
        })
    }

    /// Writes the record as the revision after `expected`.
    ///
    /// # Errors
    /// It could not be written, and nothing was.
    pub fn write(
        &self,
        expected: Option<Revision>,
        record: &AssignmentRecord,
    ) -> io::Result<Written> {
        let before = self.numbers()?.last().map(|number| Revision(*number));
        if before != expected {
            return Ok(Written::Conflict);
        }
        let number = expected.map_or(1, |revision| revision.0 + 1);
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .path
            .join(format!(".writing-{}-{count}", std::process::id()));
        let linked = write_whole(&temporary, &content::to_text(record))
            .and_then(|()| fs::hard_link(&temporary, self.file(number)));
        // The link is made or not; the temporary name is of no use either way.
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(Written::Conflict);
            }
            Err(error) => return Err(error),
        }
        File::open(&self.path)?.sync_all()?;
        let numbers = self.numbers()?;
        if numbers.last() != Some(&number) {
            // A number that was taken and cleared away long ago: this write slept through it.
            let _ = fs::remove_file(self.file(number));
            return Ok(Written::Conflict);
        }
        for old in numbers.iter().rev().skip(KEEP) {
            let _ = fs::remove_file(self.file(*old));
        }
        Ok(Written::At(Revision(number)))
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            numbers.extend(
                name.to_str()
                    .and_then(|name| name.strip_suffix(".json"))
                    .and_then(|name| name.parse::<u64>().ok()),
            );
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number}.json"))
    }

    /// Follows the directory until cancelled. Blocks; to be called on a thread of its own.
    pub fn follow(&self, publish: &watch::Sender<Held>, cancel: &CancellationToken) {
        let (mut troubled, mut kept) = (false, None);
        while !cancel.is_cancelled() {
            let queue = self.watch();
            match self.read() {
                Ok(observed) => {
                    troubled = false;
                    self.memory.keep(&observed, &mut kept);
                    // A reader that is late must not take back what the writer has published since.
                    offer(publish, observed);
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        error!(directory = %self.path.display(), %error, "the record of assignments cannot be read; what is known stays in force");
                    }
                    // Made in a lease directory that is there, and nowhere else.
                    if error.kind() == io::ErrorKind::NotFound && fs::create_dir(&self.path).is_ok()
                    {
                        continue;
                    }
                    self.memory.recall(publish);
                }
            }
            match queue {
                Ok(queue) => {
                    // Either way the record is read again.
                    let _ = poll(&mut [PollFd::new(&queue, PollFlags::IN)], Some(&LOOK));
                }
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }

    /// A new watch each time: it is made before the look, so nothing falls between the two.
    fn watch(&self) -> io::Result<std::os::fd::OwnedFd> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(
            &queue,
            &self.path,
            WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF,
        )?;
        Ok(queue)
    }
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use landfall_core::model::{Assignment, ServiceName};

    use super::*;

    fn open(directory: &Path) -> AssignmentFiles {
        let state = directory.join("state");
        let known = state.exists();
        AssignmentFiles::open(&directory.join("assignments"), &state, known).expect("opened")
    }

    #[test]
    fn what_was_read_last_stands_in_for_a_store_that_cannot_be_read_until_it_can() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = open(directory.path());
        files.write(None, &record(1)).expect("written");
        let follow = |until: &dyn Fn(&ObservedAssignments) -> bool| {
            let files = open(directory.path());
            let (publish, mut observed) = watch::channel(None);
            let cancel = CancellationToken::new();
            std::thread::scope(|scope| {
                scope.spawn(|| files.follow(&publish, &cancel));
                loop {
                    let found: Option<ObservedAssignments> = observed.borrow_and_update().clone();
                    if let Some(found) = found.filter(|found| until(found)) {
                        cancel.cancel();
                        return found;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let read = follow(&|_| true);
        assert!(!read.recalled);
        let (there, away) = (files.path.clone(), directory.path().join("away"));
        fs::rename(&there, &away).expect("renamed");
        // A link that leads to itself: nothing below it can be read or made.
        std::os::unix::fs::symlink(&there, &there).expect("linked");
        let recalled = follow(&|_| true);
        assert_eq!(
            recalled,
            ObservedAssignments {
                recalled: true,
                ..read.clone()
            }
        );
        let back = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            fs::remove_file(&there).expect("it was a link");
            fs::rename(&away, &there).expect("renamed");
        });
        assert_eq!(follow(&|found| !found.recalled), read);
        back.join().expect("it ends");
    }

    fn record(created: u64) -> AssignmentRecord {
        let assignment = Assignment {
            created,
            addresses: Vec::new(),
            external_ips: Vec::new(),
            reason: "".into(),
            message: "".into(),
        };
        AssignmentRecord {
            services: [(ServiceName::new("default", "svc1"), Arc::new(assignment))].into(),
            ..AssignmentRecord::default()
        }
    }

    #[test]
    fn of_two_writers_that_expect_one_revision_a_single_one_succeeds() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = open(directory.path());
        assert_eq!(
            files.write(None, &record(1)).expect("written"),
            Written::At(Revision(1))
        );
        assert_eq!(
            files.write(None, &record(2)).expect("refused"),
            Written::Conflict
        );
        assert_eq!(
            files.write(Some(Revision(1)), &record(3)).expect("written"),
            Written::At(Revision(2))
        );
        let observed = files.read().expect("read");
        assert_eq!(
            (observed.revision, &*observed.record),
            (Some(Revision(2)), &record(3))
        );
    }

    #[test]
    fn a_torn_record_gives_way_to_the_one_before_it_and_the_next_write_goes_above_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = open(directory.path());
        files.write(None, &record(1)).expect("written");
        files.write(Some(Revision(1)), &record(2)).expect("written");
        let text = fs::read_to_string(files.file(2)).expect("read");
        fs::write(files.file(2), &text[..text.len() / 2]).expect("torn");
        let observed = files.read().expect("read");
        assert_eq!(
            (observed.revision, &*observed.record),
            (Some(Revision(2)), &record(1))
        );
        assert_eq!(
            files.write(Some(Revision(2)), &record(3)).expect("written"),
            Written::At(Revision(3))
        );
    }
}
