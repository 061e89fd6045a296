//! Where the programs are that a lab runs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Which of the daemon's builds a node runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Build {
    /// That of this tree.
    #[default]
    Own,
    /// The same with another layout of the kernel's flow tables, as a neighbouring version has.
    Neighbour,
}

impl Build {
    /// The daemon.
    ///
    /// # Errors
    /// When it is not there, saying how to build it.
    pub fn daemon(self) -> Result<PathBuf> {
        match self {
            Self::Own => landfall(),
            Self::Neighbour => find(
                "LANDFALL_BIN_NEIGHBOUR",
                "landfall-neighbour",
                "make neighbour",
            ),
        }
    }
}

/// The daemon: `LANDFALL_BIN`, else `landfall` beside or above the running program.
///
/// # Errors
/// When it is not there, saying how to build it.
pub fn landfall() -> Result<PathBuf> {
    find("LANDFALL_BIN", "landfall", "cargo build -p landfall")
}

/// The lab's own program, which serves in pods: `LANDFALL_LAB_BIN`, else as [`landfall`].
///
/// # Errors
/// When it is not there, saying how to build it.
pub fn landfall_lab() -> Result<PathBuf> {
    find(
        "LANDFALL_LAB_BIN",
        "landfall-lab",
        "cargo build -p landfall-tests",
    )
}

fn find(variable: &str, name: &str, remedy: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        return path
            .canonicalize()
            .with_context(|| format!("{variable}={}", path.display()));
    }
    let here = env::current_exe().context("the running program's path")?;
    // Tests run in `target/PROFILE/deps`, programs in `target/PROFILE`.
    let profile = here.ancestors().skip(1).take(2).map(Path::to_path_buf);
    // The daemon may be built with optimisation although the tests are not.
    let release = here
        .ancestors()
        .skip(2)
        .take(2)
        .map(|target| target.join("release"));
    for dir in profile.chain(release) {
        let candidate = dir.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "no program {name} beside {}: {remedy}, or set {variable}",
        here.display()
    )
}
