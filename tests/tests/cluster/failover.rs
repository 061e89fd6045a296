//! Nodes die, freeze, leave and are killed, and others answer in their place: the scenarios of plain
//! machines, on one cluster whose nodes come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_tests::figures;
use landfall_tests::lab::node::Node;
use landfall_tests::lab::settings::Lease;
use landfall_tests::lab::wait;
use landfall_tests::lab::wires::Deaf;
use landfall_tests::scenario::bounds::{HARD, HARD_MEDIAN, ONE_WAY, ORDERLY, VIPS};
use landfall_tests::scenario::failover::{self, Takeover};
use landfall_tests::scenario::{Stage, death, partition};
use serde_json::Value;

use crate::{SECOND, access, stage};

/// How often each fault is repeated.
const REPEATS: usize = 5;

/// How often a host without a neighbour entry asks.
const ASK: Duration = Duration::from_millis(5);

/// The node that announces the first service dies, and comes back; `REPEATS` times.
fn deaths(stage: &mut Stage) -> Result<Vec<Takeover>> {
    let mut takeovers = Vec::new();
    for _ in 0..REPEATS {
        let victim = stage.holder(stage.vip())?;
        let index = usize::from(victim.number()) - 1;
        let takeover = failover::watch(stage, stage.vip(), ASK, death::AFTER, || victim.die())?;
        ensure!(
            takeover.successor != victim.host().mac(),
            "nobody took over from {}",
            victim.name()
        );
        takeovers.push(takeover);
        stage.lab.reboot(index)?;
        stage.lab.node(index).start_agent()?;
        every_node_is_in_touch(stage)?;
    }
    Ok(takeovers)
}

/// Waits until each node hears all others, and the services answer.
fn every_node_is_in_touch(stage: &Stage) -> Result<()> {
    let nodes = stage.lab.nodes();
    wait::until_ok(60 * SECOND, "every node to be heard by all", || {
        for node in nodes {
            let members = node.status()?.ground.members;
            let heard = |state: &str| state == "self" || state == "heard";
            let all = members.len() == nodes.len() && members.iter().all(|m| heard(&m.state));
            ensure!(all, "{}: {members:?}", node.name());
        }
        Ok(())
    })?;
    // What follows a start (announcements once more, probes of the way) is over by then.
    std::thread::sleep(5 * SECOND);
    for vip in stage.vips() {
        stage.lab.client().http_get((vip, 80))?;
    }
    Ok(())
}

fn judge(name: &str, takeovers: &[Takeover]) -> Result<()> {
    let gaps: Vec<Duration> = takeovers.iter().map(|t| t.gap).collect();
    let failed: Vec<f64> = takeovers.iter().map(|t| t.after.lost as f64).collect();
    figures::record_times(&format!("{name}.gap"), &gaps)?;
    figures::record(&format!("{name}.failed_after"), "requests", &failed)?;
    for takeover in takeovers {
        ensure!(takeover.duplicates.is_empty(), "{:?}", takeover.duplicates);
        let longest = takeover.gap.max(takeover.arp_gap);
        ensure!(longest <= HARD, "silent for {longest:?}");
    }
    let mut sorted = gaps;
    sorted.sort();
    let median = sorted[sorted.len() / 2];
    ensure!(median <= HARD_MEDIAN, "a median of {median:?}");
    ensure!(
        failed.iter().all(|failed| *failed == 0.0),
        "requests failed after the silence: {failed:?}"
    );
    Ok(())
}

#[test]
fn a_dead_nodes_vips_are_silent_for_a_moment_and_its_endpoints_get_nothing() -> Result<()> {
    let mut stage = stage(Stage::builder())?;
    let takeovers = deaths(&mut stage)?;
    judge("cluster.failover.hard", &takeovers)
}

#[test]
fn a_dead_nodes_vips_move_as_fast_when_the_api_server_is_slow() -> Result<()> {
    let mut stage = stage(Stage::builder())?;
    let control_plane = access(&stage).control_plane();
    control_plane.slow_writes(Duration::from_millis(200));
    // Nodes go by what their last three renewals took.
    std::thread::sleep(5 * SECOND);
    let takeovers = deaths(&mut stage)?;
    judge("cluster.failover.slow_api", &takeovers)
}

#[test]
fn seven_hundred_vips_of_a_dead_node_move_as_fast() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let client = access(&stage).client();
    let add = |objects: Vec<Value>| objects.iter().try_for_each(|o| client.apply(o).map(drop));
    let exodus = death::of_a_crowd(&stage, add, death::AFTER)?;
    figures::record_times("cluster.failover.hard.gap.700_vips", &[exodus.gap])?;
    ensure!(exodus.vips >= VIPS, "only {} VIPs", exodus.vips);
    ensure!(exodus.orphans == 0, "nobody took over: {exodus:?}");
    ensure!(exodus.gap <= HARD, "silent for {:?}", exodus.gap);
    Ok(())
}

