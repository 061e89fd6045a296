//! The lab's faults do what they say, and its instruments see it: frames lost in one direction or
//! between two parts, a store that is away, a node that boots again, two who answer at once.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use landfall_tests::lab::Lab;
use landfall_tests::lab::host::Host;
use landfall_tests::lab::namespace::BOOT_ID;
use landfall_tests::lab::node::Node;
use landfall_tests::lab::pod::PodSpec;
use landfall_tests::lab::switch::Lan;
use landfall_tests::lab::wires::Deaf;
use landfall_tests::probe::crowd::CrowdProber;
use landfall_tests::probe::neighbour::{LanCapture, NeighbourProber};

const SECOND: Duration = Duration::from_secs(1);

fn reaches(from: &Host, to: &Host) -> bool {
    from.ping(to.ipv4().into(), 56, SECOND / 10).is_ok()
}

#[test]
fn a_partition_parts_its_two_sides_and_nobody_else() -> Result<()> {
    let lab = Lab::builder().nodes(5).build()?;
    let host = |index: usize| lab.node(index).host();
    let names: Vec<&str> = lab.nodes().iter().map(Node::name).collect();
    for other in 1..5 {
        host(0).ping(host(other).ipv4().into(), 56, SECOND)?;
    }
    lab.switch().partition(&names[..2], &names[2..])?;
    assert!(reaches(host(0), host(1)) && reaches(host(2), host(4)));
    assert!(!reaches(host(0), host(2)) && !reaches(host(4), host(1)));
    assert!(reaches(lab.client(), host(0)) && reaches(lab.client(), host(4)));
    lab.switch().heal()?;
    // A kernel that asked in vain asks again after a second.
    host(0).ping(host(2).ipv4().into(), 56, 3 * SECOND)?;
    host(4).ping(host(1).ipv4().into(), 56, 3 * SECOND)?;
    Ok(())
}

#[test]
fn frames_are_lost_in_one_direction_only() -> Result<()> {
    let lab = Lab::builder().nodes(1).build()?;
    let (node, watcher) = (lab.node(0).host(), lab.watcher());
    let asks = |asker: &Host, target: &Host| -> Result<(usize, usize)> {
        let capture = LanCapture::start(lab.switch())?;
        let target = IpAddr::from(target.ipv4());
        let prober = NeighbourProber::start(asker, &[target], SECOND / 50)?;
        std::thread::sleep(SECOND / 5);
        let heard = prober.stop().answers(target).count();
        Ok((heard, capture.stop().answers(target).count()))
    };
    let others = ["client", "watcher"];
    let (heard, answered) = asks(watcher, node)?;
    assert!(heard > 5 && answered >= heard, "{heard}, {answered}");
    lab.switch().deafen("node1", Deaf::Unheard, &others)?;
    let (heard, answered) = asks(watcher, node)?;
    assert!(heard == 0 && answered > 5, "it hears: {heard}, {answered}");
    lab.switch().deafen("node1", Deaf::Unhearing, &others)?;
    assert_eq!(asks(watcher, node)?, (0, 0), "it does not hear");
    let (heard, answered) = asks(node, watcher)?;
    assert!(
        heard == 0 && answered > 5,
        "it is heard: {heard}, {answered}"
    );
    lab.switch().heal()?;
    assert!(asks(watcher, node)?.0 > 5);
    Ok(())
}

#[test]
fn a_store_that_is_away_fails_for_its_node_only() -> Result<()> {
    let lab = Lab::builder().nodes(2).build()?;
    let file = |node: usize| lab.node(node).paths().leases.join("lease");
    fs::write(file(0), "one")?;
    assert_eq!(fs::read_to_string(file(1))?, "one");
    lab.node(0).set_store(false)?;
    for error in [
        fs::read(file(0)).expect_err("nothing can be read"),
        fs::write(file(0), "two").expect_err("nothing can be written"),
        fs::read_dir(&lab.node(0).paths().leases).expect_err("nothing can be listed"),
    ] {
        // An empty store, which this is not, would say that nothing was found.
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{error}");
    }
    fs::write(file(1), "three")?;
    lab.node(0).set_store(true)?;
    assert_eq!(fs::read_to_string(file(0))?, "three");
    Ok(())
}

