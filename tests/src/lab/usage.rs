//! What a node's agent uses of the machine's memory and processors.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::node::Node;

/// One of the kernel's BPF maps.
#[derive(Debug, Clone, PartialEq)]
pub struct MapMemory {
    /// The map's id.
    pub id: u64,
    /// Entries it has room for.
    pub capacity: u64,
    /// What the kernel counts for it, in MiB.
    pub mebibytes: f64,
}

impl Node {
    /// The agent's resident memory in MiB.
    ///
    /// # Errors
    /// When no agent runs.
    pub fn agent_resident(&self) -> Result<f64> {
        self.memory_of("VmRSS:")
    }

    /// The most resident memory that the agent has had, in MiB.
    ///
    /// # Errors
    /// When no agent runs.
    pub fn agent_peak(&self) -> Result<f64> {
        self.memory_of("VmHWM:")
    }

    /// The processor time that each of the agent's threads has had, with the thread's name.
    ///
    /// # Errors
    /// When no agent runs.
    pub fn agent_threads(&self) -> Result<Vec<(String, Duration)>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.agent_pid()?))? {
            let task = entry?.path();
            // A thread may end while the directory is read. The first field of schedstat is the time on
            // a processor in ns (Documentation/scheduler/sched-stats.rst).
            let (Ok(name), Ok(schedstat)) = (
                fs::read_to_string(task.join("comm")),
                fs::read_to_string(task.join("schedstat")),
            ) else {
                continue;
            };
            let first = schedstat.split_whitespace().next();
            let ns = first.context("an empty schedstat")?.parse()?;
            threads.push((name.trim_end().to_owned(), Duration::from_nanos(ns)));
        }
        Ok(threads)
    }

    fn memory_of(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent_pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line
            .and_then(|line| line.split_whitespace().next())
            .with_context(|| format!("no {field}"))?;
        Ok(kibibytes.parse::<f64>()? / 1024.0)
    }

    /// The BPF maps that the agent holds, the largest first, as `/proc/PID/fdinfo` tells of them.
    ///
    /// # Errors
    /// When no agent runs.
    pub fn agent_maps(&self) -> Result<Vec<MapMemory>> {
        let mut maps: Vec<MapMemory> = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.agent_pid()?))? {
            // A descriptor may be closed while the directory is read.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            let field = |name: &str| -> Option<u64> {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse().ok()
            };
            if let (Some(id), Some(capacity), Some(bytes)) =
                (field("map_id:"), field("max_entries:"), field("memlock:"))
                && maps.iter().all(|map| map.id != id)
            {
                maps.push(MapMemory {
                    id,
                    capacity,
                    mebibytes: bytes as f64 / 1024.0 / 1024.0,
                });
            }
        }
        maps.sort_by(|one, two| two.mebibytes.total_cmp(&one.mebibytes));
        Ok(maps)
    }
}
