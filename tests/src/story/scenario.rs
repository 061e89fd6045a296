//! Scenarios by name: the test binaries of `tests/tests`, run by cargo.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs the scenarios of one file, or lists the files.
///
/// # Errors
/// When there is no such scenario, or cargo cannot be run.
pub fn run(name: Option<&str>) -> Result<()> {
    let all = names()?;
    let Some(name) = name else {
        println!("{}", all.join("\n"));
        return Ok(());
    };
    if !all.iter().any(|other| other == name) {
        bail!("no scenario {name}; there are: {}", all.join(", "));
    }
    let error = Command::new("cargo")
        .args([
            "test",
            "-p",
            "landfall-tests",
            "--test",
            name,
            "--",
            "--nocapture",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .exec();
    Err(error).context("run cargo")
}

fn names() -> Result<Vec<String>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut names = Vec::new();
    for entry in dir.read_dir().with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "rs")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
