//! A machine on the lab's LAN, or a pod: a namespace, its addresses, and a control group for what
//! runs in it.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};

use super::cgroup::Cgroup;
use super::namespace::Namespace;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A place where instruments and processes run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host {
    name: Arc<str>,
    namespace: Arc<Namespace>,
    cgroup: Cgroup,
    mac: Mac,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        namespace: Namespace,
        cgroup: Cgroup,
        mac: Mac,
        v4: Ipv4Addr,
        v6: Ipv6Addr,
    ) -> Self {
        Self {
            name: name.into(),
            namespace: Arc::new(namespace),
            cgroup,
            mac,
            v4,
            v6,
        }
    }

    /// The host's name: `node1`, `client`, a pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of the first interface.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The IPv4 address of the first interface.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Addr {
        self.v4
    }

    /// The IPv6 address of the first interface.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        self.v6
    }

    /// The group of everything that runs on this host.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The host's namespaces.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Moves the calling thread, which must be a thread of its own, into the host's network.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.namespace.enter_network()
    }

    /// Runs `work` on a thread in the host's network namespace. Sockets made there stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work)
    }

    /// Starts a thread in the host's network namespace.
    ///
    /// # Panics
    /// When the thread cannot be made.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = Arc::clone(&self.namespace);
        thread::Builder::new()
            .name(format!("{}@{}", name, self.name))
            .spawn(move || {
                namespace
                    .enter_network()
                    .expect("a held namespace can be entered by root");
                work()
            })
            .expect("a thread can be made")
    }

    /// A command that will run in the host's namespaces and control group.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        self.command_in(&self.cgroup, program)
    }

    /// As [`Self::command`], in a group of its own.
    pub(crate) fn command_in(&self, cgroup: &Cgroup, program: impl AsRef<Path>) -> Result<Command> {
        let membership = cgroup.membership()?;
        let mut namespaces: Vec<(OwnedFd, CloneFlags)> = Vec::new();
        for (fd, flag) in self.namespace.memberships() {
            namespaces.push((fd.try_clone_to_owned()?, flag));
        }
        let mut command = Command::new(program.as_ref());
        // SAFETY: between fork and exec only write(2) and setns(2) are called, on descriptors
        // that the closure owns; both are async-signal-safe and neither allocates.
        unsafe {
            command.pre_exec(move || {
                if libc::write(membership.as_raw_fd(), b"0".as_ptr().cast(), 1) != 1 {
                    return Err(io::Error::last_os_error());
                }
                for (fd, flag) in &namespaces {
                    setns(fd, *flag)?;
                }
                Ok(())
            });
        }
        Ok(command)
    }

    /// Runs a command line of words without spaces in them to its end and gives what it printed.
    ///
    /// # Errors
    /// When it cannot be run or does not succeed, with what it said.
    pub fn output(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        let output = self
            .command(program)?
            .args(words)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {program}; is it installed?"))?;
        ensure!(
            output.status.success(),
            "{}: {line}: {}: {}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Gives `lines` to a program that reads commands, such as `ip -batch -` or `nft -f -`.
    ///
    /// # Errors
    /// When it cannot be run or does not succeed, with what it said.
    pub fn feed(&self, line: &str, lines: &str) -> Result<()> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        let mut child = self
            .command(program)?
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {program}; is it installed?"))?;
        child
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!(
                "{}: {line}: {}: {}\n{lines}",
                self.name,
                output.status,
                said.trim()
            );
        }
        Ok(())
    }

    /// Sets a network setting, named as below `/proc/sys/net`.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(name);
        self.run(|| fs::write(&path, value))
            .with_context(|| format!("{}: {} = {value}", self.name, path.display()))
    }

    /// Sets an interface up or down, at once: one system call, no process.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn set_link(&self, interface: &str, up: bool) -> Result<()> {
        self.run(|| super::link::set_up(interface, up))
            .with_context(|| format!("{}: set {interface} up={up}", self.name))
    }

    /// Forgets what the host has learned about its neighbours.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn forget_neighbours(&self) -> Result<()> {
        self.output("ip neigh flush all").map(drop)
    }
}
