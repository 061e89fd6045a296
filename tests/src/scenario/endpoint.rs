//! Endpoints come, go, and change their state; new connections follow, established ones finish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::lab::pod::{Pod, PodSpec, PodState};
use crate::lab::wait;
use crate::probe::herd::Herd;
use crate::probe::udp::{SourcePort, UdpProber, UdpRecord};

/// How long new flows are watched around a change.
const AROUND: Duration = Duration::from_millis(400);

/// How long new flows took to follow each kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// A ready endpoint appeared.
    pub added: Duration,
    /// It became unready.
    pub unready: Duration,
    /// It began to terminate, with a connection established.
    pub terminating: Duration,
    /// Its manifest was removed.
    pub removed: Duration,
}

impl Changes {
    /// All four.
    #[must_use]
    pub fn all(self) -> [Duration; 4] {
        [self.added, self.unready, self.terminating, self.removed]
    }
}

/// Takes an endpoint on the node with this index through its life.
///
/// # Errors
/// When new flows do not follow a change, or an established connection breaks when its endpoint
/// begins to terminate.
pub fn life(stage: &Stage, node: usize) -> Result<Changes> {
    let lab = &stage.lab;
    let pod = lab.add_unlisted_pod(node, PodSpec::app("coming", "webpod"))?;
    let added = follow(stage, &pod, Some(PodState::Ready))?;
    let unready = follow(stage, &pod, Some(PodState::Unready))?;
    follow(stage, &pod, Some(PodState::Ready))?;
    let removed = follow(stage, &pod, None)?;
    follow(stage, &pod, Some(PodState::Ready))?;
    // Last: from here there is no way back.
    let herd = herd_with(stage, pod.name())?;
    let terminating = follow(stage, &pod, Some(PodState::Terminating))?;
    let since = Instant::now();
    wait::until(
        Duration::from_secs(5),
        "connections to a terminating endpoint",
        || {
            Ok(herd
                .members()
                .iter()
                .all(|m| m.died.is_some() || m.last_echo > since))
        },
    )?;
    let died = herd.close().into_iter().find_map(|m| m.died);
    ensure!(died.is_none(), "an established connection broke: {died:?}");
    lab.remove_pod(&pod)?;
    Ok(Changes {
        added,
        unready,
        terminating,
        removed,
    })
}

/// Changes a pod's manifest (`None` removes it) under new flows, and tells how long they took to
/// follow: to the first request that the pod answered, or the last one.
fn follow(stage: &Stage, pod: &Arc<Pod>, state: Option<PodState>) -> Result<Duration> {
    // Dense enough that chance does not hide for long a new endpoint which gets a sixth of the flows.
    let interval = Duration::from_millis(1);
    let prober = UdpProber::start(
        stage.lab.client(),
        stage.ping(),
        interval,
        SourcePort::Fresh,
    )?;
    std::thread::sleep(AROUND / 4);
    let changed = Instant::now();
    match state {
        Some(state) => stage.lab.list_pod(pod, state)?,
        None => stage.lab.unlist_pod(pod)?,
    }
    std::thread::sleep(AROUND);
    let record = prober.stop();
    let by_pod = |record: &UdpRecord| -> Vec<Instant> {
        let requests = record.requests.iter();
        let answered = requests.filter(|r| r.answer.as_ref().is_some_and(|a| a.pod == pod.name()));
        answered.map(|r| r.sent).collect()
    };
    let sent = by_pod(&record);
    let what = format!("{} becoming {state:?}", pod.name());
    if state == Some(PodState::Ready) {
        let first = sent.iter().find(|at| **at >= changed);
        let first = first.with_context(|| format!("{what}: no new flow reached it"))?;
        return Ok(*first - changed);
    }
    let last = sent
        .last()
        .with_context(|| format!("{what}: no flow had reached it before"))?;
    let over = record.window.to - *last;
    ensure!(
        over > AROUND / 4,
        "{what}: new flows reach it still, {over:?} before the end"
    );
    Ok(last.saturating_duration_since(changed))
}

/// Connections of which at least one reaches the pod `name`.
fn herd_with(stage: &Stage, name: &str) -> Result<Herd> {
    let herd = Herd::open(
        stage.lab.client(),
        stage.echo(),
        60,
        Duration::from_millis(50),
    )?;
    let reached = herd.members().iter().any(|m| m.pod == name);
    ensure!(reached, "none of 60 connections reached {name}");
    Ok(herd)
}
