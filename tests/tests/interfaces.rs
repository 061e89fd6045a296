//! Interfaces come, go and lose their carrier while agents run.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::node::Node;
use landfall_tests::lab::query::Complaint;
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
        "failover.uplink.gap",
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

/// What the switch drops of what a machine sends on the first LAN; nothing where the rule is empty.
fn switch_drops(stage: &Stage, machine: &str, rule: &str) -> Result<()> {
    let rule = if rule.is_empty() {
        String::new()
    } else {
        format!("iifname \"{}\" {rule} drop;", Lan::First.port(machine))
    };
    stage.lab.switch().host().feed(
        "nft -f -",
        &format!(
            "table bridge eaten\ndelete table bridge eaten\ntable bridge eaten {{\n\
             chain port {{ type filter hook prerouting priority 0; {rule} }}\n}}\n"
        ),
    )
}

/// What a node says of its own interface.
fn unheard(node: &Node) -> Result<Option<Complaint>> {
    node.complaint(|c| c.object == "interface ens3" && c.problem.contains("answers"))
}

/// The services, of `default`, that a node announces.
fn announced_services(node: &Node) -> Result<Vec<String>> {
    let own = node.announcements()?.into_iter();
    let own = own.filter(|entry| entry.node == node.name());
    let names = own.flat_map(|entry| entry.services);
    let names: Vec<String> = names.map(|name| name.replace("default/", "")).collect();
    ensure!(!names.is_empty(), "{} announces nothing", node.name());
    Ok(names)
}

/// A service that `loser` had says there that it went to another node and why, and on its heir how it came.
fn the_service_tells(stage: &Stage, loser: &Node, name: &str) -> Result<()> {
    wait::until_ok(PATIENCE, "the service to tell of its move", || {
        let told = loser.service(name)?;
        let event = told.event("SelfProofFailed")?;
        ensure!(event.kind == "Warning", "{event:?}");
        ensure!(event.message.contains("on ens3"), "{event:?}");
        let condition = told.condition("Announced")?;
        let (status, reason) = (condition.status.as_str(), condition.reason.as_str());
        ensure!((status, reason) == ("True", "elsewhere"), "{condition:?}");
        ensure!(condition.message.contains("do not hear"), "{condition:?}");
        let heir =
            stage.lab.nodes().iter().find(|node| {
                node.name() != loser.name() && condition.message.starts_with(node.name())
            });
        let heir = heir.with_context(|| format!("no heir in {condition:?}"))?;
        let told = heir.service(name)?;
        ensure!(
            told.condition("Announced")?.reason == "announcing",
            "{told:?}"
        );
        let event = told.event("Announcing")?;
        ensure!(event.message.contains("(unable)"), "{event:?}");
        let came = heir.history()?.into_iter().find(|change| {
            change.cause == "unable" && change.from.as_deref() == Some(loser.name())
        });
        came.map(drop).context("the heir's history does not tell")
    })
}

#[test]
fn a_node_whose_answers_its_switch_port_eats_leaves_its_vips_to_others_and_comes_back() -> Result<()>
{
    let stage = Stage::builder().start()?;
    let loser = stage.holder(stage.vip())?;
    let lost = announced_services(loser)?;
    let begun = Instant::now();
    switch_drops(&stage, loser.name(), "arp operation reply")?;
    // A client that asks is answered by another node.
    wait::until(PATIENCE, "another node to answer", || {
        Ok(stage.holder(stage.vip())?.name() != loser.name())
    })?;
    let took = begun.elapsed();
    figures::record_times("proof.resigned", &[took])?;
    println!("another node answered after {took:?}");
    ensure!(took <= Duration::from_secs(8), "{took:?}");
    let complaint = wait::until_ok(PATIENCE, "a word of it", || {
        unheard(loser)?.context("nothing is said")
    })?;
    println!("{complaint}");
    let denied = loser.metric("landfall_self_proofs_total{result=\"wire_denied\"}")?;
    ensure!(denied >= 1.0, "{denied}");
    for name in &lost {
        the_service_tells(&stage, loser, name)?;
    }
    reach::every_vip_answers(&stage, 30)?;

    switch_drops(&stage, loser.name(), "")?;
    let patience = Duration::from_secs(60);
    wait::until(patience, "the node to take part again", || {
        let own = loser.announcements()?.into_iter();
        let announces = own.filter(|a| a.node == loser.name()).count() > 0;
        Ok(unheard(loser)?.is_none() && announces)
    })?;
    reach::every_vip_answers(&stage, 30)
}

#[test]
fn alone_on_its_lan_a_node_proves_nothing_and_gives_nothing_up() -> Result<()> {
    let stage = Stage::builder().start()?;
    let holder = stage.holder(stage.vip())?;
    for node in stage.lab.nodes() {
        if node.name() != holder.name() {
            node.stop_agent()?;
        }
    }
    switch_drops(&stage, holder.name(), "arp operation reply")?;
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(unheard(holder)?, None);
    switch_drops(&stage, holder.name(), "")?;
    reach::every_vip_answers(&stage, 30)
}

/// How often an agent has said that a node does not echo.
fn found_dead(node: &Node) -> Result<usize> {
    let log = std::fs::read_to_string(&node.paths().log)?;
    Ok(log.matches("node does not echo").count())
}

#[test]
fn a_dead_node_is_left_out_in_a_third_of_a_second_and_a_busy_machine_makes_nobody_dead()
-> Result<()> {
    let stage = Stage::builder().start()?;
    let nodes = stage.lab.nodes();
    let before = nodes.iter().map(found_dead).collect::<Result<Vec<_>>>()?;
    stage.lab.load_cores(2)?;
    std::thread::sleep(Duration::from_secs(20));
    let after = nodes.iter().map(found_dead).collect::<Result<Vec<_>>>()?;
    assert_eq!(before, after, "false alarms");
    let [dying, witness, ..] = nodes else {
        anyhow::bail!("a lab of three nodes");
    };
    let begun = Instant::now();
    dying.set_carrier(Lan::First, false)?;
    wait::until(PATIENCE, "the node to be found dead", || {
        Ok(found_dead(witness)? > after[1])
    })?;
    let took = begun.elapsed();
    figures::record_times("liveness.dead", &[took])?;
    println!("found dead after {took:?}");
    // Two busy cores may hold this test's own eyes up as well.
    ensure!(took <= Duration::from_millis(500), "{took:?}");
    Ok(())
}
