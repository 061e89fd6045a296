//! Many changes of the endpoints' table in a row, with connections and datagram flows open all the while.
//!
//! The endpoints that come and go are others than those that the flows are with: one of each node stays ready. Every change
//! moves slots of the node tables, so that by and by most flows are with a node that the present table does not name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::lab::pod::{Pod, PodSpec, PodState};
use crate::probe::flock::Flock;
use crate::probe::herd::Herd;

/// Between two changes, in the steady part.
const APART: Duration = Duration::from_millis(200);
/// Between two changes of a burst: five of them in 100 ms.
const BURST: Duration = Duration::from_millis(20);
/// How long everything is watched after the last change.
const AFTER: Duration = Duration::from_secs(2);

/// What became of what was open.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Changes made.
    pub changes: usize,
    /// Connections that broke, or did not go on after the last change.
    pub connections_lost: usize,
    /// Why the first of them did.
    pub first: Option<String>,
    /// The longest time from a message on a connection to its echo.
    pub longest_wait: Duration,
    /// Datagram flows that another pod than their first one answered, or that nobody answered after the last change.
    pub flows_moved: usize,
    /// Datagrams sent, and those without an answer.
    pub datagrams: (usize, usize),
}

/// Opens connections and datagram flows, then changes the table: the first half of `changes` at a steady pace, the rest in
/// bursts of five.
///
/// # Errors
/// When the stage cannot be changed, or what is to be open cannot be opened.
pub fn many(stage: &Stage, connections: usize, flows: usize, changes: usize) -> Result<Changes> {
    many_while(stage, connections, flows, changes, |_| Ok(()))
}

/// As [`many`], with something else done before each change, whose number from 0 it is told.
///
/// # Errors
/// As [`many`], and what `meanwhile` says.
pub fn many_while(
    stage: &Stage,
    connections: usize,
    flows: usize,
    changes: usize,
    meanwhile: impl Fn(usize) -> Result<()>,
) -> Result<Changes> {
    let lab = &stage.lab;
    let coming: Vec<Arc<Pod>> = (0..lab.nodes().len())
        .flat_map(|node| [(node, 'x'), (node, 'y')])
        .map(|(node, letter)| {
            lab.add_unlisted_pod(
                node,
                PodSpec::app(&format!("coming{node}{letter}"), "webpod"),
            )
        })
        .collect::<Result<_>>()?;
    let herd = Herd::open(
        lab.client(),
        stage.echo(),
        connections,
        Duration::from_millis(50),
    )?;
    let flock = Flock::start(lab.client(), stage.ping(), flows, Duration::from_millis(20))?;
    std::thread::sleep(Duration::from_secs(1));
    let pods: BTreeSet<String> = herd
        .members()
        .into_iter()
        .map(|member| member.pod)
        .collect();
    ensure!(
        pods.len() > lab.nodes().len(),
        "connections reached only {pods:?}"
    );

    let mut made = 0;
    for turn in 0..changes {
        meanwhile(turn).with_context(|| format!("before change {turn}"))?;
        change(stage, &coming, turn).with_context(|| format!("change {turn}"))?;
        made += 1;
        let burst = turn >= changes / 2 && turn % 5 != 4;
        std::thread::sleep(if burst { BURST } else { APART });
    }
    let last = Instant::now();
    std::thread::sleep(AFTER);
    let members = herd.close();
    let flock = flock.stop();
    for pod in &coming {
        lab.remove_pod(pod)?;
    }
    let lost: Vec<_> = members
        .iter()
        .filter(|member| member.died.is_some() || member.last_echo < last)
        .collect();
    let first = lost.first().map(|member| {
        let why = member.died.as_deref().unwrap_or("no echo any more");
        format!("{} with {}: {why}", member.local, member.pod)
    });
    Ok(Changes {
        changes: made,
        connections_lost: lost.len(),
        first,
        longest_wait: members
            .iter()
            .map(|member| member.longest_wait)
            .max()
            .unwrap_or_default(),
        flows_moved: flock.iter().filter(|flow| !flow.stayed(last)).count(),
        datagrams: (
            flock.iter().map(|flow| flow.sent).sum(),
            flock.iter().map(|flow| flow.sent - flow.answered).sum(),
        ),
    })
}

/// One change: pods come, go unready, come back and are taken away, on one node after the other.
fn change(stage: &Stage, coming: &[Arc<Pod>], turn: usize) -> Result<()> {
    let pod = &coming[turn % coming.len()];
    match (turn / coming.len()) % 4 {
        0 | 2 => stage.lab.list_pod(pod, PodState::Ready),
        1 => stage.lab.list_pod(pod, PodState::Unready),
        _ => stage.lab.unlist_pod(pod),
    }
}
