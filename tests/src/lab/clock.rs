//! A node whose clock is off: its agent's calls for the time of day are answered with another one.
//! Machines of one kernel have one clock, so a library loaded before all others answers instead; the
//! monotonic clock, which rates and time-outs go by, is let be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::node::Node;

/// The library. `OFFSET` is in seconds.
const SOURCE: &str = r"
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += OFFSET;
    return failed;
}
";

/// Builds the library for an offset into `dir`.
fn build(dir: &Path, offset: i32) -> Result<PathBuf> {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    fs::write(&source, SOURCE).with_context(|| source.display().to_string())?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1"])
        .arg(format!("-DOFFSET={offset}"))
        .arg("-o")
        .arg(&library)
        .arg(&source)
        .output()
        .context("run cc; is it installed?")?;
    ensure!(
        output.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(library)
}

impl Node {
    /// Starts the agent with a clock that is off by `offset` seconds.
    ///
    /// # Errors
    /// As [`Self::start_agent`]; also where the daemon is static, so that no library is loaded.
    pub fn start_agent_at(&self, offset: i32) -> Result<()> {
        let dir = self.paths().settings.parent();
        let library = build(dir.context("a node has a directory")?, offset)?;
        self.start_agent_with(&[("LD_PRELOAD", &library)])?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.agent_pid()?))?;
        ensure!(
            maps.contains("clock.so"),
            "{} is static: its clock cannot be set off",
            self.program()?.display()
        );
        Ok(())
    }
}
