//! A file of the state directory, replaced whole: written beside, flushed, renamed, the directory flushed.
//!
//! A *sealed* file names its layout and has a checksum before its content, so that one that is torn, or another version's,
//! is known for what it is.

mod keeper;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use keeper::{Keeper, Kept};

const MAGIC: &str = "landfall-state ";

/// Why a sealed file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Reading it failed.
    #[error("reading {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is not what this version wrote.
    #[error("{path} is torn or of another layout, and is not used")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// One file. All calls block.
#[derive(Clone, Debug)]
pub struct StateFile {
    directory: PathBuf,
    name: &'static str,
}

impl StateFile {
    /// The file `name` in the state directory, which need not be there.
    #[must_use]
    pub fn new(directory: &Path, name: &'static str) -> Self {
        Self {
            directory: directory.to_owned(),
            name,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    /// What is in it; nothing where there is no such file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path()) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces its content. On return that is on disk.
    ///
    /// # Errors
    /// It may or may not be there.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let beside = self.directory.join(format!(".{}.new", self.name));
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, self.path())?;
        self.flush()
    }

    /// Removes it. On return it is gone from the disk.
    ///
    /// # Errors
    /// It may be there still.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.flush(),
        }
    }

    /// What was sealed with this layout; nothing where there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is not what was sealed.
    pub fn unseal<T: DeserializeOwned>(&self, layout: u32) -> Result<Option<T>, StateFileError> {
        let path = self.path();
        let content = self.read().map_err(|source| StateFileError::Io {
            path: path.clone(),
            source,
        })?;
        let Some(content) = content else {
            return Ok(None);
        };
        let json = opened(&content, layout);
        let value = json.and_then(|json| serde_json::from_slice(json).ok());
        match value {
            Some(value) => Ok(Some(value)),
            None => Err(StateFileError::Foreign { path }),
        }
    }

    /// Replaces its content by `value`, sealed. On return that is on disk.
    ///
    /// # Errors
    /// It may or may not be there.
    pub fn seal<T: Serialize>(&self, layout: u32, value: &T) -> io::Result<()> {
        let json = serde_json::to_vec(value).expect("plain data has a form");
        let mut content = format!("{MAGIC}{layout} {:016x}\n", checksum(&json)).into_bytes();
        content.extend(json);
        self.replace(&content)
    }

    fn flush(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

/// The JSON in a sealed file of this layout that is whole.
fn opened(content: &[u8], layout: u32) -> Option<&[u8]> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let (head, json) = (
        std::str::from_utf8(&content[..end]).ok()?,
        &content[end + 1..],
    );
    let (found, sum) = head.strip_prefix(MAGIC)?.split_once(' ')?;
    let whole = u64::from_str_radix(sum, 16).ok()? == checksum(json);
    (found.parse() == Ok(layout) && whole).then_some(json)
}

/// FNV-1a, 64 bits: against torn files, not against malice.
fn checksum(bytes: &[u8]) -> u64 {
    landfall_ebpf::maglev::identity(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_is_read_as_it_was_written_and_one_that_is_torn_or_foreign_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = StateFile::new(&dir.path().join("not/there/yet"), "word.json");
        let word = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(file.unseal::<Vec<String>>(1).expect("nothing"), None);
        file.seal(1, &word).expect("written");
        assert_eq!(file.unseal(1).expect("whole"), Some(word.clone()));
        assert!(file.unseal::<Vec<String>>(2).is_err(), "another layout");
        let whole = fs::read(file.path()).expect("there");
        for end in 0..whole.len() {
            fs::write(file.path(), &whole[..end]).expect("torn");
            let error = file.unseal::<Vec<String>>(1).expect_err("not whole");
            assert!(error.to_string().contains("word.json"), "{error}");
        }
        file.remove().expect("there");
        file.remove().expect("gone is as good");
        assert_eq!(file.unseal::<Vec<String>>(1).expect("nothing"), None);
    }
}
