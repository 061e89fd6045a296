//! A node's own files: what containerd, the kubelet and CNI plugins expect on a machine and must
//! not share with another node or with the real machine.
//!
//! They are mounts in the node's mount namespace and end with it. What must outlive a reboot is in
//! the node's directory; `/run` is memory, as on any machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::lab::cgroup::{self, Cgroup};
use crate::lab::host::Host;

/// Where the node has its own tree over the machine's: written to here, the rest read from there.
const OVERLAID: [&str; 2] = ["/etc", "/var/lib"];

/// Directories that are the node's own altogether. Containers are layered in the first, which an
/// overlay cannot carry.
const OWN: [&str; 3] = ["/var/lib/containerd", "/var/lib/kubelet", "/var/log"];

const CGROUPS: &str = "/sys/fs/cgroup";

/// Where a node keeps its own `path`.
pub(super) fn on_disk(node: &Path, path: &str) -> PathBuf {
    node.join("files").join(path.trim_start_matches('/'))
}

/// Gives a machine its own files. `lab` stays where it is.
pub(super) fn mount_own(host: &Host, lab: &Path, node: &Path) -> Result<()> {
    let hierarchies = cgroup::v1_hierarchies()?;
    let group = host.cgroup().clone();
    host.namespace().run_as_machine(|| {
        // The kubelet wants its mounts to reach the containers that ask for it.
        share()?;
        own_run(lab, node)?;
        for path in OVERLAID {
            overlay(path, node)?;
        }
        for path in OWN {
            let own = on_disk(node, path);
            for dir in [own.as_path(), Path::new(path)] {
                fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            }
            bind(&own, Path::new(path))?;
        }
        if hierarchies.is_empty() {
            return Ok(());
        }
        mixed_cgroups(&hierarchies, &group)
    })
}

fn share() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("share the node's mounts")
}

/// An empty `/run` but for the lab's directory, which holds everything that programs are started with.
fn own_run(lab: &Path, node: &Path) -> Result<()> {
    let run = node.join("run.new");
    fs::create_dir_all(&run).with_context(|| run.display().to_string())?;
    filesystem("tmpfs", &run, None)?;
    for dir in [run.join(lab.strip_prefix("/run")?), run.join("netns")] {
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    }
    bind(lab, &run.join(lab.strip_prefix("/run")?))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&run), "/run", None::<&str>, flags, None::<&str>).context("mount the node's /run")
}

/// Lays the node's own tree over one of the machine's.
fn overlay(path: &str, node: &Path) -> Result<()> {
    let (upper, work) = (on_disk(node, path), on_disk(&node.join("work"), path));
    for dir in [&upper, &work] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let options = format!(
        "lowerdir={path},upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    filesystem("overlay", Path::new(path), Some(&options))
}

/// Shows the machine's cgroup v1 hierarchies and its v2 tree the way container runtimes look for
/// them, where the machine has v1: a kubelet needs controllers, and those are not in v2 then.
fn mixed_cgroups(hierarchies: &[cgroup::Hierarchy], group: &Cgroup) -> Result<()> {
    let base = Path::new(CGROUPS);
    filesystem("tmpfs", base, None)?;
    for hierarchy in hierarchies {
        let place = base.join(
            hierarchy
                .path
                .file_name()
                .context("a hierarchy has a name")?,
        );
        fs::create_dir(&place).with_context(|| place.display().to_string())?;
        filesystem("cgroup", &place, Some(&hierarchy.options))?;
    }
    let unified = base.join("unified");
    fs::create_dir(&unified).with_context(|| unified.display().to_string())?;
    filesystem("cgroup2", &unified, None)?;
    // The lab's own group is where a machine with v2 alone has it: agents' settings say so.
    let below = group.below_root_path()?;
    let place = base.join(&below);
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    bind(&unified.join(&below), &place)
}

fn filesystem(kind: &str, target: &Path, options: Option<&str>) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("mount {kind} on {}", target.display()))
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .with_context(|| format!("mount {} on {}", source.display(), target.display()))
}
