//! A cluster to play with: it stands until it is told to go, and no terminal is bound to it.
//!
//! A process of its own, `landfall-lab cluster hold`, holds it. When everything is up, that process
//! writes the file `standing` in the lab's directory; SIGTERM makes it take everything down.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tell::Narrator;
use crate::cluster::programs::{Programs, cache_dir};
use crate::cluster::{Cluster, Kubectl};
use crate::lab::host::Host;
use crate::lab::registry::{self, BASE};
use crate::lab::wait;

/// The file that says that a cluster stands.
const STANDING: &str = "standing";

/// What it says: whose cluster it is.
const OWNER: &str = env!("CARGO_MANIFEST_DIR");

/// How long a cluster may take to come up, and to go.
const PATIENCE: Duration = Duration::from_secs(300);

/// Builds the programs that are missing.
///
/// # Errors
/// When one cannot be built.
pub fn build() -> Result<()> {
    Programs::find_or_build().map(drop)
}

/// Leaves a cluster standing, with Landfall on it unless `bare`, and tells how to use it.
///
/// # Errors
/// When it does not come up.
pub fn up(nodes: u8, bare: bool) -> Result<()> {
    let mut narrator = Narrator::new();
    narrator.chapter("Bring a cluster up");
    build()?;
    let begun = Instant::now();
    let path = cache_dir().join("cluster.log");
    let log = File::create(&path).with_context(|| path.display().to_string())?;
    let mut holder = Command::new(std::env::current_exe()?)
        .args(["cluster", "hold", "--nodes", &nodes.to_string()])
        .args(bare.then_some("--bare"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at the terminal is not meant for it.
        .process_group(0)
        .spawn()
        .context("start the cluster's holder")?;
    let lab = Path::new(BASE).join(format!("{}-0", holder.id()));
    wait::until(PATIENCE, "the cluster to stand", || {
        if let Some(status) = holder.try_wait()? {
            let said = fs::read_to_string(&path).unwrap_or_default();
            bail!("no cluster ({status}): {}", said.trim());
        }
        Ok(lab.join(STANDING).exists())
    })?;
    narrator.good(&format!(
        "{nodes} nodes are ready, after {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    let bin = lab.join("bin");
    narrator.say(&format!("use it     PATH={}:$PATH", bin.display()));
    narrator.say("           kubectl get nodes -o wide");
    if bare {
        narrator.say("           client ping 10.10.200.11");
    } else {
        narrator.say("           kubectl -n landfall-system get pods -o wide");
        for example in ["l2-announcement.yaml", "webpods.yaml"] {
            let file = Path::new(OWNER).join("examples").join(example);
            narrator.say(&format!("           kubectl apply -f {}", file.display()));
        }
        narrator.say("           kubectl get svc,lbpool,l2policy");
        narrator.say("           client curl http://10.10.200.1");
        narrator.say("           kubectl -n landfall-system exec ds/landfall -- landfall status");
    }
    narrator.say("           node1 ctr -n k8s.io containers ls");
    narrator.say(&format!(
        "logs       {}, {}/node1",
        lab.display(),
        lab.display()
    ));
    narrator.say("end it     make cluster-down");
    Ok(())
}

/// Brings a cluster up, with Landfall on it unless `bare`, and holds it until this process is told to end.
///
/// # Errors
/// When it does not come up.
pub fn hold(nodes: u8, bare: bool) -> Result<()> {
    let mut builder = Cluster::builder().nodes(nodes);
    if !bare {
        builder = builder.daemon_set();
    }
    let cluster = builder.start(&Programs::find_or_build()?)?;
    let lab = cluster.lab();
    let bin = lab.dir().join("bin");
    fs::create_dir(&bin)?;
    write_kubectl(&bin, &cluster.kubectl())?;
    let nodes = lab.nodes().iter().map(|node| node.host());
    for host in nodes.chain([lab.client(), lab.watcher(), lab.switch().host()]) {
        write_command(&bin, host.name(), host, "\"$@\"")?;
    }
    fs::write(lab.dir().join(STANDING), OWNER)?;
    loop {
        // The registry's own thread answers signals, and ends the process.
        thread::park();
    }
}

/// Takes down the cluster with this lab id, or all that this work tree has left standing.
///
/// # Errors
/// When one does not go.
pub fn down(id: Option<&str>) -> Result<()> {
    // Those whose holders are dead.
    registry::sweep()?;
    let narrator = Narrator::new();
    for (lab, holder) in standing()? {
        if id.is_some_and(|id| !lab.ends_with(id)) {
            continue;
        }
        kill(holder, Signal::SIGTERM).with_context(|| format!("end process {holder}"))?;
        wait::until(PATIENCE, "the cluster to go", || {
            Ok(!lab.exists() && kill(holder, None).is_err())
        })?;
        narrator.good(&format!("nothing is left of {}", lab.display()));
    }
    Ok(())
}

/// The directory and the holder of each standing cluster.
fn standing() -> Result<Vec<(PathBuf, Pid)>> {
    let mut found = Vec::new();
    let Ok(labs) = fs::read_dir(BASE) else {
        return Ok(found);
    };
    for lab in labs {
        let lab = lab?.path();
        // Another tree's clusters are its own affair.
        if fs::read_to_string(lab.join(STANDING)).is_ok_and(|owner| owner == OWNER) {
            let holder = holder_of(&lab)?;
            found.push((lab, holder));
        }
    }
    Ok(found)
}
/// The process that holds a cluster.
fn holder_of(lab: &Path) -> Result<Pid> {
    let name = lab.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.split('-').next().and_then(|pid| pid.parse().ok());
    let pid = pid.with_context(|| format!("{} is named by no process", lab.display()))?;
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    ensure!(
        words.contains("hold"),
        "process {pid} is not the holder of {}",
        lab.display()
    );
    Ok(Pid::from_raw(pid))
}

fn write_kubectl(bin: &Path, kubectl: &Kubectl) -> Result<()> {
    let line = format!(
        "{} --kubeconfig={} --cache-dir={} \"$@\"",
        kubectl.program.display(),
        kubectl.kubeconfig.display(),
        kubectl.cache.display()
    );
    write_command(bin, "kubectl", &kubectl.host, &line)
}

/// A command `NAME` that runs `line` in the namespaces of a machine.
fn write_command(bin: &Path, name: &str, host: &Host, line: &str) -> Result<()> {
    let path = bin.join(name);
    let options = host.namespace().nsenter_options();
    fs::write(&path, format!("#!/bin/sh\nexec nsenter {options} {line}\n"))
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
        .with_context(|| path.display().to_string())
}
