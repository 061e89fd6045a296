//! The API server goes, and everything that was announced stays.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::{Component, ControlPlane, Resource};
use landfall_tests::figures;
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::switch::{Lan, Port};
use landfall_tests::lab::wait;
use landfall_tests::probe::neighbour::{LanCapture, NeighbourProber};
use landfall_tests::probe::web;
use landfall_tests::scenario::bounds::{DARK, HARD};
use landfall_tests::scenario::{SERVICES, Stage, dark};

use crate::{SECOND, access, stage};

/// How long everything may take to be as ever once the API server is back.
const HEALED: Duration = Duration::from_secs(5);

/// Controllers lose their own leases in an outage: they end, and are started anew afterwards. One
/// that went on would take nodes for dead that it has not heard of for so long.
const CONTROLLERS: [Component; 2] = [Component::ControllerManager, Component::Scheduler];

/// Stops the API server and what it keeps objects in, or starts them.
fn stopped(stage: &Stage, reachable: bool) -> Result<()> {
    let control_plane = access(stage).control_plane();
    if !reachable {
        for component in CONTROLLERS {
            control_plane.kill(component)?;
        }
        control_plane.kill(Component::ApiServer)?;
        return control_plane.kill(Component::Etcd);
    }
    control_plane.start(Component::Etcd)?;
    control_plane.start(Component::ApiServer)?;
    control_plane.wait_ready()?;
    restart_controllers(control_plane)
}

/// Cuts the API server's machine off: nobody is told that a connection is over.
fn cut_off(stage: &Stage, reachable: bool) -> Result<()> {
    let control_plane = access(stage).control_plane();
    let (switch, machine) = (stage.lab.switch(), control_plane.host().name());
    if !reachable {
        for component in CONTROLLERS {
            control_plane.kill(component)?;
        }
        return switch.set_port(machine, Lan::First, Port::Cut);
    }
    switch.set_port(machine, Lan::First, Port::Open)?;
    restart_controllers(control_plane)
}

fn restart_controllers(control_plane: &ControlPlane) -> Result<()> {
    let mut all = CONTROLLERS.into_iter();
    all.try_for_each(|component| control_plane.start(component))
}

/// Creates a Service and gives the time until it has an address in its status and answers.
fn serve_one_more(stage: &Stage) -> Result<Duration> {
    let begun = Instant::now();
    let (client, patience) = (access(stage).client(), 60 * SECOND);
    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let one_more = service("one-more", &blue, &app, &[("web", "TCP", 80)]);
    wait::until_ok(patience, "a Service to be created", || {
        client.apply(&one_more)
    })?;
    let ip: std::net::IpAddr = wait::until_ok(patience, "an address", || {
        std::thread::sleep(Duration::from_millis(20));
        let service = client.get(&Resource::service("one-more"))?;
        let ip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
        Ok(ip.context("none yet")?.parse()?)
    })?;
    stage.lab.client().run(|| {
        wait::until_ok(patience, "the new service", || {
            web::get((ip, 80).into(), Duration::from_secs(2))
        })
    })?;
    Ok(begun.elapsed())
}

fn outage(name: &str, set_reachable: dark::Switch<'_>) -> Result<()> {
    // The pods of a node that reboots come back with the API server only.
    let mut stage = stage(Stage::builder().bare_node(dark::REBOOTED))?;
    let healed = Cell::new(None);
    let seen = dark::restart_all_while(&mut stage, DARK, &|stage, reachable| {
        set_reachable(stage, reachable)?;
        if reachable {
            healed.set(Some(serve_one_more(stage)?));
        }
        Ok(())
    })?;
    let healed = healed.take().context("it was given back")?;
    figures::record_times(&format!("cluster.{name}.arp_silence"), &[seen.gap])?;
    figures::record_times(&format!("cluster.{name}.healed"), &[healed])?;
    ensure!(seen.duplicates == 0, "{seen:?}");
    ensure!(seen.addresses_kept && seen.holders_kept, "{seen:?}");
    ensure!(seen.gap <= HARD, "{seen:?}");
    ensure!(healed <= HEALED, "healed after {healed:?}");
    Ok(())
}

#[test]
fn nothing_moves_while_the_api_server_is_stopped_and_all_agents_restart() -> Result<()> {
    outage("api_outage", &stopped)
}

#[test]
fn nothing_moves_while_the_api_server_is_cut_off_and_all_agents_restart() -> Result<()> {
    outage("api_cut_off", &cut_off)
}

/// How long things that must not move are watched.
const WATCHED: Duration = Duration::from_secs(10);

#[test]
fn nothing_moves_when_etcd_restarts_and_watches_are_cut() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let (lab, vips) = (&stage.lab, stage.vips());
    let control_plane = access(&stage).control_plane();
    let before = lab.node(0).vips(&SERVICES)?;
    let capture = LanCapture::start(lab.switch())?;
    let asker = NeighbourProber::start(lab.watcher(), &vips, Duration::from_millis(10))?;
    std::thread::sleep(SECOND);
    let mut cut = 0;
    for node in lab.nodes() {
        cut += control_plane.reset_connections(node.host().ipv4())?;
    }
    println!("{cut} connections were cut");
    ensure!(cut >= lab.nodes().len(), "only {cut} connections were cut");
    std::thread::sleep(WATCHED);
    control_plane.kill(Component::Etcd)?;
    std::thread::sleep(2 * SECOND);
    control_plane.start(Component::Etcd)?;
    std::thread::sleep(WATCHED);
    control_plane.wait_ready()?;
    let healed = serve_one_more(&stage)?;
    let asked = asker.stop();
    for vip in &vips {
        assert_eq!(asked.moves(*vip), 0, "{vip} has moved");
        let gap = asked.longest_gap(*vip).length;
        ensure!(gap <= HARD, "{vip} was silent for {gap:?}");
    }
    assert_eq!(capture.stop().duplicates(SECOND), []);
    assert_eq!(lab.node(1).vips(&SERVICES)?, before);
    ensure!(healed <= HEALED, "healed after {healed:?}");
    Ok(())
}

/// How far a node's clock is off, in seconds.
const OFF: i32 = 30;

#[test]
fn nothing_moves_when_the_clock_of_one_node_is_off() -> Result<()> {
    let stage = stage(Stage::builder())?;
    let (lab, vips) = (&stage.lab, stage.vips());
    let before = lab.node(0).vips(&SERVICES)?;
    for offset in [OFF, -OFF] {
        // The allocator's clock is one that counts; so is any holder's.
        let node = lab.node(0);
        node.stop_agent()?;
        node.start_agent_at(offset)?;
        // Half a minute later its share comes back to it in order, and then all is at rest.
        std::thread::sleep(5 * WATCHED);
        let capture = LanCapture::start(lab.switch())?;
        let asker = NeighbourProber::start(lab.watcher(), &vips, Duration::from_millis(10))?;
        std::thread::sleep(2 * WATCHED);
        let asked = asker.stop();
        for vip in &vips {
            assert_eq!(
                asked.moves(*vip),
                0,
                "{vip} has moved, clock off by {offset} s"
            );
            let gap = asked.longest_gap(*vip).length;
            ensure!(
                gap <= HARD,
                "{vip} was silent for {gap:?}, clock off by {offset} s"
            );
        }
        assert_eq!(capture.stop().duplicates(SECOND), []);
        assert_eq!(lab.node(0).vips(&SERVICES)?, before);
        assert_eq!(lab.node(2).vips(&SERVICES)?, before);
    }
    Ok(())
}
