//! Every way to attach, to forward and to answer carries the same services.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_tests::lab::node::Node;
use landfall_tests::lab::query::Complaint;
use landfall_tests::lab::settings::{Common, Lease};
use landfall_tests::lab::switch::Lan;
use landfall_tests::lab::wait;
use landfall_tests::probe::http::HttpProber;
use landfall_tests::probe::spread::Spread;
use landfall_tests::scenario::{Stage, failover, reach, restart};

fn attach(hook: &str) -> Common {
    Common {
        attach: Some(hook.to_owned()),
        ..Common::default()
    }
}

fn snat(hook: &str) -> Common {
    Common {
        mode: Some("snat".to_owned()),
        ..attach(hook)
    }
}

fn stage(settings: Common) -> Result<Stage> {
    Stage::builder().dual_stack().settings(settings).start()
}

/// The way of `hook`, and no other, is taken on every node.
fn attached_by(stage: &Stage, hook: &str) -> Result<()> {
    for node in stage.lab.nodes() {
        wait::until(
            Duration::from_secs(10),
            "the data path to be attached",
            || Ok(node.attached("ens3")?.as_deref() == Some(hook)),
        )?;
        let found = hooks_in_use(node)?;
        ensure!(found == [hook], "{}: {found:?}", node.name());
    }
    Ok(())
}

/// Where ingress is attached on `ens3`, as the kernel's own tools tell.
fn hooks_in_use(node: &Node) -> Result<Vec<&'static str>> {
    let host = node.host();
    let link = host.output("ip -details link show dev ens3")?;
    let filters = host.output("tc filter show dev ens3 ingress")?;
    // The tools of Debian 12 do not know tcx, whose links are pinned.
    let pins = node.pinned()?;
    let tcx = |pin: &PathBuf| pin.to_string_lossy().ends_with("-tc_uplink");
    let found = [
        ("xdp", link.contains(" xdp ")),
        ("xdp-generic", link.contains(" xdpgeneric ")),
        ("tcx", pins.iter().any(tcx)),
        ("clsact", filters.contains("tc_uplink")),
    ];
    let found = found.iter().filter(|(_, there)| *there);
    Ok(found.map(|(hook, _)| *hook).collect())
}

fn everything_is_reached(stage: &Stage) -> Result<()> {
    reach::every_vip_answers(stage, 60)?;
    let unevenness = reach::unevenness(stage, 3_000)?;
    ensure!(unevenness <= 0.1, "{unevenness}");
    reach::transfers_are_intact(stage, 5_000_000)?;
    reach::one_node_answers_for_each_vip(stage)?;
    reach::nodes_and_pods_reach_every_vip(stage, 3)
}

fn everything_is_reached_by(hook: &str) -> Result<()> {
    let stage = stage(attach(hook))?;
    attached_by(&stage, hook)?;
    everything_is_reached(&stage)
}

#[test]
fn services_are_reached_by_xdp_in_the_driver() -> Result<()> {
    everything_is_reached_by("xdp")
}

#[test]
fn services_are_reached_by_generic_xdp() -> Result<()> {
    everything_is_reached_by("xdp-generic")
}

#[test]
fn services_are_reached_by_filters_in_clsact() -> Result<()> {
    everything_is_reached_by("clsact")
}

#[test]
fn restarts_lose_nothing_in_clsact() -> Result<()> {
    let stage = Stage::builder().settings(attach("clsact")).start()?;
    assert_eq!(restart::under_load(&stage, 6)?, restart::Losses::default());
    attached_by(&stage, "clsact")
}

#[test]
fn restarts_lose_nothing_by_xdp_in_the_driver() -> Result<()> {
    let stage = Stage::builder().settings(attach("xdp")).start()?;
    assert_eq!(restart::under_load(&stage, 6)?, restart::Losses::default());
    attached_by(&stage, "xdp")
}

