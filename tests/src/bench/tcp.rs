//! TCP request/response and connect rate through a virtual address, as a share of the rate straight
//! to the pod: 1 is no cost at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Row;
use crate::figures;
use crate::lab::pod::Pod;
use crate::lab::switch::Lan;
use crate::probe::web::{self, PATIENCE};
use crate::scenario::Stage;

/// How long either way is driven at a stretch: short, so that whatever else the machine does weighs on
/// both alike.
const STRETCH: Duration = Duration::from_millis(25);
/// Stretches of each way in a round: a second.
const STRETCHES: usize = 40;
const ROUNDS: usize = 10;

/// The client's own address for connections straight to pods. With one address for both ways, a pod
/// would find the ports of one way in TIME_WAIT from the other, with sequence numbers that the client
/// has not continued, and answer an acknowledgement first (RFC 9293, 3.10.7.4): the rates would tell of
/// that.
const DIRECT: u8 = 150;

/// Request and response, in bytes.
const MESSAGE: usize = 64;

pub(super) fn measure() -> Result<Vec<Row>> {
    let stage = Stage::builder().start()?;
    let holder = stage.holder(stage.vip())?.name();
    let pods = stage.lab.pods();
    let (client, source) = (stage.lab.client(), Lan::First.ipv4(DIRECT));
    client.output(&format!(
        "ip address add {source}/24 dev {}",
        Lan::First.interface()
    ))?;
    for node in stage.lab.nodes() {
        let (subnet, via) = (node.number(), Lan::First.ipv4(10 + node.number()));
        client.output(&format!(
            "ip route add 10.244.{subnet}.0/24 via {via} src {source}"
        ))?;
    }
    let local = pods
        .iter()
        .find(|pod| pod.node() == holder)
        .context("no pod at the holder")?;
    let remote = pods
        .iter()
        .find(|pod| pod.node() != holder)
        .context("no pod elsewhere")?;
    Ok(vec![
        row("tcp.rr.local", &stage, || request_response(&stage, local))?,
        row("tcp.rr.dsr", &stage, || request_response(&stage, remote))?,
        row("tcp.connect", &stage, || connect(&stage, &pods))?,
    ])
}

fn row(
    name: &'static str,
    stage: &Stage,
    mut ratio: impl FnMut() -> Result<f64> + Send,
) -> Result<Row> {
    let ratios: Result<Vec<f64>> = stage
        .lab
        .client()
        .run(|| (0..ROUNDS).map(|_| ratio()).collect());
    Ok(Row {
        name,
        figure: figures::record(name, "direct", &ratios?)?,
    })
}

/// Exchanges on one connection to one pod, through the VIP and directly.
fn request_response(stage: &Stage, pod: &Arc<Pod>) -> Result<f64> {
    let mut direct = connection((pod.host().ipv4(), 7000).into(), pod.name())?;
    let mut through = connection(stage.echo(), pod.name())?;
    share(|| exchange(&mut direct), || exchange(&mut through))
}

/// New connections with a request each, through the VIP and directly to all pods in turn.
fn connect(stage: &Stage, pods: &[Arc<Pod>]) -> Result<f64> {
    let mut direct = pods
        .iter()
        .map(|pod| (pod.host().ipv4(), 80).into())
        .cycle();
    share(
        || request(direct.next().context("no pods")?),
        || request(stage.web()),
    )
}

/// How often `through` can be done in the time that `direct` is done once, both driven in turn.
fn share(
    mut direct: impl FnMut() -> Result<()>,
    mut through: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let (mut directly, mut thus) = (Rate::default(), Rate::default());
    for _ in 0..STRETCHES {
        directly.drive(&mut direct)?;
        thus.drive(&mut through)?;
    }
    Ok(thus.per_second() / directly.per_second())
}

/// What was done, in what time.
#[derive(Debug, Default)]
struct Rate {
    count: u32,
    time: Duration,
}

impl Rate {
    fn drive(&mut self, mut action: impl FnMut() -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < STRETCH {
            action()?;
            self.count += 1;
        }
        self.time += begun.elapsed();
        Ok(())
    }

    fn per_second(&self) -> f64 {
        f64::from(self.count) / self.time.as_secs_f64()
    }
}

/// A connection that reaches the pod `name`.
fn connection(target: SocketAddr, name: &str) -> Result<TcpStream> {
    for _ in 0..100 {
        let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = String::new();
        BufReader::new(&stream).read_line(&mut greeting)?;
        if greeting.starts_with(&format!("{name} ")) {
            return Ok(stream);
        }
    }
    anyhow::bail!("none of 100 connections to {target} reached {name}")
}

fn exchange(stream: &mut TcpStream) -> Result<()> {
    let mut message = [7; MESSAGE];
    stream.write_all(&message)?;
    Ok(stream.read_exact(&mut message)?)
}

fn request(target: SocketAddr) -> Result<()> {
    let status = web::get(target, PATIENCE)?.status;
    ensure!(status == 200, "status {status} from {target}");
    Ok(())
}
