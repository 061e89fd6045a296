//! Whether this node is drained: a mark in the state directory, so that a restart does not undo it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The mark.
#[derive(Clone, Debug)]
pub(super) struct DrainMark {
    path: PathBuf,
}

impl DrainMark {
    /// The mark in the state directory `state`.
    pub(super) fn new(state: &Path) -> Self {
        Self {
            path: state.join("drained"),
        }
    }

    /// Whether it is set.
    pub(super) fn is_set(&self) -> bool {
        self.path.exists()
    }

    /// Sets it or takes it away; on return that is on disk.
    ///
    /// # Errors
    /// The state directory cannot be written to.
    pub(super) fn set(&self, drained: bool) -> Result<(), String> {
        let done = if drained {
            self.put()
        } else {
            self.take_away()
        };
        done.map_err(|error| {
            format!(
                "{} cannot be changed: {error}; make state.dir writable",
                self.path.display()
            )
        })
    }

    fn put(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        File::create(&self.path)?.sync_all()?;
        self.flush_directory()
    }

    fn take_away(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Ok(()) => self.flush_directory(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn flush_directory(&self) -> io::Result<()> {
        self.path
            .parent()
            .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_outlives_the_one_who_set_it_and_can_be_taken_away_twice() {
        let state = tempfile::tempdir().expect("a directory");
        let mark = DrainMark::new(&state.path().join("not/there/yet"));
        assert!(!mark.is_set());
        mark.set(true).expect("set");
        assert!(DrainMark::new(&state.path().join("not/there/yet")).is_set());
        mark.set(false).expect("taken away");
        mark.set(false).expect("nothing to take away");
        assert!(!mark.is_set());
    }

    #[test]
    fn a_mark_that_cannot_be_set_names_the_setting() {
        let state = tempfile::tempdir().expect("a directory");
        let file = state.path().join("file");
        fs::write(&file, "").expect("written");
        let refusal = DrainMark::new(&file).set(true).expect_err("no directory");
        assert!(refusal.contains("state.dir"), "{refusal}");
    }
}
