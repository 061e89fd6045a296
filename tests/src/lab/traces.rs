//! What of a lab can be seen on the machine, for tests that nothing is left of it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use super::cgroup;
use super::registry::BASE;

/// Groups, directories, mounts, links and the network namespaces of processes.
///
/// # Errors
/// When the machine's mounts or processes cannot be read.
pub fn traces() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let hierarchies = cgroup::v1_hierarchies()?.into_iter().map(|one| one.path);
    let others = [
        cgroup::root()?,
        BASE.into(),
        "/run/netns".into(),
        "/sys/class/net".into(),
    ];
    for dir in hierarchies.chain(others) {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            found.insert(entry.path().display().to_string());
        }
    }
    found.extend(
        fs::read_to_string("/proc/1/mounts")?
            .lines()
            .map(ToOwned::to_owned),
    );
    for entry in fs::read_dir("/proc")?.flatten() {
        if let Ok(net) = fs::read_link(entry.path().join("ns/net")) {
            found.insert(net.display().to_string());
        }
    }
    Ok(found)
}

/// Traces that name the lab `id`.
///
/// # Errors
/// As [`traces`].
pub fn traces_of(id: &str) -> Result<Vec<String>> {
    let (directory, group) = (format!("{BASE}/{id}"), format!("landfall-lab-{id}"));
    Ok(traces()?
        .into_iter()
        .filter(|t| t.starts_with(&directory) || t.contains(&group))
        .collect())
}
