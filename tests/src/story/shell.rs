//! A shell in a running lab, where the lab's machines have names for `ip netns exec`.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::tell::Narrator;
use crate::lab::host::Host;
use crate::lab::namespace::mount_private;
use crate::lab::pod::PodSpec;
use crate::lab::{Lab, programs};

/// Brings a lab with the example's services up and opens a shell; the lab ends with the shell.
///
/// # Errors
/// When the lab does not come up.
pub fn open(nodes: u8, agents: bool) -> Result<()> {
    let mut narrator = Narrator::new();
    narrator.chapter("Bring the lab up");
    let lab = Lab::builder().nodes(nodes).build()?;
    for i in 0..usize::from(nodes) {
        lab.add_pod(i, PodSpec::app(&format!("webpod{}", i + 1), "webpod"))?;
    }
    lab.manifests().example("l2-announcement.yaml")?;
    if agents {
        lab.start_agents()?;
    }
    name_namespaces(&lab)?;
    let bin = lab.dir().join("bin");
    fs::create_dir(&bin)?;
    if agents {
        write_wrappers(&lab, &bin)?;
    }
    hints(narrator, &lab, agents);
    let rc = lab.dir().join("shell.rc");
    fs::write(
        &rc,
        format!(
            "[ -f ~/.bashrc ] && . ~/.bashrc\nPS1='[lab {}] \\w # '\nPATH={}:$PATH\n",
            lab.id(),
            bin.display()
        ),
    )?;
    let mut shell = Command::new("bash");
    shell
        .arg("--rcfile")
        .arg(&rc)
        .arg("-i")
        .current_dir(lab.dir());
    // SAFETY: prctl(2) is async-signal-safe and is given numbers only.
    unsafe {
        shell.pre_exec(|| {
            // The shell holds the namespaces by their names: it must not outlive the lab.
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGHUP) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
    let status = shell.status().context("run bash")?;
    narrator.chapter("Take the lab down");
    drop(lab);
    narrator.good(&format!("nothing is left ({status})"));
    Ok(())
}

/// Gives this thread, and so the shell, a `/run/netns` of its own with the lab's names in it.
fn name_namespaces(lab: &Lab) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_private()?;
    fs::create_dir_all("/run/netns")?;
    mount(
        Some("lab"),
        "/run/netns",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    let pods = lab.pods();
    let nodes = lab.nodes().iter().map(|node| node.host());
    let others = [lab.client(), lab.watcher(), lab.switch().host()];
    for host in nodes.chain(others).chain(pods.iter().map(|pod| pod.host())) {
        bind_name(host)?;
    }
    Ok(())
}

fn bind_name(host: &Host) -> Result<()> {
    let name = Path::new("/run/netns").join(host.name());
    File::create(&name)?;
    let source = format!("/proc/self/fd/{}", host.namespace().raw_fd());
    mount(
        Some(source.as_str()),
        &name,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .with_context(|| format!("name the namespace {}", host.name()))
}

/// A command per node, `node1 status`, for `landfall status` on that node.
fn write_wrappers(lab: &Lab, bin: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let landfall = programs::landfall()?;
    for node in lab.nodes() {
        let path = bin.join(node.name());
        let settings = node.paths().settings.display();
        let text = format!(
            "#!/bin/sh\n\
             agent=$(head -n 1 {group}/agent/cgroup.procs 2>/dev/null)\n\
             # The agent's file systems are the node's own: its pins are seen only from there.\n\
             exec nsenter ${{agent:+--target \"$agent\" --mount}} --net=/run/netns/{name} \\\n  \
             {landfall} \"$@\" --config {settings}\n",
            group = node.host().cgroup().path().display(),
            name = node.name(),
            landfall = landfall.display()
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn hints(narrator: Narrator, lab: &Lab, agents: bool) {
    let names: Vec<&str> = lab.nodes().iter().map(|node| node.name()).collect();
    narrator.good(&format!(
        "nodes {}, client, watcher, switch",
        names.join(", ")
    ));
    narrator.say(&format!("manifests  {}", lab.manifests().dir().display()));
    narrator.say(&format!(
        "logs       {}/node1/agent.log",
        lab.dir().display()
    ));
    narrator.say("try        ip netns exec client curl -s 10.10.200.1");
    narrator.say("           ip netns exec watcher arping -c 3 -I ens3 10.10.200.1");
    narrator.say("           ip netns exec node1 tcpdump -eni ens3");
    narrator.say("           ip netns exec switch ip link set node1 down");
    if agents {
        narrator.say("           node1 l2 list; node1 service list; node1 status");
    }
    narrator.say("end it     exit");
}
