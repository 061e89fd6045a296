//! Namespaces held by file descriptor. They have no name and no mount on the machine, so they are
//! gone when the harness and the processes in them are, however they end.
//!
//! Owns the descriptors; feeds [`super::host`], which runs threads and processes in them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Where a machine tells one run of its kernel from another.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A network namespace, for a node with mount and UTS namespaces beside it.
#[derive(Debug)]
pub struct Namespace {
    net: File,
    machine: Option<Machine>,
}

/// What makes a namespace look like a machine of its own: its files and its host name.
#[derive(Debug)]
struct Machine {
    mnt: File,
    uts: File,
}

impl Namespace {
    /// A new network namespace without interfaces but a downed loopback.
    ///
    /// # Errors
    /// When the kernel refuses: most often for want of root.
    pub fn network() -> Result<Self> {
        in_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("make a network namespace (are you root?)")?;
            Ok(Self {
                net: own_namespace("net")?,
                machine: None,
            })
        })
    }

    /// The network namespace of a process that somebody else has made, such as a pod's.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn of_process(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        Ok(Self {
            net: File::open(&path).context(path)?,
            machine: None,
        })
    }

    /// New network, mount and UTS namespaces: `/sys` shows the node's own interfaces,
    /// `/sys/fs/cgroup` is cgroup v2 as on a current distribution, `/sys/fs/bpf` is the node's
    /// own bpffs, the host name is `name`, and the boot id is the one in the file `boot_id`.
    ///
    /// # Errors
    /// When the kernel refuses a namespace or a mount.
    pub fn machine(name: &str, boot_id: &Path) -> Result<Self> {
        in_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
                .context("make a node's namespaces (are you root?)")?;
            nix::unistd::sethostname(name).context("set the node's host name")?;
            mount_private()?;
            for (kind, target) in [
                ("sysfs", "/sys"),
                ("cgroup2", "/sys/fs/cgroup"),
                ("bpf", "/sys/fs/bpf"),
            ] {
                mount(
                    Some(kind),
                    target,
                    Some(kind),
                    MsFlags::empty(),
                    None::<&str>,
                )
                .with_context(|| format!("mount {kind} on {target}"))?;
            }
            mount(
                Some(boot_id),
                BOOT_ID,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .with_context(|| format!("mount {} on {BOOT_ID}", boot_id.display()))?;
            let machine = Machine {
                mnt: own_namespace("mnt")?,
                uts: own_namespace("uts")?,
            };
            Ok(Self {
                net: own_namespace("net")?,
                machine: Some(machine),
            })
        })
    }

    /// The network namespace's descriptor in this process; `/proc/PID/fd/N` names it for `ip`.
    #[must_use]
    pub fn raw_fd(&self) -> RawFd {
        self.net.as_raw_fd()
    }

    /// The options with which `nsenter` enters it, as long as this process lives.
    #[must_use]
    pub fn nsenter_options(&self) -> String {
        let name = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let net = format!("--net={}", name(&self.net));
        self.machine.as_ref().map_or(net.clone(), |machine| {
            let (mnt, uts) = (name(&machine.mnt), name(&machine.uts));
            format!("{net} --mount={mnt} --uts={uts}")
        })
    }

    /// Moves the calling thread, which must be a thread of its own, into the network namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter_network(&self) -> io::Result<()> {
        setns(self.net.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }

    /// Runs `work` on a thread inside the network namespace and gives its result.
    ///
    /// # Panics
    /// When `work` panics, or when the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_new_thread(|| {
            self.enter_network()
                .expect("a held namespace can be entered by root");
            work()
        })
    }

    /// Like [`Self::run`], but also with the node's view of files: its bpffs, its `/sys`.
    ///
    /// # Panics
    /// When `work` panics, or when the namespaces cannot be entered.
    pub fn run_as_machine<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_new_thread(|| {
            // A thread shares its root and working directory with the others until it says so.
            unshare(CloneFlags::CLONE_FS).expect("a thread may have its own working directory");
            for (fd, flag) in self.memberships() {
                setns(fd, flag).expect("a held namespace can be entered by root");
            }
            work()
        })
    }

    /// What a child process enters between fork and exec.
    pub(super) fn memberships(&self) -> Vec<(BorrowedFd<'_>, CloneFlags)> {
        let mut all = vec![(self.net.as_fd(), CloneFlags::CLONE_NEWNET)];
        if let Some(machine) = &self.machine {
            all.push((machine.uts.as_fd(), CloneFlags::CLONE_NEWUTS));
            all.push((machine.mnt.as_fd(), CloneFlags::CLONE_NEWNS));
        }
        all
    }
}

/// Moves the calling thread into an empty network namespace without an uplink, so that nothing it
/// or its later threads send by mistake can leave the machine.
///
/// # Errors
/// When the kernel refuses: most often for want of root.
pub fn isolate_thread() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("leave the machine's network (are you root?)")
}

/// Keeps later mounts of this thread's mount namespace to itself.
///
/// # Errors
/// When the kernel refuses.
pub fn mount_private() -> Result<()> {
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("keep mounts private")
}

fn own_namespace(kind: &str) -> Result<File> {
    let path = format!("/proc/thread-self/ns/{kind}");
    File::open(&path).map_err(|e| anyhow!(e).context(path))
}

/// Runs `work` on a fresh thread and passes its panic on.
fn in_new_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
