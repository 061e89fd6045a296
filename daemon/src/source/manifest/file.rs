//! One file, read safely. Blocking.
//!
//! Whatever lies in the directory, reading it neither blocks nor costs more than a file may: a FIFO
//! or device is recognised and left alone, a large file is refused by its size before it is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use landfall_core::model::ObjectError;

use crate::source::document::FILE_LIMIT;
use crate::source::reading::whole;

/// A file's content, with when it was last modified in seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Content {
    pub(in crate::source) bytes: Vec<u8>,
    pub(in crate::source) modified: u64,
    pub(super) signature: Signature,
}

impl Content {
    /// Content that a file once had, of whose state nothing is known.
    pub(super) fn remembered(bytes: Vec<u8>, modified: u64) -> Self {
        Self {
            bytes,
            modified,
            signature: Signature::default(),
        }
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The file's state at present, symbolic links followed.
    ///
    /// # Errors
    /// It cannot be examined.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// How long ago the file last changed; nothing where that lies in the future.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds)
            .ok()
            .zip(u32::try_from(nanoseconds).ok());
        changed
            .map(|(seconds, nanoseconds)| {
                SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
            })
            .and_then(|changed| now.duration_since(changed).ok())
            .unwrap_or_default()
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(in crate::source) enum Fault {
    /// There is no such directory entry.
    Gone,
    /// A symbolic link that leads nowhere.
    Dangling,
    /// A symbolic link that leads to itself.
    Loop,
    /// Not a regular file, but this.
    Irregular(&'static str),
    /// Larger than a file may be, in bytes.
    Large(u64),
    /// Changed while it was read.
    Torn,
    /// Anything else.
    Io(io::Error),
}

impl Fault {
    /// The fault as a person is told.
    pub(in crate::source) fn complaint(&self, origin: &str) -> ObjectError {
        let (problem, remedy) = match self {
            Self::Gone => ("does not exist".to_owned(), "create it".to_owned()),
            Self::Dangling => (
                "is a symbolic link to nothing".to_owned(),
                "create what it points to, or remove it".to_owned(),
            ),
            Self::Loop => (
                "is a symbolic link that leads back to itself".to_owned(),
                "point it to a file, or remove it".to_owned(),
            ),
            Self::Irregular(what) => (
                format!("is {what}, not a file"),
                "put a regular file there".to_owned(),
            ),
            Self::Large(size) => (
                format!(
                    "is {} MiB large, more than {} MiB",
                    size >> 20,
                    FILE_LIMIT >> 20
                ),
                "split it into several files".to_owned(),
            ),
            Self::Torn => (
                "changed while it was read".to_owned(),
                "write a new file and rename it into place".to_owned(),
            ),
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => (
                "may not be read".to_owned(),
                "make it readable for the agent's user".to_owned(),
            ),
            Self::Io(error) => (
                format!("cannot be read: {error}"),
                "make it readable".to_owned(),
            ),
        };
        whole(origin, problem, remedy)
    }
}

/// Reads a whole file.
///
/// # Errors
/// See [`Fault`].
pub(in crate::source) fn read(path: &Path) -> Result<Content, Fault> {
    // Looking first keeps a FIFO's writer from being woken by our opening it.
    regular(&std::fs::metadata(path).map_err(|error| fault(path, error))?)?;
    // It may have been replaced meanwhile: O_NONBLOCK keeps a FIFO from blocking even then.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| fault(path, error))?;
    let before = file.metadata().map_err(Fault::Io)?;
    regular(&before)?;
    if before.size() > FILE_LIMIT {
        return Err(Fault::Large(before.size()));
    }
    let signature = Signature::of(&before);
    let bytes = bytes(&mut file, before.size()).map_err(Fault::Io)?;
    let after = file.metadata().map_err(Fault::Io)?;
    if Signature::of(&after) != signature || bytes.len() as u64 != before.size() {
        return Err(Fault::Torn);
    }
    let modified = u64::try_from(before.mtime()).unwrap_or_default();
    Ok(Content {
        bytes,
        modified,
        signature,
    })
}

/// The content, never more than a byte over the limit, however the file grows meanwhile.
fn bytes(file: &mut File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn regular(metadata: &std::fs::Metadata) -> Result<(), Fault> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Fault::Irregular(what))
}

/// Tells a name that leads nowhere from one that is not there.
fn fault(path: &Path, error: io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::ENOENT) if path.symlink_metadata().is_ok() => Fault::Dangling,
        Some(libc::ENOENT) => Fault::Gone,
        Some(libc::ELOOP) => Fault::Loop,
        _ => Fault::Io(error),
    }
}
