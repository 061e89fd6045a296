//! Nothing is left of a cluster, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use landfall_tests::lab::traces::{traces, traces_of};
use landfall_tests::lab::{cgroup, registry, wait};

use crate::{SECOND, start, web};

/// Where a cluster would leave something if its nodes' files were not their own.
const PLACES: [&str; 8] = [
    "/etc/cni",
    "/run/containerd",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

#[test]
fn a_cluster_leaves_nothing_behind() -> Result<()> {
    let there = || PLACES.map(|place| Path::new(place).exists());
    let before = there();
    let cluster = start()?;
    web(&cluster, 3)?;
    let id = cluster.lab().id().to_owned();
    let mut inside = BTreeSet::new();
    let mut processes = Vec::new();
    for process in processes_of(&id)? {
        if let Ok(net) = fs::read_link(format!("/proc/{process}/ns/net")) {
            inside.insert(net.display().to_string());
        }
        processes.extend(born(process).map(|birth| (process, birth)));
    }
    // 3 nodes with containerd and kubelet, the control plane's 4, and 3 pods' 3 containers at least.
    assert!(processes.len() >= 3 * 2 + 4 + 3 * 3, "{processes:?}");
    assert!(inside.len() >= 3 + 1 + 3, "{inside:?}");
    drop(cluster);
    assert_eq!(traces_of(&id)?, Vec::<String>::new());
    let left: Vec<String> = traces()?.intersection(&inside).cloned().collect();
    assert_eq!(left, Vec::<String>::new(), "namespaces are left");
    // Containers' parents die with them: it is the machine's init that reaps those, in its time.
    wait::until(5 * SECOND, "every process to be gone", || {
        let left = |(process, birth): &(u32, String)| born(*process).as_ref() == Some(birth);
        Ok(!processes.iter().any(left))
    })?;
    assert_eq!(there(), before);
    Ok(())
}

/// When a process was started, in the kernel's ticks: another may get its number. See
/// proc_pid_stat(5), field 22; the second field is the name in brackets.
fn born(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19).map(ToOwned::to_owned)
}

/// The processes in the control groups of a lab.
fn processes_of(id: &str) -> Result<Vec<u32>> {
    fn walk(dir: &Path, found: &mut Vec<u32>) -> Result<()> {
        let procs = fs::read_to_string(dir.join("cgroup.procs"))?;
        found.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()));
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    let root = cgroup::root()?;
    walk(&root.join(format!("landfall-lab-{id}")), &mut found)?;
    Ok(found)
}

#[test]
fn a_cluster_left_standing_goes_when_told_and_when_its_holder_is_killed() -> Result<()> {
    let program = env!("CARGO_BIN_EXE_landfall-lab");
    let up = || -> Result<String> {
        let before = labs();
        let status = Command::new(program)
            .args(["cluster", "up", "--nodes", "1"])
            .status()?;
        ensure!(status.success(), "cluster up: {status}");
        let mut new = labs().into_iter().filter(|lab| !before.contains(lab));
        new.next().context("a new lab")
    };
    let told = up()?;
    assert!(!traces_of(&told)?.is_empty());
    let status = Command::new(program)
        .args(["cluster", "down", &told])
        .status()?;
    assert!(status.success());
    assert_eq!(traces_of(&told)?, Vec::<String>::new());

    let killed = up()?;
    let holder = killed.split('-').next().context("a process id")?.parse()?;
    let holder = nix::unistd::Pid::from_raw(holder);
    nix::sys::signal::kill(holder, nix::sys::signal::Signal::SIGKILL)?;
    wait::until(5 * SECOND, "the holder to end", || {
        Ok(nix::sys::signal::kill(holder, None).is_err())
    })?;
    assert!(
        !traces_of(&killed)?.is_empty(),
        "nobody was there to clean up"
    );
    registry::sweep()?;
    assert_eq!(traces_of(&killed)?, Vec::<String>::new());
    Ok(())
}

/// The clusters that this work tree has left standing; other labs may be beside them.
fn labs() -> BTreeSet<String> {
    let entries = fs::read_dir(registry::BASE).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            fs::read_to_string(entry.path().join("standing"))
                .is_ok_and(|owner| owner == env!("CARGO_MANIFEST_DIR"))
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
