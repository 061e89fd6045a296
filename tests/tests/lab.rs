//! The lab itself: it comes up whole, its instruments measure right, and it leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use landfall_tests::lab::cgroup;
use landfall_tests::lab::netfilter::Netfilter;
use landfall_tests::lab::pod::{PodSpec, PodState};
use landfall_tests::lab::switch::{Lan, Port};
use landfall_tests::lab::traces::{traces, traces_of};
use landfall_tests::lab::{Lab, wait};
use landfall_tests::probe::herd::Herd;
use landfall_tests::probe::http::HttpProber;
use landfall_tests::probe::neighbour::NeighbourProber;
use landfall_tests::probe::spread::Spread;
use landfall_tests::probe::udp::{SourcePort, UdpProber};

const SECOND: Duration = Duration::from_secs(1);

/// Gives the client routes to the pods of the node with this number.
fn route_to_pods(lab: &Lab, number: u8) -> Result<()> {
    let (v4, v6) = (Lan::First.ipv4(10 + number), Lan::First.ipv6(10 + number));
    lab.client().feed(
        "ip -batch -",
        &format!(
            "route add 10.244.{number}.0/24 via {v4}\nroute add fd00:244:{number}::/64 via {v6}\n"
        ),
    )
}

#[test]
fn the_client_and_all_nodes_reach_each_other() -> Result<()> {
    let lab = Lab::builder().second_lan().build()?;
    for node in lab.nodes() {
        for address in node.addresses() {
            lab.client().ping(address, 56, SECOND)?;
            lab.client().ping(address, 1400, SECOND)?;
        }
        node.host().ping(lab.client().ipv4().into(), 56, SECOND)?;
        lab.watcher()
            .ping(Lan::Second.ipv4(10 + node.number()).into(), 56, SECOND)?;
    }
    Ok(())
}

#[test]
fn pods_reach_each_other_across_nodes_and_see_real_addresses() -> Result<()> {
    let lab = Lab::builder().build()?;
    let a = lab.add_pod(0, PodSpec::app("a", "web"))?;
    let b = lab.add_pod(2, PodSpec::app("b", "web"))?;
    let answers = [
        a.host().http_get((b.host().ipv4(), 80))?,
        a.host().http_get((b.host().ipv6(), 80))?,
    ];
    let seen: Vec<IpAddr> = answers.iter().map(|answer| answer.client.ip()).collect();
    assert_eq!(
        seen,
        [IpAddr::from(a.host().ipv4()), a.host().ipv6().into()]
    );
    assert_eq!(answers[0].body, format!("b saw {}\n", a.host().ipv4()));
    let by_process = a.host().http_get_by_process((b.host().ipv4(), 80).into())?;
    assert_eq!(by_process, answers[0].body);

    lab.client()
        .http_get((b.host().ipv4(), 80))
        .expect_err("the client has no route to pods");
    route_to_pods(&lab, 3)?;
    assert_eq!(
        lab.client().http_get((b.host().ipv4(), 80))?.client.ip(),
        lab.client().ipv4()
    );
    Ok(())
}

#[test]
fn transfers_are_checked_byte_by_byte_in_both_directions() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    route_to_pods(&lab, 1)?;
    let target = (pod.host().ipv4(), 80).into();
    let down = lab.client().download(target, 64 << 20)?;
    let up = lab.client().upload(target, 64 << 20)?;
    println!("64 MiB: {down:?} down, {up:?} up");
    Ok(())
}

#[test]
fn a_prober_measures_an_outage_of_known_length() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    route_to_pods(&lab, 1)?;
    let interval = Duration::from_millis(5);
    for (port, target) in [
        (SourcePort::One, (pod.host().ipv4(), 5000).into()),
        (SourcePort::Fresh, (pod.host().ipv6(), 5000).into()),
    ] {
        let prober = UdpProber::start(lab.client(), target, interval, port)?;
        std::thread::sleep(Duration::from_millis(300));
        lab.node(0).set_port(Lan::First, Port::Cut)?;
        let cut = Instant::now();
        std::thread::sleep(Duration::from_millis(300));
        lab.node(0).set_port(Lan::First, Port::Open)?;
        let outage = cut.elapsed();
        std::thread::sleep(Duration::from_millis(300));
        let record = prober.stop();
        let gap = record.longest_gap().length;
        println!(
            "{port:?}: outage {outage:?}, gap {gap:?}, worst delay {:?}",
            record.worst_delay
        );
        // The command that cuts the port takes effect a little before it returns.
        assert!(
            gap > outage - Duration::from_millis(5),
            "{gap:?} for {outage:?}"
        );
        assert!(
            gap < outage + Duration::from_millis(60),
            "{gap:?} for {outage:?}"
        );
        assert!((40..=80).contains(&record.lost()), "{} lost", record.lost());
        let ports: BTreeSet<u16> = record.answers().map(|a| a.client.port()).collect();
        match port {
            SourcePort::One => assert_eq!(ports.len(), 1),
            SourcePort::Fresh => assert!(ports.len() > 50, "{} ports", ports.len()),
        }
    }
    Ok(())
}

