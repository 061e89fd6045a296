//! Datagram flows stay with their endpoint while it is ready, and clients with theirs where a Service asks for it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::pod::{Pod, PodState};
use landfall_tests::lab::wait;
use landfall_tests::probe::spread::Spread;
use landfall_tests::probe::udp::{SourcePort, UdpProber, UdpRecord};
use landfall_tests::scenario::{Stage, failover};
use serde_json::json;

/// What may lie between an endpoint's change and the first answer of another one.
const BOUND: Duration = Duration::from_millis(100);

/// The pods that answered, one after the other.
fn stations(record: &UdpRecord) -> Vec<&str> {
    let mut stations: Vec<&str> = record.answers().map(|answer| &*answer.pod).collect();
    stations.dedup();
    stations
}

/// Starts a flow and finds the pod that it goes to.
fn flow(stage: &Stage) -> Result<(UdpProber, Arc<Pod>)> {
    let interval = Duration::from_millis(5);
    let prober = UdpProber::start(stage.lab.client(), stage.ping(), interval, SourcePort::One)?;
    std::thread::sleep(Duration::from_millis(300));
    let pods = stage.lab.pods();
    let pod = pods
        .iter()
        .find(|pod| prober.last_pod().as_deref() == Some(pod.name()))
        .context("no pod has answered")?;
    Ok((prober, Arc::clone(pod)))
}

/// Lets `change` happen to the endpoint of a running flow, and gives the time to the first answer of another.
fn moves_on(stage: &Stage, change: impl Fn(&Arc<Pod>) -> Result<()>) -> Result<Duration> {
    let (prober, pod) = flow(stage)?;
    let changed = Instant::now();
    change(&pod)?;
    std::thread::sleep(Duration::from_millis(700));
    let record = prober.stop();
    let stations = stations(&record);
    assert_eq!(stations.len(), 2, "{stations:?}");
    assert_eq!(stations[0], pod.name());
    let first = record.answers().find(|answer| answer.pod != pod.name());
    let moved = first.context("no other pod answered")?.at - changed;
    let gap = record.longest_gap().length;
    println!(
        "moved on after {moved:?}, silent for {gap:?}, {} lost",
        record.lost()
    );
    assert!(gap <= BOUND, "silent for {gap:?}");
    Ok(moved)
}

#[test]
fn a_datagram_flow_keeps_its_endpoint_while_that_is_ready() -> Result<()> {
    let stage = Stage::builder().pods_per_node(2).start()?;
    let interval = Duration::from_millis(5);
    let prober = UdpProber::start(stage.lab.client(), stage.ping(), interval, SourcePort::One)?;
    std::thread::sleep(Duration::from_secs(1));
    // Other endpoints come and go meanwhile.
    let used = prober.last_pod().context("no pod has answered")?;
    let pods = stage.lab.pods();
    let other = pods
        .iter()
        .find(|pod| pod.name() != used)
        .context("a pod")?;
    for state in [
        PodState::Unready,
        PodState::Ready,
        PodState::Terminating,
        PodState::Ready,
    ] {
        stage.lab.list_pod(other, state)?;
        std::thread::sleep(Duration::from_millis(300));
    }
    let record = prober.stop();
    assert_eq!(stations(&record), [used]);
    assert_eq!(record.lost(), 0);
    Ok(())
}

#[test]
fn a_datagram_flow_moves_on_when_its_endpoint_goes() -> Result<()> {
    let mut times = Vec::new();
    let stage = Stage::builder().start()?;
    let lab = &stage.lab;
    for _ in 0..5 {
        times.push(moves_on(&stage, |pod| {
            lab.list_pod(pod, PodState::Unready)
        })?);
        restore(&stage)?;
        times.push(moves_on(&stage, |pod| lab.manifests().remove(&pod.file()))?);
        restore(&stage)?;
    }
    figures::record_times("endpoint.flow_moves", &times)?;
    assert!(times.iter().all(|time| *time <= BOUND), "{times:?}");
    Ok(())
}

/// Makes every pod ready again and waits until all are used, and until a new flow stays where it began: one that begins within
/// milliseconds of a change may go to and fro once (`open.rs`, `docs/decisions/0003`).
fn restore(stage: &Stage) -> Result<()> {
    for pod in stage.lab.pods() {
        stage.lab.list_pod(&pod, PodState::Ready)?;
    }
    wait::until(Duration::from_secs(5), "all pods to be used", || {
        let spread = Spread::measure(stage.lab.client(), stage.web(), 30, 1);
        Ok(spread.pods.len() == stage.lab.pods().len())
    })?;
    wait::until(Duration::from_secs(5), "a new flow to stay", || {
        let (prober, _) = flow(stage)?;
        Ok(stations(&prober.stop()).len() == 1)
    })
}

/// Adds a Service with affinity by client address.
fn sticky(stage: &Stage) -> Result<SocketAddr> {
    let pairs = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let mut object = service("sticky", &pairs.0, &pairs.1, &[("web", "TCP", 80)]);
    object["spec"]["sessionAffinity"] = json!("ClientIP");
    stage.lab.manifests().write_object("sticky.yaml", &object)?;
    let vip: IpAddr = wait::until_ok(Duration::from_secs(10), "an address", || {
        Ok(stage.lab.node(0).vips(&["sticky"])?["sticky"][0])
    })?;
    let web = SocketAddr::new(vip, 80);
    wait::until_ok(Duration::from_secs(10), "an answer", || {
        stage.lab.client().http_get(web)
    })?;
    Ok(web)
}

#[test]
fn a_client_stays_with_its_pod_over_connections_and_nodes_where_a_service_asks_for_it() -> Result<()>
{
    let stage = Stage::builder().pods_per_node(2).start()?;
    let web = sticky(&stage)?;
    let (client, watcher) = (stage.lab.client(), stage.lab.watcher());
    let pods_of = |host| -> Result<BTreeSet<String>> {
        let spread = Spread::measure(host, web, 100, 1);
        assert_eq!(spread.failures, Vec::<String>::new());
        Ok(spread.pods.into_keys().collect())
    };
    let before = pods_of(client)?;
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(pods_of(watcher)?.len(), 1);
    // The address moves to every other node by and by, and the client's pod stays.
    for _ in 0..2 {
        let leaver = stage.holder(web.ip())?;
        leaver.stop_agent()?;
        let successor = stage.holder(web.ip())?;
        assert_ne!(successor.name(), leaver.name());
        assert_eq!(pods_of(client)?, before, "behind {}", successor.name());
        leaver.start_agent()?;
    }
    // Nor does the death of a node that its pod is not on move it.
    let elsewhere = stage.holder(web.ip())?;
    if !stage
        .pods_on(elsewhere)
        .iter()
        .any(|pod| before.contains(pod))
    {
        failover::watch(
            &stage,
            stage.vip(),
            Duration::from_millis(100),
            Duration::from_secs(4),
            || elsewhere.die(),
        )?;
        assert_eq!(pods_of(client)?, before);
    }
    Ok(())
}