#[test]
fn an_agent_with_another_setting_replaces_what_its_predecessor_attached() -> Result<()> {
    let stage = stage(attach("tcx"))?;
    for hook in [
        "clsact",
        "xdp",
        "xdp-generic",
        "tcx",
        "xdp-generic",
        "xdp",
        "clsact",
        "tcx",
    ] {
        let web = HttpProber::start(stage.lab.client(), stage.web(), Duration::from_millis(5));
        for node in stage.lab.nodes() {
            node.kill_agent()?;
            node.configure(&attach(hook))?;
            node.start_agent()?;
        }
        let lost = web.stop().lost().len();
        // One kind of XDP must go before the other can come; every other change is made before it is broken.
        println!("{hook}: {lost} requests had a packet lost");
        attached_by(&stage, hook)?;
        reach::every_vip_answers(&stage, 20)?;
    }
    Ok(())
}

#[test]
fn cleaning_up_leaves_nothing_attached_by_any_way() -> Result<()> {
    for hook in ["xdp", "xdp-generic", "tcx", "clsact"] {
        let stage = Stage::builder().settings(attach(hook)).start()?;
        for node in stage.lab.nodes() {
            node.stop_agent()?;
            assert_eq!(hooks_in_use(node)?, [hook]);
            node.landfall("cleanup")?;
            assert_eq!(hooks_in_use(node)?, Vec::<&str>::new());
            let host = node.host();
            let egress = host.output("tc filter show dev ens3 egress")?;
            assert!(!egress.contains("tc_restore"), "{egress}");
            assert!(node.pinned()?.is_empty(), "{:?}", node.pinned()?);
        }
    }
    Ok(())
}

fn everything_is_reached_by_translation(hook: &str) -> Result<()> {
    let stage = stage(snat(hook))?;
    // Nobody has talked to anybody: the first packet of each way must find its own neighbour.
    for node in stage.lab.nodes() {
        node.host().forget_neighbours()?;
    }
    for vip in stage.vips() {
        let spread = Spread::measure(stage.lab.client(), (vip, 80).into(), 30, 1);
        ensure!(spread.failures.is_empty(), "{vip}: {:?}", spread.failures);
    }
    reach::every_vip_answers_by_translation(&stage, 60)?;
    reach::transfers_are_intact(&stage, 5_000_000)?;
    reach::one_node_answers_for_each_vip(&stage)?;
    reach::nodes_and_pods_reach_every_vip(&stage, 3)?;
    let spread = Spread::measure(stage.lab.client(), stage.web(), 3_000, 4);
    ensure!(spread.failures.is_empty(), "{:?}", spread.failures.first());
    let unevenness = spread.unevenness(stage.lab.pods().len());
    ensure!(unevenness <= 0.1, "{:?}", spread.pods);
    Ok(())
}

#[test]
fn translated_connections_reach_pods_by_xdp_in_the_driver() -> Result<()> {
    everything_is_reached_by_translation("xdp")
}

#[test]
fn translated_connections_reach_pods_by_tcx() -> Result<()> {
    everything_is_reached_by_translation("tcx")
}

#[test]
fn translated_connections_reach_pods_by_filters_in_clsact() -> Result<()> {
    everything_is_reached_by_translation("clsact")
}

fn by_socket() -> Common {
    Common {
        responder: Some("socket".to_owned()),
        ..Common::default()
    }
}

#[test]
fn one_socket_answers_for_each_vip_where_the_kernel_shall_not() -> Result<()> {
    let stage = stage(by_socket())?;
    reach::one_node_answers_for_each_vip(&stage)?;
    reach::every_vip_answers(&stage, 60)?;
    for node in stage.lab.nodes() {
        let own = node.announcements()?.into_iter();
        for announcement in own.filter(|announcement| announcement.node == node.name()) {
            assert_eq!(announcement.responder.as_deref(), Some("socket"));
        }
    }
    Ok(())
}