#[test]
fn an_outage_that_does_not_end_counts_to_the_end() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    route_to_pods(&lab, 1)?;
    let target = (pod.host().ipv4(), 5000).into();
    let interval = Duration::from_millis(5);
    let prober = UdpProber::start(lab.client(), target, interval, SourcePort::One)?;
    std::thread::sleep(Duration::from_millis(200));
    lab.node(0).die()?;
    let died = Instant::now();
    std::thread::sleep(Duration::from_millis(400));
    let dead = died.elapsed();
    let gap = prober.stop().longest_gap();
    assert!(gap.length >= dead, "{gap:?} for {dead:?}");
    assert!(
        gap.length < dead + Duration::from_millis(60),
        "{gap:?} for {dead:?}"
    );
    Ok(())
}

#[test]
fn asking_for_neighbours_shows_who_answers_and_duplicates() -> Result<()> {
    let lab = Lab::builder().nodes(2).build()?;
    let (a, b) = (lab.node(0).host(), lab.node(1).host());
    let (v4, v6): (IpAddr, IpAddr) = ("10.10.200.1".parse()?, "fd00:10:200::1".parse()?);
    a.output("ip addr add 10.10.200.1/32 dev lo")?;
    a.output("ip addr add fd00:10:200::1/128 dev ens3 nodad")?;
    let interval = Duration::from_millis(20);
    let prober = NeighbourProber::start(lab.watcher(), &[v4, v6], interval)?;
    std::thread::sleep(Duration::from_millis(300));
    let record = prober.stop();
    for ip in [v4, v6] {
        assert_eq!(record.macs(ip), BTreeSet::from([a.mac()]), "{ip}");
        let answers = record.answers(ip).count();
        assert!(
            answers + 1 >= record.rounds,
            "{ip}: {answers} of {}",
            record.rounds
        );
        assert!(record.longest_gap(ip).length < Duration::from_millis(100));
    }
    assert_eq!(record.duplicates(SECOND), []);

    b.output("ip addr add 10.10.200.1/32 dev lo")?;
    let prober = NeighbourProber::start(lab.watcher(), &[v4, v6], interval)?;
    std::thread::sleep(Duration::from_millis(300));
    let duplicates = prober.stop().duplicates(SECOND);
    assert!(duplicates.len() > 5, "{duplicates:?}");
    assert!(
        duplicates
            .iter()
            .all(|d| d.ip == v4 && d.macs == BTreeSet::from([a.mac(), b.mac()]))
    );
    Ok(())
}

#[test]
fn a_herd_knows_which_of_its_connections_died() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pods = [
        lab.add_pod(0, PodSpec::app("a", "web"))?,
        lab.add_pod(0, PodSpec::app("b", "web"))?,
    ];
    route_to_pods(&lab, 1)?;
    let pause = Duration::from_millis(50);
    let open =
        |i: usize, n| Herd::open(lab.client(), (pods[i].host().ipv4(), 7000).into(), n, pause);
    let (first, second) = (open(0, 300)?, open(1, 10)?);
    let begun = Instant::now();
    wait::until(5 * SECOND, "every connection to talk", || {
        Ok(first.alive_since(begun, |_| true) == 300)
    })?;
    assert!(
        first
            .members()
            .iter()
            .all(|m| m.pod == "a" && m.client == m.local)
    );
    pods[1].host().cgroup().kill()?;
    wait::until(5 * SECOND, "the second herd to die", || {
        Ok(second.members().iter().all(|m| m.died.is_some()))
    })?;
    assert_eq!(first.close().iter().filter(|m| m.died.is_some()).count(), 0);
    Ok(())
}

#[test]
fn requests_and_connections_are_counted_per_pod() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    route_to_pods(&lab, 1)?;
    let target = (pod.host().ipv4(), 80).into();
    let begun = Instant::now();
    let spread = Spread::measure(lab.client(), target, 2000, 4);
    println!("2000 connections in {:?}", begun.elapsed());
    assert_eq!(spread.failures, Vec::<String>::new());
    assert_eq!((spread.pods["a"], spread.foreign_clients), (2000, 0));

    let prober = HttpProber::start(lab.client(), target, Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(100));
    lab.node(0).set_port(Lan::First, Port::Cut)?;
    std::thread::sleep(Duration::from_millis(100));
    lab.node(0).set_port(Lan::First, Port::Open)?;
    std::thread::sleep(3 * SECOND);
    let record = prober.stop();
    assert!(record.requests.len() > 100);
    assert_eq!(
        record.lost().len(),
        1,
        "the request that fell into the outage"
    );
    Ok(())
}

