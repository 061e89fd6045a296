//! Interfaces come, go and lose their carrier while agents run.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::node::Node;
use landfall_tests::lab::switch::Lan;
use landfall_tests::lab::wait;
use landfall_tests::probe::spread::Spread;
use landfall_tests::scenario::{Stage, failover, reach};
use serde_json::json;

/// The bound on a silence with leases of 3 s.
const BOUND: Duration = Duration::from_millis(3500);

/// How long something may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every pod is used, and one node answers for each address.
fn back_in_service(stage: &Stage) -> Result<()> {
    let client = stage.lab.client();
    wait::until(PATIENCE, "every pod to be used again", || {
        let spread = Spread::measure(client, stage.web(), 60, 1);
        Ok(spread.failures.is_empty() && spread.pods.len() == stage.lab.pods().len())
    })?;
    for vip in stage.vips() {
        stage.holder(vip)?;
    }
    reach::every_vip_answers(stage, 60)
}

/// Lets the announcing node lose its uplink by `lose`, and get it back by `regain`.
fn without_uplink(
    name: &str,
    lose: impl Fn(&Node) -> Result<()>,
    regain: impl Fn(&Node) -> Result<()>,
) -> Result<()> {
    let stage = Stage::builder().start()?;
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let cut_off = stage.holder(stage.vip())?;
        let ask = Duration::from_millis(50);
        let takeover = failover::watch(
            &stage,
            stage.vip(),
            ask,
            BOUND + Duration::from_secs(1),
            || lose(cut_off),
        )?;
        assert_ne!(takeover.successor, cut_off.host().mac());
        assert_eq!(takeover.duplicates, []);
        gaps.push(takeover.gap.max(takeover.arp_gap));
        // What it does without its uplink is nobody's harm.
        assert!(cut_off.agent_runs()?);
        regain(cut_off)?;
        back_in_service(&stage)?;
    }
    figures::record_times(name, &gaps)?;
    assert!(gaps.iter().all(|gap| *gap <= BOUND), "{gaps:?}");
    Ok(())
}

#[test]
fn vips_move_off_a_node_without_carrier_and_its_pods_come_back_with_it() -> Result<()> {
    without_uplink(
        "failover.carrier.gap",
        |node| node.set_carrier(Lan::First, false),
        |node| node.set_carrier(Lan::First, true),
    )
}

#[test]
fn vips_move_off_a_node_whose_uplink_is_set_down_and_its_pods_come_back_with_it() -> Result<()> {
    without_uplink(
        "failover.link_down.gap",
        |node| node.host().set_link("ens3", false),
        |node| node.host().set_link("ens3", true),
    )
}

/// Adds a Service whose address lies on the second LAN and is announced on `ens4` alone.
fn on_the_second_lan(stage: &Stage, address: IpAddr) -> Result<()> {
    let manifests = stage.lab.manifests();
    manifests.write_object(
        "second-pool.yaml",
        &json!({
            "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
            "metadata": {"name": "second-pool"},
            "spec": {
                "blocks": [{"cidr": "10.10.201.240/29"}],
                "serviceSelector": {"matchLabels": {"lan": "second"}},
            },
        }),
    )?;
    manifests.write_object(
        "second-policy.yaml",
        &json!({
            "apiVersion": "landfall.dev/v1alpha1", "kind": "L2AnnouncementPolicy",
            "metadata": {"name": "second-policy"},
            "spec": {
                "serviceSelector": {"matchLabels": {"lan": "second"}},
                "interfaces": ["^ens4$"], "loadBalancerIPs": true,
            },
        }),
    )?;
    let (second, app) = (labels(&[("lan", "second")]), labels(&[("app", "webpod")]));
    let mut object = service("second", &second, &app, &[("web", "TCP", 80)]);
    object["metadata"]["annotations"] = json!({"landfall.dev/ips": address.to_string()});
    manifests.write_object("second.yaml", &object)?;
    wait::until_ok(PATIENCE, "an answer on the second LAN", || {
        stage.lab.client().http_get((address, 80))
    })?;
    Ok(())
}

