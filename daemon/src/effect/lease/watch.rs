//! Watches a lease directory and tells what is new: a thread of its own.
//!
//! inotify (through rustix: no further crate, no unsafe) tells of new numbers within a millisecond or so;
//! a full scan every two seconds is the safety net for an overflowing queue, a directory that was removed
//! and made again, and whatever inotify does not see. The same scan clears away old numbers. The thread
//! ends within a tenth of a second once asked to.

use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landfall_core::election::{Content, Event, LeaseName, Moment, Revision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::clock;
use super::files::{FileLeaseError, LeaseDirectory, parse};
use super::store::{Closed, StoreEvent, StoreEvents};

const RESCAN: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);
const NAP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// Superseded numbers are kept this long; see [`super::files`].
const KEEP_OLD: Duration = Duration::from_secs(60);
/// Files that say a lease was removed are kept this long.
const KEEP_REMOVED: Duration = Duration::from_secs(3600);

pub(super) struct Watch {
    directory: Arc<LeaseDirectory>,
    events: StoreEvents,
    stop: Arc<AtomicBool>,
    /// Somebody wants a look at all there is.
    look: Arc<OwnedFd>,
    /// The highest number told, when it was first seen, and whether it says removed.
    told: BTreeMap<LeaseName, Told>,
    inotify: Option<Watching>,
    scan_at: Moment,
    synced: bool,
    /// Everything that the present scan found has been told.
    complete: bool,
    troubled: bool,
}

struct Told {
    number: u64,
    since: Moment,
    removed: bool,
}

struct Watching {
    queue: OwnedFd,
    /// Device and inode of the directory watched: a new one of the same name is another.
    identity: (u64, u64),
}

