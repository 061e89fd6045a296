//! The manifest directory: YAML files as a source.
//!
//! Reads `*.yaml`, `*.yml` and `*.json` of one directory, not of those below it, and re-reads them
//! as they change. A file's objects change in one [`Batch`]. A file that cannot be read or parsed,
//! or an object that is refused, stays in its last good state and is complained about; so does
//! everything while the directory itself is missing. An object that carries no
//! `metadata.creationTimestamp` counts as created when its file, as first seen, was last modified:
//! agents that share a directory see the same, and a restarted one too unless the file was edited
//! meanwhile. Writing the timestamp settles it.
//!
//! What was read last is kept in the state directory. Where the directory cannot be listed when the agent starts,
//! that stands in for it, and ends with `Change::Recalled`; where a file cannot be read or parsed then, its copy is its
//! last good state.
//!
//! Channels: sends [`Batch`]es to the reconciler, in order. `Change::Synced` ends the first one that
//! holds the whole directory; until the directory could be listed there is none. Cancelled, the task
//! ends at once; nothing is held that would have to be given back.

mod events;
pub(super) mod file;
pub(super) mod follower;
mod mirror;
mod store;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(super) use follower::names;

use self::events::Watch;
use self::follower::Follower;
use super::{Batch, ClassPolicy};

/// How often everything is looked at, whatever the watch says.
const RESCAN: Duration = Duration::from_secs(30);
/// How often a directory that is missing is looked for.
const RETRY: Duration = Duration::from_millis(250);

/// What to follow, and how.
#[derive(Clone, Debug)]
pub struct ManifestSettings {
    /// The directory.
    pub directory: PathBuf,
    /// Where this node keeps copies of what it has read.
    pub state: PathBuf,
    /// Which LoadBalancer Services are ours.
    pub class: ClassPolicy,
}

/// Follows the directory until cancelled or until nobody receives any more.
pub async fn run(
    settings: ManifestSettings,
    changes: mpsc::Sender<Batch>,
    cancelled: CancellationToken,
) {
    let follower = Box::new(Follower::new(
        settings.directory,
        &settings.state,
        settings.class,
    ));
    let task = Task {
        follower: Some(follower),
        watch: None,
        rescan: Instant::now(),
        changes,
    };
    let _stopped = cancelled.run_until_cancelled(task.run()).await;
}

struct Task {
    /// Away only while a step runs on a blocking thread.
    follower: Option<Box<Follower>>,
    watch: Option<Watched>,
    rescan: Instant,
    changes: mpsc::Sender<Batch>,
}

/// A directory that is being watched, by what it is rather than by its path.
struct Watched {
    watch: Watch,
    identity: (u64, u64),
}

/// What the task woke up for.
enum Wake {
    Events(io::Result<events::Told>),
    Deadline,
    Rescan,
}

impl Task {
    async fn run(mut self) {
        let mut reported = false;
        loop {
            let batch = if self.watch.is_none() {
                let opened = self.open();
                match &opened {
                    Ok(()) if reported => info!("following the manifest directory again"),
                    Err(error) if !reported => {
                        warn!(%error, "the manifest directory cannot be followed");
                    }
                    _ => {}
                }
                reported = opened.is_err();
                self.step(move |follower| match opened {
                    // The watch first, then the scan: what changes in between is told by the watch.
                    Ok(()) => follower.scan(Instant::now()),
                    Err(error) => follower.lost(&error),
                })
                .await
            } else {
                self.next().await
            };
            if !batch.is_empty() && self.changes.send(batch).await.is_err() {
                return;
            }
            if self.watch.is_none() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Waits for the next thing to do, and does it.
    async fn next(&mut self) -> Batch {
        match self.wake().await {
            Wake::Events(Ok(told)) => {
                if told.ended {
                    self.watch = None;
                }
                if told.events.is_empty() {
                    return Batch::new();
                }
                self.step(|follower| follower.take(told.events, Instant::now()))
                    .await
            }
            Wake::Events(Err(error)) => {
                warn!(%error, "the watch on the manifest directory failed");
                self.watch = None;
                Batch::new()
            }
            Wake::Deadline => self.step(|follower| follower.expire(Instant::now())).await,
            Wake::Rescan => {
                self.rescan = Instant::now() + RESCAN;
                let path = self.follower().path().to_owned();
                let identity = self.watch.as_ref().map(|watched| watched.identity);
                if identity != identity_of(&path).ok() {
                    // Another directory has taken the path, by a rename further up.
                    self.watch = None;
                    return Batch::new();
                }
                self.step(|follower| follower.scan(Instant::now())).await
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let (rescan, deadline) = (self.rescan, self.follower().deadline());
        let at = deadline.map_or(rescan, |deadline| deadline.min(rescan));
        let watched = self
            .watch
            .as_mut()
            .expect("it is only waited for while there is a watch");
        tokio::select! {
            told = watched.watch.told() => Wake::Events(told),
            () = sleep_until(at.into()) => {
                if deadline.is_some_and(|deadline| deadline <= rescan) {
                    Wake::Deadline
                } else {
                    Wake::Rescan
                }
            }
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let path = self.follower().path();
        let watch = Watch::new(path)?;
        let identity = identity_of(path)?;
        self.watch = Some(Watched { watch, identity });
        self.rescan = Instant::now() + RESCAN;
        Ok(())
    }

    fn follower(&self) -> &Follower {
        self.follower
            .as_ref()
            .expect("it is away only while a step runs")
    }

    /// Runs a step, which reads files, on a blocking thread.
    async fn step(&mut self, step: impl FnOnce(&mut Follower) -> Batch + Send + 'static) -> Batch {
        let mut follower = self.follower.take().expect("steps run one at a time");
        let done = tokio::task::spawn_blocking(move || {
            let batch = step(&mut follower);
            (follower, batch)
        });
        match done.await {
            Ok((follower, batch)) => {
                self.follower = Some(follower);
                batch
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down: there will be no further step.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Device and inode of what a path leads to.
fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
