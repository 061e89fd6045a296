//! Leases in a directory: `<lease name>.<revision>`, one file for each revision, the highest counts.
//!
//! A compare-and-swap on revision `r` writes a temporary file, flushes it, and links it to
//! `<name>.<r+1>`. `link(2)` fails where the name exists, so of all writers that expect `r` one wins; no
//! lock is held at any time, so a frozen daemon holds nobody up. A file appears whole or not at all.
//!
//! # Old numbers
//!
//! Superseded files are removed, in ascending order, a minute after they were superseded
//! ([`watch`](super::watch)), and the one before the highest stays. So a writer frozen between its look
//! and its link could link a number that had been there and is gone. It finds out: it looks at `<name>.<r>`
//! before and after the link. As numbers go in ascending order, `<name>.<r>` still being there, the very
//! same file, means that `<name>.<r+1>` was never removed, so the link was the first of that number. If
//! it is another file or none, or the whole took over half a minute, the write ends as
//! [`Outcome::Failed`] and its file is removed; readers never saw it, since higher numbers are there. Nor
//! would such a write matter: a node frozen for longer than its lease is fenced, and what it
//! writes names a term that is over.
//!
//! A removed lease leaves a file that says so, for an hour, for the same reason.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use landfall_core::election::{Content, LeaseName, Outcome, Revision, Write};

use super::clock;
use super::codec;

/// Temporary files begin with this; names of leases never do.
const TEMPORARY: &str = ".writing-";
/// A write that took longer than this cannot be sure of itself. Half of what old numbers are kept for.
const SLOW: Duration = Duration::from_secs(30);
/// A lease record is far smaller; anything larger is not one.
const LARGEST: u64 = 1 << 20;

