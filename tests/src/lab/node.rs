//! A node: a machine of its own with an agent, pods and faults.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::cgroup::Cgroup;
use super::host::Host;
use super::programs::Build;
use super::settings::{self, Common, Paths};
use super::switch::{Lan, Port, Switch};
use super::wait;

/// How long an agent may take to open its admin socket, or to end in order.
const PATIENCE: Duration = Duration::from_secs(20);

/// The last octet of the first pod's address; earlier ones are the gateway's and spare.
const FIRST_POD: u8 = 10;

/// A node of the lab.
#[derive(Debug)]
pub struct Node {
    host: Host,
    number: u8,
    paths: Paths,
    agent_group: Cgroup,
    agent: Mutex<Option<Child>>,
    build: Mutex<Build>,
    next_pod: AtomicU8,
    switch: Arc<Switch>,
}

impl Node {
    pub(super) fn new(
        host: Host,
        number: u8,
        paths: Paths,
        common: &Common,
        switch: Arc<Switch>,
    ) -> Result<Self> {
        let agent_group = host.cgroup().child("agent")?;
        let node = Self {
            host,
            number,
            paths,
            agent_group,
            agent: Mutex::default(),
            build: Mutex::default(),
            next_pod: AtomicU8::new(FIRST_POD),
            switch,
        };
        node.configure(common)?;
        Ok(node)
    }

