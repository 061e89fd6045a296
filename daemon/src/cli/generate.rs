//! `landfall generate`: man pages and completions, made from the command line's own definition.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use super::Cli;
use super::exit::Exit;

/// What to generate.
#[derive(Debug, Subcommand)]
pub(super) enum Generate {
    /// Man pages, one a command
    Man {
        /// Where to put them
        dir: PathBuf,
    },
    /// A completion script, on standard output
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Generates it.
pub(super) fn run(what: &Generate) -> anyhow::Result<Exit> {
    match what {
        Generate::Man { dir } => man(dir)?,
        Generate::Completions { shell } => {
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "landfall",
                &mut std::io::stdout(),
            );
        }
    }
    Ok(Exit::Done)
}

fn man(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write to {}", dir.display()))
}
