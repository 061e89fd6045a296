//! Control groups: every process of a lab is in one, and ends by it, never by its name. Machines
//! that have cgroup v1 hierarchies beside v2 get twins of a group there where a kubelet needs them.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::wait;

/// The name that all labs' groups begin with, followed by the lab's id.
pub const PREFIX: &str = "landfall-lab-";

/// A cgroup v2 directory. Dropping it does nothing: the lab's root group takes all down.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the group `name` below the root of the machine's cgroup v2 tree.
    ///
    /// # Errors
    /// When the machine has no cgroup v2 tree mounted, or it is not writable.
    pub fn below_root(name: &str) -> Result<Self> {
        Self::make(root()?.join(name))
    }

    /// Makes the group `name` below this one.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::make(self.path.join(name))
    }

    /// The group that is already at `path`.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where the group is on the machine.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the group is for a node, which sees cgroup v2 at `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// When the machine has no cgroup v2 tree mounted.
    pub fn path_on_node(&self) -> Result<PathBuf> {
        Ok(Path::new("/sys/fs/cgroup").join(self.below_root_path()?))
    }

    /// The file that a process writes `0` to in order to join.
    pub(super) fn membership(&self) -> Result<File> {
        let path = self.path.join("cgroup.procs");
        OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())
    }

    /// Ends every process in the group and below, in one instant. Does not wait.
    ///
    /// # Errors
    /// When the group is gone, or the kernel is older than 5.14.
    pub fn kill(&self) -> Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Stops every process in the group and below, as a paused virtual machine would.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// The processes in the group itself.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let text = fs::read_to_string(self.path.join("cgroup.procs"))
            .with_context(|| self.path.display().to_string())?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Whether a process is in the group or below.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn is_populated(&self) -> Result<bool> {
        let text = fs::read_to_string(self.path.join("cgroup.events"))
            .with_context(|| self.path.display().to_string())?;
        Ok(text.lines().any(|line| line == "populated 1"))
    }

    /// Ends every process in the group and below, waits for it, and removes the groups, those of
    /// the same name in cgroup v1 hierarchies too.
    ///
    /// # Errors
    /// When a process is still there after 5 s, or a directory cannot be removed.
    pub fn destroy(&self) -> Result<()> {
        if self.path.exists() {
            self.freeze(false)?;
            self.kill()?;
            wait::until(Duration::from_secs(5), "the lab's processes to end", || {
                Ok(!self.is_populated()?)
            })?;
            remove_tree(&self.path)?;
        }
        let twins = self.twins()?;
        let mut left = twins.iter().filter(|twin| twin.exists());
        left.try_for_each(|twin| remove_tree(twin))
    }

    /// Makes the group's twins in all cgroup v1 hierarchies, as a kubelet wants its root to be.
    ///
    /// # Errors
    /// When one cannot be made.
    pub(crate) fn make_twins(&self) -> Result<()> {
        for twin in self.twins()? {
            fs::create_dir_all(&twin).with_context(|| format!("make {}", twin.display()))?;
        }
        for hierarchy in v1_hierarchies()? {
            // No process can join a group of this controller before its two sets are filled.
            if hierarchy.options.split(',').any(|name| name == "cpuset") {
                self.fill_cpuset(&hierarchy.path)?;
            }
        }
        Ok(())
    }

    fn fill_cpuset(&self, hierarchy: &Path) -> Result<()> {
        let mut group = hierarchy.to_owned();
        for part in self.below_root_path()?.iter() {
            let parent = group.clone();
            group.push(part);
            for set in ["cpuset.cpus", "cpuset.mems"] {
                let value = fs::read_to_string(parent.join(set))?;
                let place = group.join(set);
                fs::write(&place, value).with_context(|| place.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Where the group is below the root of every hierarchy.
    ///
    /// # Errors
    /// When the machine has no cgroup v2 tree mounted.
    pub(crate) fn below_root_path(&self) -> Result<PathBuf> {
        let below = self.path.strip_prefix(root()?);
        Ok(below.context("a lab's group is below the root")?.to_owned())
    }

    fn twins(&self) -> Result<Vec<PathBuf>> {
        let below = self.below_root_path()?;
        let hierarchies = v1_hierarchies()?.into_iter();
        Ok(hierarchies.map(|one| one.path.join(&below)).collect())
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, value).with_context(|| path.display().to_string())
    }
}

/// The mount point of the machine's cgroup v2 tree.
///
/// # Errors
/// When there is none.
pub fn root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(target), Some("cgroup2")) = (fields.next(), fields.next()) {
            return Ok(PathBuf::from(target));
        }
    }
    bail!("no cgroup v2 tree is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified")
}

/// A cgroup v1 hierarchy of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// What `mount -o` takes to mount it once more: its controllers or its name.
    pub(crate) options: String,
}

/// The cgroup v1 hierarchies of the machine: none where all controllers are in the v2 tree.
///
/// # Errors
/// When the mounts cannot be read.
pub(crate) fn v1_hierarchies() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    Ok(mounts.lines().filter_map(hierarchy).collect())
}

/// A line of `/proc/self/mounts`: device, target, type, options.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let mut fields = line.split(' ').skip(1);
    let (target, "cgroup", options) = (fields.next()?, fields.next()?, fields.next()?) else {
        return None;
    };
    // The others are flags of the mount or the file system; a controller may be among them.
    const FLAGS: [&str; 8] = [
        "rw",
        "ro",
        "relatime",
        "nosuid",
        "nodev",
        "noexec",
        "xattr",
        "clone_children",
    ];
    let own = options.split(',').filter(|option| !FLAGS.contains(option));
    Some(Hierarchy {
        path: target.into(),
        options: own.collect::<Vec<&str>>().join(","),
    })
}

fn remove_tree(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    // The kernel lets go of a dead process's group a moment after it reports it empty.
    wait::until(
        Duration::from_secs(5),
        "an empty cgroup to be removable",
        || match fs::remove_dir(path) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => Ok(false),
            other => other
                .map(|()| true)
                .with_context(|| path.display().to_string()),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_is_known_by_its_controllers() {
        let line = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0";
        let found = hierarchy(line).unwrap();
        assert_eq!(found.path, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found.options, "cpu,cpuacct");
        let named = "cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0";
        assert_eq!(hierarchy(named).unwrap().options, "name=systemd");
        assert_eq!(
            hierarchy("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0"),
            None
        );
    }
}
