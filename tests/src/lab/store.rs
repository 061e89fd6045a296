//! The lease store taken away from a node: what it reads and what it writes fails.
//!
//! Each node reaches the shared directory of leases by a name of its own, a symbolic link. A link
//! that leads to itself makes every system call below it fail (ELOOP), for root too, as a directory
//! on a server that is gone would; an empty directory would say instead that nobody has a lease.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::node::Node;

impl Node {
    /// Takes the lease store away from this node, or gives it back.
    ///
    /// # Errors
    /// When the link cannot be replaced.
    pub fn set_store(&self, reachable: bool) -> Result<()> {
        let link = &self.paths().leases;
        let target = if reachable {
            shared(link)?
        } else {
            link.clone()
        };
        let new = link.with_extension("new");
        symlink(&target, &new).with_context(|| new.display().to_string())?;
        // In one step: at no instant is there no store at all.
        fs::rename(&new, link).with_context(|| link.display().to_string())
    }
}

/// The directory that all nodes share, beside the nodes' own.
fn shared(link: &Path) -> Result<PathBuf> {
    let lab = link.ancestors().nth(2).context("a node's own directory")?;
    Ok(lab.join("leases"))
}