#[test]
fn a_frozen_agents_socket_never_answers_beside_its_successor() -> Result<()> {
    let stage = Stage::builder().settings(by_socket()).start()?;
    let seen = failover::freeze(&stage, Lease::default().duration)?;
    assert!(seen.duplicates.is_empty(), "{:?}", seen.duplicates);
    assert!(!seen.answered_thawed);
    Ok(())
}

#[test]
fn vips_answered_by_sockets_move_in_time() -> Result<()> {
    let bound = Duration::from_millis(3500);
    let stage = Stage::builder().settings(by_socket()).start()?;
    let drained = failover::drain(&stage)?;
    assert_eq!(drained.duplicates, []);
    assert!(drained.gap <= Duration::from_millis(50), "{drained:?}");
    let death = failover::node_death(&stage, bound + Duration::from_secs(1))?;
    assert_eq!(death.duplicates, []);
    assert!(death.gap.max(death.arp_gap) <= bound, "{death:?}");
    Ok(())
}

/// What the switch drops of what a machine sends on the first LAN: packets from clients' addresses, as a port does that knows
/// which addresses the machine may use.
fn port_security(stage: &Stage, machine: &str, on: bool) -> Result<()> {
    let port = Lan::First.port(machine);
    let rule = if on {
        format!(
            "iifname \"{port}\" ip saddr {{ 10.10.200.100, 10.10.200.101, 198.18.0.0/15 }} drop;"
        )
    } else {
        String::new()
    };
    stage.lab.switch().host().feed(
        "nft -f -",
        &format!(
            "table bridge secured\ndelete table bridge secured\ntable bridge secured {{\n\
             chain port {{ type filter hook prerouting priority 0; {rule} }}\n}}\n"
        ),
    )
}

/// What a node says of packets that do not get through.
fn filtered(node: &Node) -> Result<Option<Complaint>> {
    node.complaint(|c| c.problem.contains("do not get through"))
}

fn forwarding(node: &Node) -> Result<String> {
    let status = node.landfall_json("status")?;
    let interfaces = status["datapath"]["interfaces"].as_array();
    let mut ens3 = interfaces.into_iter().flatten();
    let ens3 = ens3.find(|interface| interface["name"] == "ens3");
    let ens3 = ens3.context("status shows ens3")?;
    Ok(ens3["forwarding"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn where_the_switch_drops_clients_addresses_nodes_translate_until_it_lets_them_through()
-> Result<()> {
    let patience = Duration::from_secs(30);
    let stage = Stage::builder().start()?;
    // The addresses of clients come through: nobody says anything.
    for node in stage.lab.nodes() {
        assert_eq!(filtered(node)?, None);
        assert_eq!(forwarding(node)?, "l2-dsr");
    }
    let secured = stage.holder(stage.vip())?;
    port_security(&stage, secured.name(), true)?;
    let complaint = wait::until_ok(patience, "the node to tell", || {
        filtered(secured)?.context("nothing is said")
    })?;
    println!("{complaint}");
    wait::until(patience, "translation to both others", || {
        Ok(forwarding(secured)? == "snat")
    })?;
    for node in stage.lab.nodes() {
        if node.name() != secured.name() {
            assert_eq!(forwarding(node)?, "l2-dsr", "{}", node.name());
        }
    }
    assert_eq!(stage.holder(stage.vip())?.name(), secured.name());
    let spread = Spread::measure(stage.lab.client(), stage.web(), 300, 1);
    ensure!(spread.failures.is_empty(), "{:?}", spread.failures.first());
    assert_eq!(spread.pods.len(), stage.lab.pods().len());

    port_security(&stage, secured.name(), false)?;
    wait::until(patience, "clients' addresses to be trusted again", || {
        Ok(filtered(secured)?.is_none() && forwarding(secured)? == "l2-dsr")
    })?;
    let spread = Spread::measure(stage.lab.client(), stage.web(), 300, 1);
    ensure!(spread.failures.is_empty(), "{:?}", spread.failures.first());
    assert_eq!(spread.foreign_clients, 0);
    Ok(())
}