#[test]
fn a_firewall_forwards_only_what_it_allows() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    route_to_pods(&lab, 1)?;
    lab.node(0).set_netfilter(&Netfilter {
        strict_reverse_path: true,
        drop_invalid: true,
        forward_only_to: Some(vec![80]),
    })?;
    let ip = pod.host().ipv4();
    assert_eq!(lab.client().http_get((ip, 80))?.status, 200);
    let blocked = Herd::open(lab.client(), (ip, 7000).into(), 1, SECOND);
    assert!(blocked.is_err(), "port 7000 is not allowed");
    lab.node(0).set_netfilter(&Netfilter::default())?;
    Herd::open(lab.client(), (ip, 7000).into(), 1, SECOND)?;
    Ok(())
}

#[test]
fn manifests_appear_whole_and_tell_a_pods_state() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    let read = || fs::read_to_string(lab.manifests().dir().join(pod.file()));
    assert!(read()?.contains("podIP: 10.244.1.10"), "{}", read()?);
    lab.list_pod(&pod, PodState::Terminating)?;
    assert!(read()?.contains("deletionTimestamp"), "{}", read()?);
    lab.remove_pod(&pod)?;
    assert_eq!(read().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let names: Vec<_> = fs::read_dir(lab.manifests().dir())?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert_eq!(names, ["node-node1.yaml"]);
    Ok(())
}

#[test]
fn a_lab_leaves_nothing_behind() -> Result<()> {
    let lab = Lab::builder().build()?;
    let id = lab.id().to_owned();
    let pod = lab.add_pod(0, PodSpec::app("a", "web"))?;
    let server = pod.host().cgroup().processes()?;
    assert_eq!(server.len(), 1);
    let inside = fs::read_link(format!("/proc/{}/ns/net", server[0]))?
        .display()
        .to_string();
    assert!(!traces_of(&id)?.is_empty());
    let elsewhere = traces()?;
    assert!(
        !elsewhere
            .iter()
            .any(|t| t.contains("ens3") || t.contains("/run/netns/node"))
    );
    drop(pod);
    drop(lab);
    assert_eq!(traces_of(&id)?, Vec::<String>::new());
    assert!(
        !traces()?.contains(&inside),
        "the pod's namespace is still there"
    );
    assert!(!Path::new("/proc").join(server[0].to_string()).exists());
    Ok(())
}

#[test]
fn a_failed_scenario_leaves_nothing_behind() -> Result<()> {
    let failed = std::thread::spawn(|| {
        let lab = Lab::builder().nodes(1).build().unwrap();
        lab.add_pod(0, PodSpec::app("a", "web")).unwrap();
        std::panic::panic_any(lab.id().to_owned());
    })
    .join()
    .unwrap_err();
    let id = failed
        .downcast_ref::<String>()
        .expect("the panic carries the lab's id");
    assert_eq!(traces_of(id)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_harness_that_is_interrupted_or_killed_leaves_nothing_behind() -> Result<()> {
    // A lab of another process, in which a shell waits for its end.
    let start = || -> Result<(std::process::Child, String)> {
        let child = Command::new(env!("CARGO_BIN_EXE_landfall-lab"))
            .args(["up", "--bare", "--nodes", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let id = format!("{}-0", child.id());
        let group = cgroup::root()?.join(format!("landfall-lab-{id}"));
        wait::until(10 * SECOND, "the other lab's pod", || {
            Ok(
                fs::read_to_string(group.join("node1/pods/webpod1/cgroup.procs"))
                    .is_ok_and(|procs| !procs.is_empty()),
            )
        })?;
        Ok((child, id))
    };
    let (mut child, id) = start()?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )?;
    assert_eq!(child.wait()?.code(), Some(128 + libc::SIGTERM));
    assert_eq!(traces_of(&id)?, Vec::<String>::new());

    let (mut child, id) = start()?;
    child.kill()?;
    child.wait()?;
    assert!(!traces_of(&id)?.is_empty(), "nobody was there to clean up");
    drop(Lab::builder().nodes(1).build()?);
    assert_eq!(traces_of(&id)?, Vec::<String>::new());
    Ok(())
}
