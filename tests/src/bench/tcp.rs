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

/// How long each rate is measured, and how often both are, in turn.
const SPAN: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;

/// Request and response, in bytes.
const MESSAGE: usize = 64;

pub(super) fn measure() -> Result<Vec<Row>> {
    let stage = Stage::builder().start()?;
    let holder = stage.holder(stage.vip())?.name();
    let pods = stage.lab.pods();
    for node in stage.lab.nodes() {
        let (subnet, via) = (node.number(), Lan::First.ipv4(10 + node.number()));
        stage
            .lab
            .client()
            .output(&format!("ip route add 10.244.{subnet}.0/24 via {via}"))?;
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
    let direct = exchanges((pod.host().ipv4(), 7000).into(), pod.name())?;
    Ok(exchanges(stage.echo(), pod.name())? / direct)
}

/// New connections with a request each, through the VIP and directly to all pods in turn.
fn connect(stage: &Stage, pods: &[Arc<Pod>]) -> Result<f64> {
    let direct: Vec<SocketAddr> = pods
        .iter()
        .map(|pod| (pod.host().ipv4(), 80).into())
        .collect();
    let direct = requests(&direct)?;
    Ok(requests(&[stage.web()])? / direct)
}

/// Exchanges a second over a connection that reaches the pod `name`.
fn exchanges(target: SocketAddr, name: &str) -> Result<f64> {
    for _ in 0..100 {
        let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = String::new();
        BufReader::new(&stream).read_line(&mut greeting)?;
        if !greeting.starts_with(&format!("{name} ")) {
            continue;
        }
        let mut message = [7; MESSAGE];
        let (begun, mut count) = (Instant::now(), 0u32);
        while begun.elapsed() < SPAN {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
            count += 1;
        }
        return Ok(f64::from(count) / begun.elapsed().as_secs_f64());
    }
    anyhow::bail!("none of 100 connections to {target} reached {name}")
}

fn requests(targets: &[SocketAddr]) -> Result<f64> {
    let (begun, mut count) = (Instant::now(), 0u32);
    for target in targets.iter().cycle() {
        if begun.elapsed() >= SPAN {
            break;
        }
        let answer = web::get(*target, PATIENCE)?;
        ensure!(
            answer.status == 200,
            "status {} from {target}",
            answer.status
        );
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}
