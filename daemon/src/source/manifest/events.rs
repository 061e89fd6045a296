//! inotify: what the kernel tells of the directory.
//!
//! Owns the inotify instance. Says which names to look at, never what became of them: that is read
//! from the file system, so that a lost event costs time and no truth.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use inotify::{Event, EventMask, Inotify, WatchMask};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::follower::{Events, is_manifest};

/// Room for some hundred events per read; an event with a name takes at most 272 bytes.
const BUFFER: usize = 1 << 16;

/// A watch on one directory.
pub(super) struct Watch {
    inotify: AsyncFd<Inotify>,
    buffer: Box<[u8]>,
}

/// What the watch told since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) events: Events,
    /// The directory is no longer the one at its path: the watch has to be set up anew.
    pub(super) ended: bool,
}

impl Watch {
    /// Watches `directory`.
    ///
    /// # Errors
    /// It is not there, is no directory, may not be read, or the user has no watches left.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::ATTRIB
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        inotify.watches().add(directory, mask)?;
        // SAFETY: the instance owns its descriptor, names the same one whenever asked, and closes
        // it only when it is dropped.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) }?;
        Ok(Self {
            inotify,
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Waits until something is told, and takes everything there is. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The instance cannot be read.
    pub(super) async fn told(&mut self) -> io::Result<Told> {
        let mut told = Told::default();
        let mut guard = self.inotify.readable_mut().await?;
        loop {
            let buffer = &mut self.buffer;
            match guard.try_io(|inotify| {
                inotify.get_mut().read_events(buffer).map(|events| {
                    events.for_each(|event| told.note(&event));
                })
            }) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => return Ok(told),
            }
        }
    }
}

impl Told {
    fn note(&mut self, event: &Event<&OsStr>) {
        let mask = event.mask;
        if mask.contains(EventMask::Q_OVERFLOW) {
            self.events.rescan = true;
        }
        let ends =
            EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED | EventMask::UNMOUNT;
        if mask.intersects(ends) {
            self.ended = true;
        }
        let Some(name) = event.name else { return };
        if !is_manifest(name) {
            // Mounted ConfigMaps change by a rename of the link `..data` that all files go through.
            self.events.rescan |= name.as_bytes().starts_with(b"..");
            return;
        }
        let events = &mut self.events;
        if mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) {
            events.removed.remove(name);
            events.written.insert(name.to_owned());
        } else if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
            events.written.remove(name);
            events.touched.remove(name);
            events.removed.insert(name.to_owned());
        } else if mask.intersects(EventMask::CREATE | EventMask::ATTRIB) {
            events.touched.insert(name.to_owned());
        }
    }
}
