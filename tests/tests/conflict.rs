//! An address that another machine on the LAN has is left to it, and people are told.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use landfall_tests::lab::host::{Host, Mac};
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::query::Complaint;
use landfall_tests::lab::wait;
use landfall_tests::probe::neighbour::{NeighbourProber, announce, who_has};
use landfall_tests::scenario::{Stage, reach};
use serde_json::json;

/// How long something may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The address that two want.
const WANTED: &str = "10.10.200.150";
/// Likewise, of IPv6.
const WANTED6: &str = "fd00:10:200::e050";

const POOL: &str = "\
apiVersion: landfall.dev/v1alpha1
kind: LoadBalancerIPPool
metadata:
  name: contested-pool
spec:
  blocks:
  - cidr: 10.10.200.144/28
  - cidr: fd00:10:200::e000/120
";

fn add_service(stage: &Stage) -> Result<IpAddr> {
    add_service_of(stage, WANTED)
}

fn add_service_of(stage: &Stage, wanted: &str) -> Result<IpAddr> {
    let address: IpAddr = wanted.parse()?;
    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let mut object = service("contested", &blue, &app, &[("web", "TCP", 80)]);
    object["metadata"]["annotations"] = json!({"landfall.dev/ips": wanted});
    if address.is_ipv6() {
        object["spec"]["ipFamilies"] = json!(["IPv6"]);
    }
    let manifests = stage.lab.manifests();
    manifests.write("contested-pool.yaml", POOL)?;
    manifests.write_object("contested.yaml", &object)?;
    Ok(address)
}

/// What a node says of a conflict over the address.
fn told(stage: &Stage) -> Result<Complaint> {
    told_of(stage, WANTED)
}

fn told_of(stage: &Stage, wanted: &str) -> Result<Complaint> {
    wait::until_ok(PATIENCE, "a node to tell of the conflict", || {
        for node in stage.lab.nodes() {
            let of_address = |c: &Complaint| c.object.contains(wanted);
            if let Some(complaint) = node.complaint(of_address)? {
                return Ok(complaint);
            }
        }
        bail!("nobody complains")
    })
}

fn is_of_conflict(complaint: &Complaint) -> bool {
    [WANTED, WANTED6]
        .iter()
        .any(|wanted| complaint.object.contains(wanted))
}

/// The service itself says by its condition on every node, and by an event on the one that holds the address, that the
/// stranger has it.
fn the_service_tells(stage: &Stage, wanted: &str) -> Result<()> {
    let mac = stage.lab.watcher().mac().to_string();
    let event = wait::until_ok(PATIENCE, "the service to tell of the conflict", || {
        let mut events = Vec::new();
        for node in stage.lab.nodes() {
            let service = node.service("contested")?;
            let condition = service.condition("Announced")?;
            let (status, reason) = (condition.status.as_str(), condition.reason.as_str());
            ensure!(
                (status, reason) == ("False", "address_conflict"),
                "{condition:?}"
            );
            ensure!(condition.message.contains(&mac), "{condition:?}");
            ensure!(condition.message.contains(wanted), "{condition:?}");
            let allocated = service.condition("IPAMRequestSatisfied")?;
            ensure!(allocated.status == "True", "{allocated:?}");
            events.extend(service.event("AddressConflict").cloned());
        }
        let [event] = &events[..] else {
            bail!("one node holds it: {events:?}");
        };
        Ok(event.clone())
    })?;
    println!("{event:?}");
    ensure!(
        (event.kind.as_str(), event.count) == ("Warning", 1),
        "{event:?}"
    );
    ensure!(
        event.message.contains(&mac) && event.message.contains(wanted),
        "{event:?}"
    );
    let nodes = stage.lab.nodes().iter();
    let conflicts = nodes.map(|node| node.metric("landfall_address_conflicts"));
    let conflicts: f64 = conflicts.sum::<Result<f64>>()?;
    ensure!(conflicts == 1.0, "{conflicts} by the metric");
    Ok(())
}

/// The service says on every node that it is announced again, and on the one that does, since when.
fn the_service_is_well(stage: &Stage, wanted: &str) -> Result<()> {
    wait::until_ok(PATIENCE, "the service to be announced", || {
        let mut announcing = 0;
        for node in stage.lab.nodes() {
            let service = node.service("contested")?;
            let condition = service.condition("Announced")?;
            ensure!(condition.status == "True", "{condition:?}");
            if condition.reason == "announcing" {
                announcing += 1;
                let event = service.event("Announcing")?;
                ensure!(event.message.contains(wanted), "{event:?}");
            }
        }
        ensure!(announcing == 1, "{announcing} nodes announce it");
        Ok(())
    })
}

