//! Where things are pinned: `<bpffs>/landfall/v<layout>/{maps,links}`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landfall_ebpf_abi::LAYOUT_VERSION;

use crate::link;

/// The directory of all layouts, below the BPF file system.
const ROOT: &str = "landfall";

/// The pins of this build's layout.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Pins below `bpffs`, a mounted BPF file system.
    pub fn new(bpffs: &Path) -> Self {
        Self {
            root: bpffs.join(ROOT),
        }
    }

    /// Directory of this layout's maps.
    pub fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Directory of this layout's links.
    pub fn links(&self) -> PathBuf {
        self.layout().join("links")
    }

    fn layout(&self) -> PathBuf {
        self.root.join(format!("v{LAYOUT_VERSION}"))
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// What the file system says; on anything but a BPF file system later pinning fails.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.maps())?;
        fs::create_dir_all(self.links())
    }

    /// Names of this layout's pinned links.
    ///
    /// # Errors
    /// What the file system says; a missing directory holds none.
    pub fn link_names(&self) -> io::Result<Vec<String>> {
        match fs::read_dir(self.links()) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes every pin of every layout, links first, so that programs are detached before their maps go.
    ///
    /// # Errors
    /// The first failure, after everything was attempted.
    pub fn remove_all(&self) -> io::Result<usize> {
        let mut removed = 0;
        let mut failure = None;
        let mut note = |result: io::Result<bool>| match result {
            Ok(there) => removed += usize::from(there),
            Err(error) => failure = failure.take().or(Some(error)),
        };
        let layouts = match fs::read_dir(&self.root) {
            Ok(entries) => entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .collect(),
            Err(_) => Vec::new(),
        };
        for layout in layouts {
            for room in ["links", "maps"] {
                let room = layout.join(room);
                let remove: fn(&Path) -> io::Result<bool> = if room.ends_with("links") {
                    link::detach
                } else {
                    remove_file
                };
                for entry in fs::read_dir(&room)
                    .into_iter()
                    .flatten()
                    .filter_map(Result::ok)
                {
                    note(remove(&entry.path()));
                }
                let _ = fs::remove_dir(&room);
            }
            let _ = fs::remove_dir(&layout);
        }
        let _ = fs::remove_dir(&self.root);
        failure.map_or(Ok(removed), Err)
    }
}

/// Removes a file; whether it was there.
pub(crate) fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