#[test]
fn a_rebooted_node_keeps_its_disk_and_nothing_else() -> Result<()> {
    let mut lab = Lab::builder().nodes(2).second_lan().build()?;
    lab.add_pod(0, PodSpec::app("a", "web"))?;
    let boot_id = |lab: &Lab, node: usize| -> Result<String> {
        let namespace = lab.node(node).host().namespace();
        Ok(namespace.run_as_machine(|| fs::read_to_string(BOOT_ID))?)
    };
    let (before, other) = (boot_id(&lab, 0)?, boot_id(&lab, 1)?);
    assert_ne!(before, other);
    let kept = lab.node(0).paths().state.join("kept");
    fs::write(&kept, "on disk")?;
    let pin = || fs::create_dir("/sys/fs/bpf/pinned");
    lab.node(0).host().namespace().run_as_machine(pin)?;
    let mac = lab.node(0).host().mac();
    let pod = lab.pods()[0].host().ipv4();

    lab.node(0).die()?;
    assert!(!reaches(lab.client(), lab.node(0).host()));
    lab.reboot(0)?;

    let node = lab.node(0);
    for lan in [Lan::First, Lan::Second] {
        lab.client().ping(lan.ipv4(11).into(), 56, SECOND)?;
    }
    assert_eq!(
        (fs::read_to_string(kept)?.as_str(), node.host().mac()),
        ("on disk", mac)
    );
    assert_ne!(boot_id(&lab, 0)?, before);
    assert_eq!(boot_id(&lab, 1)?, other);
    assert_eq!(node.pinned()?, Vec::<PathBuf>::new());
    let namespace = node.host().namespace();
    assert!(
        namespace
            .run_as_machine(|| fs::metadata("/sys/fs/bpf/pinned"))
            .is_err()
    );
    let again = lab.pods()[0].host().ipv4();
    assert_ne!(again, pod);
    lab.node(1).host().http_get((again, 80))?;
    Ok(())
}

#[test]
fn a_capture_sees_two_who_answer_on_different_sides() -> Result<()> {
    let lab = Lab::builder().nodes(2).build()?;
    let (a, b) = (lab.node(0).host(), lab.node(1).host());
    let vip: IpAddr = "10.10.200.1".parse()?;
    let seen_by_all = || -> Result<_> {
        let capture = LanCapture::start(lab.switch())?;
        let probers = [lab.client(), lab.watcher()]
            .map(|host| NeighbourProber::start(host, &[vip], SECOND / 100));
        std::thread::sleep(SECOND / 2);
        for prober in probers {
            assert_eq!(prober?.stop().duplicates(SECOND), []);
        }
        Ok(capture.stop())
    };
    a.output("ip addr add 10.10.200.1/32 dev lo")?;
    lab.switch()
        .partition(&["node1", "client"], &["node2", "watcher"])?;
    let one = seen_by_all()?;
    assert_eq!((one.duplicates(SECOND), one.moves(vip)), (vec![], 0));
    assert_eq!(one.macs(vip), BTreeSet::from([a.mac()]));
    b.output("ip addr add 10.10.200.1/32 dev lo")?;
    let both = seen_by_all()?;
    assert!(both.duplicates(SECOND).len() > 10, "{:?}", both.moves(vip));
    Ok(())
}

#[test]
fn a_crowd_of_targets_shows_the_outage_of_one() -> Result<()> {
    let lab = Lab::builder().nodes(2).build()?;
    let mut targets: Vec<SocketAddr> = Vec::new();
    for node in 0..2 {
        let number = node as u8 + 1;
        let (v4, net) = (
            Lan::First.ipv4(10 + number),
            format!("10.244.{number}.0/24"),
        );
        lab.client()
            .output(&format!("ip route add {net} via {v4}"))?;
        for pod in 0..3 {
            let pod = lab.add_pod(node, PodSpec::app(&format!("pod{node}{pod}"), "web"))?;
            targets.push((pod.host().ipv4(), 5000).into());
        }
    }
    let prober = CrowdProber::start(lab.client(), &targets, SECOND / 100)?;
    std::thread::sleep(SECOND / 2);
    let cut = Instant::now();
    lab.node(1).die()?;
    std::thread::sleep(SECOND / 2);
    let outage = cut.elapsed();
    let record = prober.stop();
    let gaps: Vec<Duration> = record.longest_gaps().iter().map(|gap| gap.length).collect();
    assert_eq!(record.silent(), 0);
    assert!((540..=660).contains(&record.sent), "{} sent", record.sent);
    for (node, gap) in gaps
        .iter()
        .enumerate()
        .map(|(target, gap)| (target / 3, *gap))
    {
        let expected = if node == 1 { outage } else { Duration::ZERO };
        assert!(gap >= expected, "{gaps:?} for {outage:?}");
        assert!(gap < expected + SECOND / 10, "{gaps:?} for {outage:?}");
    }
    Ok(())
}