fn nobody_complains(stage: &Stage) -> Result<()> {
    wait::until(PATIENCE, "the complaint to end", || {
        for node in stage.lab.nodes() {
            if node.complaint(is_of_conflict)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// For a second, nobody but the machine itself answers for the address.
fn only_it_answers(asker: &Host, address: IpAddr, mac: Mac) -> Result<()> {
    let prober = NeighbourProber::start(asker, &[address], Duration::from_millis(10))?;
    std::thread::sleep(Duration::from_secs(1));
    let macs = prober.stop().macs(address);
    ensure!(
        macs.iter().eq([&mac]),
        "{address} is answered by {macs:?}, not by {mac} alone"
    );
    Ok(())
}

fn one_of_us_answers(stage: &Stage, address: IpAddr) -> Result<()> {
    wait::until(PATIENCE, "a node to announce the address", || {
        let mac = who_has(stage.lab.client(), address, PATIENCE)?;
        Ok(stage.lab.node_of(mac).is_some())
    })
}

#[test]
fn an_address_that_another_machine_has_is_announced_once_that_has_left() -> Result<()> {
    let stage = Stage::builder().start()?;
    let (client, stranger) = (stage.lab.client(), stage.lab.watcher());
    stranger.output(&format!("ip addr add {WANTED}/32 dev ens3"))?;
    let address = add_service(&stage)?;
    let complaint = told(&stage)?;
    println!("{complaint}");
    assert!(
        complaint.problem.contains(&stranger.mac().to_string()),
        "{complaint}"
    );
    the_service_tells(&stage, WANTED)?;
    only_it_answers(client, address, stranger.mac())?;
    reach::every_vip_answers(&stage, 20)?;

    stranger.output(&format!("ip addr del {WANTED}/32 dev ens3"))?;
    client.forget_neighbours()?;
    one_of_us_answers(&stage, address)?;
    client.http_get((address, 80))?;
    the_service_is_well(&stage, WANTED)?;
    nobody_complains(&stage)
}

#[test]
fn an_address_that_another_machine_takes_later_is_left_to_it() -> Result<()> {
    let stage = Stage::builder().start()?;
    let (client, stranger) = (stage.lab.client(), stage.lab.watcher());
    let address = add_service(&stage)?;
    one_of_us_answers(&stage, address)?;
    stranger.output(&format!("ip addr add {WANTED}/32 dev ens3"))?;
    announce(stranger, WANTED.parse()?)?;
    let complaint = told(&stage)?;
    println!("{complaint}");
    assert!(
        complaint.problem.contains(&stranger.mac().to_string()),
        "{complaint}"
    );
    the_service_tells(&stage, WANTED)?;
    only_it_answers(client, address, stranger.mac())?;
    reach::every_vip_answers(&stage, 20)?;

    stranger.output(&format!("ip addr del {WANTED}/32 dev ens3"))?;
    client.forget_neighbours()?;
    one_of_us_answers(&stage, address)?;
    the_service_is_well(&stage, WANTED)?;
    nobody_complains(&stage)
}

/// Gives the stranger the address without a word on the wire; it only answers.
fn takes_silently(stranger: &Host, wanted: &str, takes: bool) -> Result<()> {
    let verb = if takes { "add" } else { "del" };
    let length = if wanted.contains(':') { "128" } else { "32" };
    let nodad = if wanted.contains(':') && takes {
        "nodad"
    } else {
        ""
    };
    stranger
        .output(&format!(
            "ip addr {verb} {wanted}/{length} dev ens3 {nodad}"
        ))
        .map(drop)
}

fn a_stranger_that_only_answers_is_found(wanted: &str) -> Result<()> {
    let stage = Stage::builder().start()?;
    let (client, stranger) = (stage.lab.client(), stage.lab.watcher());
    let address = add_service_of(&stage, wanted)?;
    one_of_us_answers(&stage, address)?;
    takes_silently(stranger, wanted, true)?;
    let complaint = told_of(&stage, wanted)?;
    println!("{complaint}");
    let mac = stranger.mac().to_string();
    assert!(complaint.problem.contains(&mac), "{complaint}");
    the_service_tells(&stage, wanted)?;
    only_it_answers(client, address, stranger.mac())?;
    reach::every_vip_answers(&stage, 20)?;

    takes_silently(stranger, wanted, false)?;
    client.forget_neighbours()?;
    one_of_us_answers(&stage, address)?;
    nobody_complains(&stage)
}

#[test]
fn a_machine_that_only_answers_for_an_address_is_found_and_it_is_left_to_it() -> Result<()> {
    a_stranger_that_only_answers_is_found(WANTED)
}

#[test]
fn a_machine_that_only_answers_for_an_ipv6_address_is_found_and_it_is_left_to_it() -> Result<()> {
    a_stranger_that_only_answers_is_found(WANTED6)
}

#[test]
fn an_ipv6_address_that_another_machine_has_is_announced_once_that_has_left() -> Result<()> {
    let stage = Stage::builder().start()?;
    let (client, stranger) = (stage.lab.client(), stage.lab.watcher());
    takes_silently(stranger, WANTED6, true)?;
    let address = add_service_of(&stage, WANTED6)?;
    let complaint = told_of(&stage, WANTED6)?;
    let mac = stranger.mac().to_string();
    assert!(complaint.problem.contains(&mac), "{complaint}");
    only_it_answers(client, address, stranger.mac())?;
    takes_silently(stranger, WANTED6, false)?;
    client.forget_neighbours()?;
    one_of_us_answers(&stage, address)?;
    client.http_get((address, 80))?;
    nobody_complains(&stage)
}

#[test]
fn nodes_that_hand_addresses_over_never_take_each_other_for_strangers() -> Result<()> {
    let stage = Stage::builder().dual_stack().start()?;
    for _ in 0..2 {
        for node in stage.lab.nodes() {
            node.stop_agent()?;
            reach::every_vip_answers(&stage, 10)?;
            node.start_agent()?;
            reach::every_vip_answers(&stage, 10)?;
        }
    }
    for node in stage.lab.nodes() {
        let log = std::fs::read_to_string(&node.paths().log)?;
        let said = log
            .lines()
            .find(|line| line.contains("another machine on the LAN"));
        ensure!(said.is_none(), "{}: {said:?}", node.name());
    }
    Ok(())
}
