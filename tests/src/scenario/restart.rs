//! Agents are killed and started again under load, and no packet is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Stage;
use crate::lab::wait;
use crate::probe::herd::Herd;
use crate::probe::http::HttpProber;
use crate::probe::udp::{SourcePort, UdpProber};

/// What was lost over all restarts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Losses {
    /// UDP requests without an answer, each a new flow.
    pub datagrams: usize,
    /// UDP requests without an answer on one flow.
    pub of_one_flow: usize,
    /// Web requests, each a new connection, that failed or had a packet lost.
    pub requests: usize,
    /// Connections that died or had a packet lost.
    pub connections: usize,
}

impl Losses {
    /// All together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.datagrams + self.of_one_flow + self.requests + self.connections
    }
}

/// Kills and restarts agents `times` times, one after the other around the nodes, the one that
/// announces the first service first, with one core kept busy besides.
///
/// # Errors
/// When an agent does not start again.
pub fn under_load(stage: &Stage, times: usize) -> Result<Losses> {
    let client = stage.lab.client();
    // What is shown is the data path; whether a stale neighbour is answered is the lease's matter.
    client.sysctl("ipv4/neigh/ens3/base_reachable_time_ms", "3600000")?;
    client.forget_neighbours()?;
    client.http_get(stage.web())?;
    stage.lab.load_cores(1)?;

    let interval = Duration::from_millis(5);
    let herd = Herd::open(client, stage.echo(), 100, Duration::from_millis(50))?;
    let flow = UdpProber::start(client, stage.ping(), interval, SourcePort::One)?;
    let flows = UdpProber::start(client, stage.ping(), interval, SourcePort::Fresh)?;
    let web = HttpProber::start(client, stage.web(), interval);
    let first = stage.holder(stage.vip())?.number();
    let nodes = stage.lab.nodes();
    for turn in 0..times {
        let node = &nodes[(usize::from(first) - 1 + turn) % nodes.len()];
        node.kill_agent()?;
        node.start_agent()?;
    }
    let last = Instant::now();
    wait::until(
        Duration::from_secs(10),
        "every connection to talk after all restarts",
        || {
            Ok(herd
                .members()
                .iter()
                .all(|m| m.died.is_some() || m.last_echo > last))
        },
    )?;
    // TCP sends a lost segment again after 200 ms at the earliest.
    let retransmitted = Duration::from_millis(200);
    let hurt = |m: &crate::probe::herd::Member| m.died.is_some() || m.longest_wait > retransmitted;
    let web = web.stop();
    ensure!(
        web.requests.len() > times,
        "too few requests to tell: {}",
        web.requests.len()
    );
    let losses = Losses {
        datagrams: flows.stop().lost(),
        of_one_flow: flow.stop().lost(),
        requests: web.lost().len(),
        connections: herd.close().iter().filter(|m| hurt(m)).count(),
    };
    println!(
        "{times} restarts, {} web requests: lost {losses:?}",
        web.requests.len()
    );
    Ok(losses)
}