/// The node that announces an address, as agents tell.
fn announcer(stage: &Stage, address: IpAddr) -> Result<&Node> {
    let nodes = stage.lab.nodes();
    wait::until_ok(PATIENCE, "an announcer", || {
        for node in nodes {
            let own = node.announcements()?.into_iter();
            let mut here = own.filter(|a| a.address == address && a.node == node.name());
            if let Some(announcement) = here.next() {
                let interface = announcement.interface.as_deref();
                ensure!(interface == Some("ens4"), "{announcement:?}");
                return Ok(node);
            }
        }
        anyhow::bail!("nobody announces {address}")
    })
}

#[test]
fn an_interface_that_comes_while_the_agent_runs_is_attached_and_announced_on() -> Result<()> {
    let stage = Stage::builder().second_lan().start()?;
    let address: IpAddr = "10.10.201.242".parse()?;
    for node in stage.lab.nodes() {
        node.unplug(Lan::Second)?;
        wait::until(PATIENCE, "the interface to be forgotten", || {
            Ok(node.attached("ens4")?.is_none())
        })?;
    }
    assert!(
        on_the_second_lan_soon(&stage, address).is_err(),
        "nobody is on that LAN"
    );
    for node in stage.lab.nodes() {
        node.plug(Lan::Second)?;
        wait::until(PATIENCE, "the new interface to be attached", || {
            Ok(node.attached("ens4")?.is_some())
        })?;
    }
    on_the_second_lan(&stage, address)?;
    announcer(&stage, address)?;
    reach::every_vip_answers(&stage, 30)
}

/// Whether the client is answered there within a second.
fn on_the_second_lan_soon(stage: &Stage, address: IpAddr) -> Result<()> {
    let client = stage.lab.client();
    client
        .ping(address, 8, Duration::from_secs(1))
        .map(drop)
        .context("nobody answers")
}

#[test]
fn a_policy_announces_on_the_second_lan_alone() -> Result<()> {
    let stage = Stage::builder().second_lan().start()?;
    let address: IpAddr = "10.10.201.241".parse()?;
    on_the_second_lan(&stage, address)?;
    let client = stage.lab.client();
    let spread = Spread::measure(client, (address, 80).into(), 300, 1);
    assert_eq!(spread.failures, Vec::<String>::new());
    assert_eq!(spread.foreign_clients, 0);
    assert_eq!(
        spread.pods.len(),
        stage.lab.pods().len(),
        "{:?}",
        spread.pods
    );
    // The client's neighbour there is the announcing node's second interface.
    let node = announcer(&stage, address)?;
    let neighbours = client.output("ip neigh show dev ens4")?;
    let mac = Lan::Second.mac(10 + node.number()).to_string();
    let entry = neighbours
        .lines()
        .find(|line| line.starts_with("10.10.201.241 "));
    assert!(
        entry.is_some_and(|line| line.contains(&mac)),
        "{mac} in {neighbours}"
    );
    Ok(())
}

#[test]
fn vips_of_a_lan_move_off_the_node_that_loses_its_interface_there() -> Result<()> {
    let stage = Stage::builder().second_lan().start()?;
    let address: IpAddr = "10.10.201.243".parse()?;
    // Pods on a node without an interface there answer by way of the router.
    stage.lab.switch().host().sysctl("ipv4/ip_forward", "1")?;
    on_the_second_lan(&stage, address)?;
    let loser = announcer(&stage, address)?;
    loser.unplug(Lan::Second)?;
    wait::until(PATIENCE, "another node to announce", || {
        Ok(announcer(&stage, address)?.name() != loser.name())
    })?;
    stage.lab.client().output("ip neigh flush dev ens4")?;
    let spread = Spread::measure(stage.lab.client(), (address, 80).into(), 100, 1);
    assert_eq!(spread.failures, Vec::<String>::new());
    reach::every_vip_answers(&stage, 30)
}