impl Watch {
    pub(super) fn new(
        directory: Arc<LeaseDirectory>,
        events: StoreEvents,
        stop: Arc<AtomicBool>,
        look: Arc<OwnedFd>,
    ) -> Self {
        Self {
            directory,
            events,
            stop,
            look,
            told: BTreeMap::new(),
            inotify: None,
            scan_at: Moment::default(),
            synced: false,
            complete: false,
            troubled: false,
        }
    }

    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.turn().is_err() {
                return;
            }
        }
    }

    fn turn(&mut self) -> Result<(), Closed> {
        let now = clock::now();
        if now >= self.scan_at {
            let scanned = self.attach().and_then(|()| self.directory.numbers());
            self.scan_at = now + if scanned.is_ok() { RESCAN } else { RETRY };
            match scanned {
                Ok(numbers) => self.compare(numbers, now)?,
                Err(error) => self.trouble(error)?,
            }
        }
        let Some(watching) = &self.inotify else {
            std::thread::sleep(Duration::from_millis(50));
            return Ok(());
        };
        let mut ready = [
            PollFd::new(&watching.queue, PollFlags::IN),
            PollFd::new(&*self.look, PollFlags::IN),
        ];
        // Interrupted or timed out: the next turn looks again.
        if poll(&mut ready, Some(&NAP)).unwrap_or(0) == 0 {
            return Ok(());
        }
        if rustix::io::read(&*self.look, &mut [0_u8; 8]).is_ok() {
            self.scan_at = Moment::default();
        }
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&watching.queue, &mut buffer);
        let mut news: BTreeMap<LeaseName, u64> = BTreeMap::new();
        let mut rescan = false;
        while let Ok(event) = reader.next() {
            let file = event
                .file_name()
                .and_then(|name| name.to_str().ok())
                .and_then(parse);
            match file {
                Some((name, number)) => {
                    let highest = news.entry(name).or_insert(number);
                    *highest = number.max(*highest);
                }
                None => {
                    let lost =
                        ReadFlags::QUEUE_OVERFLOW | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
                    rescan |= event.events().intersects(lost | ReadFlags::IGNORED);
                }
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        if rescan {
            self.scan_at = Moment::default();
        }
        for (name, number) in news {
            if self.told.get(&name).is_none_or(|told| told.number < number) {
                self.tell(&name, number, now)?;
            }
        }
        Ok(())
    }

    /// Watches the directory that is now at the path.
    fn attach(&mut self) -> Result<(), FileLeaseError> {
        let directory = &self.directory;
        let metadata = fs::metadata(directory.path()).inspect_err(|_| self.inotify = None);
        let metadata = metadata.map_err(|source| directory.error("looking at it", source))?;
        let identity = (metadata.dev(), metadata.ino());
        if self
            .inotify
            .as_ref()
            .is_some_and(|watching| watching.identity == identity)
        {
            return Ok(());
        }
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| directory.error("making an inotify queue", error.into()))?;
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&queue, directory.path(), flags)
            .map_err(|error| directory.error("watching it", error.into()))?;
        self.inotify = Some(Watching { queue, identity });
        Ok(())
    }

    fn compare(&mut self, found: BTreeMap<LeaseName, Vec<u64>>, now: Moment) -> Result<(), Closed> {
        let gone: Vec<LeaseName> = self
            .told
            .iter()
            .filter(|(name, told)| {
                let lower = found
                    .get(*name)
                    .and_then(|numbers| numbers.last())
                    .is_none_or(|last| *last < told.number);
                // A scan can miss what was added during it; the file itself cannot hide.
                lower && !self.directory.file(name, told.number).exists()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.told.remove(&name);
            self.observed(name, None, Content::Absent)?;
        }
        if !self.synced {
            // What stays is cleared away by the next agent that starts.
            let _ = self.directory.clear_leftovers();
        }
        self.complete = true;
        for (name, numbers) in &found {
            let Some(&highest) = numbers.last() else {
                continue;
            };
            if self.told.get(name).is_none_or(|told| told.number < highest) {
                self.tell(name, highest, now)?;
            }
            self.clear_away(name, numbers, now);
        }
        // What cannot be read at the start holds nobody up, but a view without it is as good as an ancient one.
        let as_of = if self.complete {
            now
        } else {
            Moment::default()
        };
        if self.complete || !self.synced {
            self.synced = true;
            self.send(StoreEvent::Election(Event::Synced { as_of }))?;
        }
        if std::mem::take(&mut self.troubled) {
            self.send(StoreEvent::Recovered)?;
        }
        Ok(())
    }

    fn tell(&mut self, name: &LeaseName, number: u64, now: Moment) -> Result<(), Closed> {
        let content = match self.directory.read(name, number) {
            Ok(Some(content)) => content,
            // Superseded and cleared away in the meantime; the scan finds what there is.
            Ok(None) => {
                self.complete = false;
                return Ok(());
            }
            Err(error) => {
                self.complete = false;
                return self.trouble(error);
            }
        };
        let removed = content == Content::Absent;
        self.told.insert(
            name.clone(),
            Told {
                number,
                since: now,
                removed,
            },
        );
        self.observed(
            name.clone(),
            (!removed).then_some(Revision(number)),
            content,
        )
    }

    /// Removes numbers, the lowest first, that were superseded long ago; of a lease that was removed
    /// long ago all.
    fn clear_away(&self, name: &LeaseName, numbers: &[u64], now: Moment) {
        let Some(told) = self.told.get(name) else {
            return;
        };
        let over = told.removed && now.since(told.since) > KEEP_REMOVED;
        for (index, number) in numbers.iter().enumerate() {
            let follower = numbers
                .get(index + 1)
                .map(|next| self.directory.file(name, *next));
            let superseded =
                follower.and_then(|file| fs::metadata(file).ok()?.modified().ok()?.elapsed().ok());
            let old = number.saturating_add(1) < told.number
                && superseded.is_some_and(|age| age > KEEP_OLD);
            if !over && !old {
                break;
            }
            let path = self.directory.file(name, *number);
            // Another daemon may be doing the same; what stays is tried again with the next scan.
            let _ = fs::remove_file(path);
        }
    }

    fn observed(
        &self,
        name: LeaseName,
        revision: Option<Revision>,
        content: Content,
    ) -> Result<(), Closed> {
        self.send(StoreEvent::Election(Event::Observed {
            name,
            revision,
            content,
        }))
    }

    fn trouble(&mut self, error: FileLeaseError) -> Result<(), Closed> {
        if std::mem::replace(&mut self.troubled, true) {
            return Ok(());
        }
        self.send(StoreEvent::Trouble(error.into()))
    }

    fn send(&self, event: StoreEvent) -> Result<(), Closed> {
        self.events.send(event)
    }
}
