//! Where things are pinned: `<bpffs>/landfall/v<layout>/{maps,links}`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landfall_ebpf_abi::LAYOUT_VERSION;

use crate::link;

/// The directory of all layouts, below the BPF file system.
const ROOT: &str = "landfall";

/// The pins of one layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pins {
    root: PathBuf,
    layout: String,
}

impl Pins {
    /// Those of this build's layout below `bpffs`, a mounted BPF file system.
    pub fn new(bpffs: &Path) -> Self {
        Self {
            root: bpffs.join(ROOT),
            layout: format!("v{LAYOUT_VERSION}"),
        }
    }

    /// Those of every other layout that has any.
    pub(crate) fn others(&self) -> Vec<Self> {
        let mut others: Vec<Self> = entries(&self.root)
            .filter(|path| path.is_dir())
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .filter(|layout| *layout != self.layout)
            .map(|layout| Self {
                root: self.root.clone(),
                layout,
            })
            .collect();
        others.sort();
        others
    }

    /// The layout's name, that of its directory.
    pub fn layout(&self) -> &str {
        &self.layout
    }

    /// Directory of the layout's maps.
    pub fn maps(&self) -> PathBuf {
        self.directory().join("maps")
    }

    /// Directory of the layout's links.
    pub fn links(&self) -> PathBuf {
        self.directory().join("links")
    }

    fn directory(&self) -> PathBuf {
        self.root.join(&self.layout)
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// What the file system says; on anything but a BPF file system later pinning fails.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.maps())?;
        fs::create_dir_all(self.links())
    }

    /// Names of the layout's pinned links.
    pub fn link_names(&self) -> Vec<String> {
        entries(&self.links())
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect()
    }

    /// Removes every pin of the layout, links first, so that programs are detached before their maps go.
    ///
    /// # Errors
    /// The first failure, after everything was attempted.
    pub(crate) fn remove(&self) -> io::Result<usize> {
        let mut removal = Removal::default();
        removal.directory(&self.links());
        removal.directory(&self.directory());
        // The next layout, if another one has nothing left either, finds it gone.
        let _ = fs::remove_dir(&self.root);
        removal.end()
    }

    /// Removes every pin of every layout, this build's, others' and such as it has never heard of, links first.
    ///
    /// # Errors
    /// The first failure, after everything was attempted.
    pub fn remove_all(&self) -> io::Result<usize> {
        let mut removal = Removal::default();
        for layout in entries(&self.root) {
            removal.directory(&layout.join("links"));
        }
        removal.directory(&self.root);
        removal.end()
    }
}

/// Pins being removed.
#[derive(Default)]
struct Removal {
    removed: usize,
    failure: Option<io::Error>,
}

impl Removal {
    /// Removes what is in a directory, and the directory.
    fn directory(&mut self, directory: &Path) {
        for path in entries(directory) {
            if path.is_dir() {
                self.directory(&path);
                continue;
            }
            match link::detach(&path) {
                Ok(there) => self.removed += usize::from(there),
                Err(error) => self.failure = self.failure.take().or(Some(error)),
            }
        }
        // Where something could not be removed, that has been noted.
        let _ = fs::remove_dir(directory);
    }

    fn end(self) -> io::Result<usize> {
        self.failure.map_or(Ok(self.removed), Err)
    }
}

/// What is in a directory; one that cannot be read has nothing.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path())
}

/// Removes a file; whether it was there.
pub(crate) fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