#[test]
fn there_is_one_answer_while_the_lan_is_in_parts_or_loses_frames_one_way() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let split = partition::split(&stage)?;
    let duplicates = split.duplicates as f64;
    figures::record(
        "cluster.partition.duplicate_answers",
        "answers",
        &[duplicates],
    )?;
    ensure!(split.duplicates == 0 && split.moves <= 1, "{split:?}");
    ensure!(split.majority_gap.max(split.healed) <= HARD, "{split:?}");
    every_node_is_in_touch(&stage)?;
    for direction in [Deaf::Unheard, Deaf::Unhearing] {
        let takeover = partition::one_way(&stage, direction)?;
        ensure!(takeover.duplicates.is_empty(), "{:?}", takeover.duplicates);
        let longest = takeover.gap.max(takeover.arp_gap);
        ensure!(longest <= ONE_WAY, "{direction:?}: silent for {longest:?}");
        stage.lab.switch().heal()?;
        every_node_is_in_touch(&stage)?;
    }
    Ok(())
}

#[test]
fn agents_that_leave_freeze_or_are_killed_are_succeeded() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let mut gaps = Vec::new();
    for _ in 0..REPEATS {
        let takeover = failover::drain_by_command(&stage)?;
        ensure!(takeover.duplicates.is_empty(), "{:?}", takeover.duplicates);
        every_node_is_in_touch(&stage)?;
        if !takeover.is_disturbed() {
            gaps.push(takeover.gap.max(takeover.arp_gap));
        }
    }
    figures::record_times("cluster.drain.gap", &gaps)?;
    ensure!(gaps.iter().all(|gap| *gap <= ORDERLY), "{gaps:?}");

    let takeover = failover::drain(&stage)?;
    ensure!(takeover.duplicates.is_empty(), "{:?}", takeover.duplicates);
    every_node_is_in_touch(&stage)?;

    let frozen = failover::freeze(&stage, Lease::default().duration)?;
    let duplicates = frozen.duplicates.len() as f64;
    figures::record("cluster.frozen.duplicate_answers", "answers", &[duplicates])?;
    ensure!(frozen.duplicates.is_empty(), "{:?}", frozen.duplicates);
    ensure!(!frozen.answered_thawed, "a thawed agent answered at once");
    every_node_is_in_touch(&stage)?;

    let (victim, takeover) = failover::kill_for_good(&stage, death::AFTER)?;
    let longest = takeover.gap.max(takeover.arp_gap);
    figures::record_times("cluster.killed.gap", &[longest])?;
    ensure!(longest <= HARD, "silent for {longest:?}");
    ensure!(takeover.duplicates.is_empty(), "{:?}", takeover.duplicates);
    victim.start_agent()
}

#[test]
fn connections_outlive_the_death_of_the_announcing_node() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let survival = failover::connections_through_node_death(&stage, 500)?;
    assert_eq!(survival.lost, 0, "{survival:?}");
    Ok(())
}

/// The nodes' view of who allocates.
fn allocator(stage: &Stage) -> Result<&Node> {
    let leases = access(stage)
        .client()
        .list("coordination.k8s.io/v1", "Lease")?;
    let identity = leases
        .iter()
        .find(|lease| lease["metadata"]["name"] == "landfall-allocator")
        .and_then(|lease| lease["spec"]["holderIdentity"].as_str())
        .context("nobody allocates")?
        .to_owned();
    let mut nodes = stage.lab.nodes().iter();
    let node = nodes.find(|node| identity.starts_with(node.name()));
    node.with_context(|| format!("{identity} is no node"))
}

#[test]
fn an_allocator_that_is_killed_or_paused_gives_no_address_twice() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let client = access(&stage).client();
    let pool = serde_json::json!({
        "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
        "metadata": {"name": "many"}, "spec": {"blocks": [{"cidr": "10.31.0.0/24"}]},
    });
    client.apply(&pool)?;
    let create = |range: std::ops::Range<u8>| -> Result<()> {
        for number in range {
            let name = format!("many{number}");
            client.create(&serde_json::json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                    "selector": {"app": "webpod"}, "ports": [{"port": 80}],
                },
            }))?;
        }
        Ok(())
    };
    // Killed in the midst of it.
    let first = allocator(&stage)?;
    create(0..20)?;
    first.kill_agent()?;
    create(20..40)?;
    all_have_one(&stage, 40)?;
    first.start_agent()?;
    // Paused past its lease, another allocates, and it goes on, with more to give out.
    let second = allocator(&stage)?;
    second.freeze_agent()?;
    create(40..50)?;
    all_have_one(&stage, 50)?;
    create(50..60)?;
    second.thaw_agent()?;
    create(60..70)?;
    all_have_one(&stage, 70)
}

/// Waits until as many of the Services `manyN` have an address each, and no two the same.
fn all_have_one(stage: &Stage, services: usize) -> Result<()> {
    let client = access(stage).client();
    wait::until_ok(60 * SECOND, "every service to have an address", || {
        std::thread::sleep(Duration::from_millis(200));
        let all = client.list("v1", "Service")?;
        let many = all.iter().filter(|service| {
            let name = service["metadata"]["name"].as_str();
            name.is_some_and(|name| name.starts_with("many"))
        });
        let ips: Vec<&str> = many
            .filter_map(|one| one["status"]["loadBalancer"]["ingress"][0]["ip"].as_str())
            .collect();
        let different: std::collections::BTreeSet<&str> = ips.iter().copied().collect();
        assert_eq!(
            different.len(),
            ips.len(),
            "an address is given twice: {ips:?}"
        );
        ensure!(ips.len() == services, "{} of {services}", ips.len());
        Ok(())
    })
}