/// Why the lease directory could not be read or written. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileLeaseError {
    /// The directory is not there. It is never made anew by a running daemon: were it on a file system
    /// that was unmounted, daemons would part company over two directories.
    #[error("lease directory {path} is gone; make it again or restart landfall")]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// The daemon may not read or write it.
    #[error("lease directory {path} must be readable and writable for landfall")]
    Denied {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No space is left.
    #[error("the file system of lease directory {path} is full; free some space")]
    Full {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("lease directory {path}: {doing}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A directory of leases. All calls block.
#[derive(Debug)]
pub struct LeaseDirectory {
    path: PathBuf,
    written: AtomicU64,
}

impl LeaseDirectory {
    /// Opens the directory, making it if need be, and removes what dead writers left.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(path: &Path) -> Result<Self, FileLeaseError> {
        let directory = Self::at(path);
        fs::create_dir_all(path).map_err(|source| directory.error("making it", source))?;
        directory.clear_leftovers()?;
        Ok(directory)
    }

    /// The directory at `path`, whether it is there at present or not.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            written: AtomicU64::new(0),
        }
    }

    /// Removes what dead writers left.
    pub(super) fn clear_leftovers(&self) -> Result<(), FileLeaseError> {
        let entries =
            fs::read_dir(&self.path).map_err(|source| self.error("listing it", source))?;
        for entry in entries {
            let entry = entry.map_err(|source| self.error("listing it", source))?;
            let left = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified
                .ok()
                .and_then(|at| SystemTime::now().duration_since(at).ok());
            if left && age.is_some_and(|age| age > SLOW * 2) {
                // Another daemon may be doing the same.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &LeaseName, number: u64) -> PathBuf {
        self.path.join(format!("{name}.{number}"))
    }

    /// Every number of every lease there is.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn numbers(&self) -> Result<BTreeMap<LeaseName, Vec<u64>>, FileLeaseError> {
        let mut found: BTreeMap<LeaseName, Vec<u64>> = BTreeMap::new();
        let entries =
            fs::read_dir(&self.path).map_err(|source| self.error("listing it", source))?;
        for entry in entries {
            let entry = entry.map_err(|source| self.error("listing it", source))?;
            if let Some((name, number)) = entry.file_name().to_str().and_then(parse) {
                found.entry(name).or_default().push(number);
            }
        }
        found
            .values_mut()
            .for_each(|numbers| numbers.sort_unstable());
        Ok(found)
    }

    /// The content of one number; nothing where it is not there (any more).
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self, name: &LeaseName, number: u64) -> Result<Option<Content>, FileLeaseError> {
        let path = self.file(name, number);
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.error("reading a lease", source)),
        };
        if size > LARGEST {
            return Ok(Some(Content::Torn));
        }
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(codec::decode(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("reading a lease", source)),
        }
    }

    /// The present state of one lease: its highest number and what that says. A removed lease has both.
    ///
    /// # Errors
    /// When the directory or the file cannot be read.
    pub fn highest(&self, name: &LeaseName) -> Result<Option<(u64, Content)>, FileLeaseError> {
        loop {
            let numbers = self.numbers()?.remove(name);
            let Some(number) = numbers.and_then(|numbers| numbers.last().copied()) else {
                return Ok(None);
            };
            // Gone between the two looks: superseded and cleared away, so there is a higher one.
            if let Some(content) = self.read(name, number)? {
                return Ok(Some((number, content)));
            }
        }
    }

    /// Does one compare-and-swap.
    ///
    /// # Errors
    /// When the write failed, and surely left nothing behind.
    pub fn compare_and_swap(&self, write: &Write) -> Result<Outcome, FileLeaseError> {
        let began = clock::now();
        let base = match write.expected {
            Some(Revision(number)) => Some(number),
            None => match self.highest(&write.name)? {
                None => None,
                Some((number, Content::Absent)) => Some(number),
                Some(found) => return Ok(conflict(Some(found))),
            },
        };
        let before = base
            .map(|number| self.identity(&write.name, number))
            .transpose()?;
        if before == Some(None) {
            return Ok(conflict(self.highest(&write.name)?));
        }
        let number = base.map_or(1, |base| base + 1);
        let temporary = self.write_temporary(&codec::encode(write.record.as_ref()))?;
        let target = self.file(&write.name, number);
        let linked = fs::hard_link(&temporary, &target);
        // The link is made or not; the temporary name is of no use either way.
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(conflict(self.highest(&write.name)?));
            }
            Err(source) => return Err(self.error("linking a lease", source)),
        }
        let sure = self.flush().is_ok() && self.is_first(write, base, before, number);
        if sure && clock::now().since(began) < SLOW {
            return Ok(Outcome::Written(Revision(number)));
        }
        if self
            .highest(&write.name)?
            .is_some_and(|(highest, _)| highest > number)
        {
            let _ = fs::remove_file(&target);
        }
        Ok(Outcome::Failed)
    }

    /// Whether nobody had linked `number` before; see the module's text.
    fn is_first(
        &self,
        write: &Write,
        base: Option<u64>,
        before: Option<Option<FileIdentity>>,
        number: u64,
    ) -> bool {
        match base {
            Some(base) => self
                .identity(&write.name, base)
                .is_ok_and(|after| Some(after) == before),
            None => self
                .highest(&write.name)
                .is_ok_and(|found| found.is_some_and(|(highest, _)| highest == number)),
        }
    }

    fn identity(
        &self,
        name: &LeaseName,
        number: u64,
    ) -> Result<Option<FileIdentity>, FileLeaseError> {
        match fs::metadata(self.file(name, number)) {
            Ok(file) => Ok(Some((
                file.dev(),
                file.ino(),
                file.mtime(),
                file.mtime_nsec(),
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.path.is_dir() => Ok(None),
            Err(source) => Err(self.error("looking at a lease", source)),
        }
    }

    fn write_temporary(&self, bytes: &[u8]) -> Result<PathBuf, FileLeaseError> {
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let address = std::ptr::from_ref(self).addr();
        let name = format!("{TEMPORARY}{}-{address:x}-{count}", std::process::id());
        let path = self.path.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            });
        written.map(|()| path.clone()).map_err(|source| {
            let _ = fs::remove_file(&path);
            self.error("writing a lease", source)
        })
    }

    fn flush(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    pub(super) fn error(&self, doing: &'static str, source: io::Error) -> FileLeaseError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::NotFound => FileLeaseError::Gone { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                FileLeaseError::Denied { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FileLeaseError::Full { path, source }
            }
            _ => FileLeaseError::Io {
                path,
                doing,
                source,
            },
        }
    }
}

/// Device, inode and time of change: the same file, not another of its name.
type FileIdentity = (u64, u64, i64, i64);

fn conflict(found: Option<(u64, Content)>) -> Outcome {
    match found {
        None | Some((_, Content::Absent)) => Outcome::Conflict {
            revision: None,
            content: Content::Absent,
        },
        Some((number, content)) => Outcome::Conflict {
            revision: Some(Revision(number)),
            content,
        },
    }
}

/// The lease and the revision that a file name stands for.
pub(super) fn parse(file: &str) -> Option<(LeaseName, u64)> {
    let (name, number) = file.rsplit_once('.')?;
    if number.starts_with('0') || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((LeaseName::parse(name)?, number.parse().ok()?))
}

#[cfg(test)]
mod tests;