    /// Writes the settings of the node's agent, which reads them when it starts.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn configure(&self, common: &Common) -> Result<()> {
        let cgroup = self.host.cgroup().path_on_node()?;
        let text = settings::file(self.name(), &self.paths, &cgroup, common);
        fs::write(&self.paths.settings, text)
            .with_context(|| self.paths.settings.display().to_string())
    }

    /// Has the node's agent, when it starts, learn of objects from the API that a kubeconfig names.
    pub(super) fn use_api(&mut self, kubeconfig: PathBuf, common: &Common) -> Result<()> {
        self.paths.kubeconfig = Some(kubeconfig);
        self.configure(common)
    }

    /// The node's namespaces, addresses and control group.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The node's number, counted from 1; its pods are in `10.244.NUMBER.0/24`.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The last octet for a new pod's address. None is used twice, as with real address plugins.
    pub(super) fn next_pod(&self) -> Result<u8> {
        let next = |number: u8| number.checked_add(1);
        self.next_pod
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()
            .with_context(|| format!("{} has had 245 pods", self.name()))
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// The node's addresses on the first LAN.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.host.ipv4().into(), self.host.ipv6().into()]
    }

    /// Where the node's agent finds and keeps its things.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The group of the node's agent.
    #[must_use]
    pub fn agent_group(&self) -> &Cgroup {
        &self.agent_group
    }

    /// Has another build of the daemon on the node from now on; an agent that runs goes on.
    pub fn install(&self, build: Build) {
        *self.build.lock().unwrap_or_else(PoisonError::into_inner) = build;
    }

    /// The daemon that is on the node.
    ///
    /// # Errors
    /// When it was not built.
    pub fn program(&self) -> Result<PathBuf> {
        let build = *self.build.lock().unwrap_or_else(PoisonError::into_inner);
        build.daemon()
    }

    /// Starts the agent and waits until its admin socket answers.
    ///
    /// # Errors
    /// When it runs already, cannot be run, ends, or does not open its socket within 20 s.
    pub fn start_agent(&self) -> Result<()> {
        self.start_agent_with(&[])
    }

    /// As [`Self::start_agent`], with these variables besides.
    pub(super) fn start_agent_with(&self, variables: &[(&str, &Path)]) -> Result<()> {
        let mut agent = self.lock();
        ensure!(agent.is_none(), "{}: the agent runs already", self.name());
        // The socket of a killed agent would look like an answer.
        let _ = fs::remove_file(&self.paths.socket);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.paths.log)?;
        let program = self.program()?;
        let mut child = self
            .host
            .command_in(&self.agent_group, &program)?
            .args(["agent", "--config"])
            .arg(&self.paths.settings)
            .env("RUST_BACKTRACE", "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("run {}", program.display()))?;
        let opened = wait::until(PATIENCE, "the agent's admin socket", || {
            if let Some(status) = child.try_wait()? {
                bail!("the agent ended: {status}");
            }
            Ok(UnixStream::connect(&self.paths.socket).is_ok())
        });
        if let Err(e) = opened {
            let _ = child.kill();
            let _ = child.wait();
            return Err(e.context(format!("{}: {}", self.name(), self.log_tail(20))));
        }
        *agent = Some(child);
        Ok(())
    }

    /// Ends the agent in order and tells how long that took.
    ///
    /// # Errors
    /// When none runs, it fails, or it does not end within 20 s.
    pub fn stop_agent(&self) -> Result<Duration> {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM)?;
        let mut child = self.lock().take().expect("signal found an agent");
        let mut status: Option<ExitStatus> = None;
        wait::until(PATIENCE, "the agent to end", || {
            status = child.try_wait()?;
            Ok(status.is_some())
        })?;
        let status = status.expect("the wait above saw it end");
        ensure!(
            status.success(),
            "{}: the agent ended with {status}",
            self.name()
        );
        Ok(begun.elapsed())
    }

    /// Kills the agent with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// When none runs.
    pub fn kill_agent(&self) -> Result<()> {
        let mut child = self
            .lock()
            .take()
            .with_context(|| format!("{}: no agent runs", self.name()))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Freezes the agent with SIGSTOP.
    ///
    /// # Errors
    /// When none runs.
    pub fn freeze_agent(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen agent go on.
    ///
    /// # Errors
    /// When none runs.
    pub fn thaw_agent(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Whether an agent was started here and has not ended.
    ///
    /// # Errors
    /// When its state cannot be asked for.
    pub fn agent_runs(&self) -> Result<bool> {
        match self.lock().as_mut() {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// The process id of the running agent.
    ///
    /// # Errors
    /// When none runs.
    pub fn agent_pid(&self) -> Result<u32> {
        let agent = self.lock();
        let child = agent
            .as_ref()
            .with_context(|| format!("{}: no agent runs", self.name()))?;
        Ok(child.id())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.agent_pid()?;
        kill(Pid::from_raw(pid.cast_signed()), signal)
            .with_context(|| format!("{}: {signal} to the agent", self.name()))
    }

    /// Runs `landfall WORDS... --config FILE` on the node and gives what it printed.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub fn landfall(&self, words: &str) -> Result<String> {
        let program = self.program()?;
        self.host.output(&format!(
            "{} {words} --config {}",
            program.display(),
            self.paths.settings.display()
        ))
    }

    /// As [`Self::landfall`] with `-o json`, parsed.
    ///
    /// # Errors
    /// When it does not succeed or does not print JSON.
    pub fn landfall_json(&self, words: &str) -> Result<Value> {
        let text = self.landfall(&format!("{words} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("landfall {words} -o json: {text}"))
    }

    /// The node dies: its carrier on all LANs and all its processes are gone in one instant. The
    /// links go first, or the dying sockets would still say goodbye.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn die(&self) -> Result<()> {
        self.set_carriers(false)?;
        self.host.cgroup().kill()?;
        if let Some(mut child) = self.lock().take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Everything on the node stops, as when its hypervisor pauses it; its network stack is the
    /// machine's and goes on, so its carrier goes too.
    ///
    /// # Errors
    /// When the node is dead.
    pub fn pause(&self, paused: bool) -> Result<()> {
        self.set_carriers(!paused)?;
        self.host.cgroup().freeze(paused)
    }

    fn set_carriers(&self, up: bool) -> Result<()> {
        let mut lans = self.switch.lans().iter();
        lans.try_for_each(|lan| self.set_carrier(*lan, up))
    }

    /// Whether no process is left on the node.
    ///
    /// # Errors
    /// When its control group is gone.
    pub fn is_dead(&self) -> Result<bool> {
        Ok(!self.host.cgroup().is_populated()?)
    }

    /// Takes the machine over that the node is after a reboot.
    pub(super) fn boot(&mut self, host: Host) -> Result<()> {
        self.agent_group = host.cgroup().child("agent")?;
        self.host = host;
        Ok(())
    }

    /// Takes the carrier of an interface away, or gives it back.
    ///
    /// # Errors
    /// When the node has no interface on that LAN.
    pub fn set_carrier(&self, lan: Lan, up: bool) -> Result<()> {
        self.switch.set_carrier(self.name(), lan, up)
    }

    /// Takes an interface away, as when a card is pulled out.
    ///
    /// # Errors
    /// When the node has no interface on that LAN.
    pub fn unplug(&self, lan: Lan) -> Result<()> {
        self.host
            .output(&format!("ip link del {}", lan.interface()))
            .map(drop)
    }

    /// Gives the node a new interface on a LAN that the lab has.
    ///
    /// # Errors
    /// When it has one there already.
    pub fn plug(&self, lan: Lan) -> Result<()> {
        self.switch.plug(&self.host, lan, 10 + self.number)
    }

    /// Cuts an interface off without its losing carrier, or undoes it.
    ///
    /// # Errors
    /// When the node has no interface on that LAN.
    pub fn set_port(&self, lan: Lan, port: Port) -> Result<()> {
        self.switch.set_port(self.name(), lan, port)
    }

    /// What is pinned in the node's own bpffs. The kernel's own `maps.debug` and `progs.debug`,
    /// which every new bpffs has, do not count.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pinned(&self) -> Result<Vec<PathBuf>> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
            for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    walk(&entry.path(), found)?;
                } else if entry.path().extension().is_none_or(|ext| ext != "debug") {
                    found.push(entry.path());
                }
            }
            Ok(())
        }
        self.host.namespace().run_as_machine(|| {
            let mut found = Vec::new();
            walk(Path::new("/sys/fs/bpf"), &mut found)?;
            Ok(found)
        })
    }

    /// The last lines of what the agent printed, without the settings that it lists at each start.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.paths.log).unwrap_or_default();
        let told = text
            .lines()
            .filter(|line| !line.contains("setting in effect"));
        let all: Vec<&str> = told.collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.lock().take() {
            // Both fail only when the agent has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
