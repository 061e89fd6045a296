//! An address that another machine on the LAN has is left to it, and people are told.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
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

const POOL: &str = "\
apiVersion: landfall.dev/v1alpha1
kind: LoadBalancerIPPool
metadata:
  name: contested-pool
spec:
  blocks:
  - cidr: 10.10.200.144/28
";

fn add_service(stage: &Stage) -> Result<IpAddr> {
    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let mut object = service("contested", &blue, &app, &[("web", "TCP", 80)]);
    object["metadata"]["annotations"] = json!({"landfall.dev/ips": WANTED});
    let manifests = stage.lab.manifests();
    manifests.write("contested-pool.yaml", POOL)?;
    manifests.write_object("contested.yaml", &object)?;
    Ok(WANTED.parse()?)
}

/// What a node says of a conflict over the address.
fn told(stage: &Stage) -> Result<Complaint> {
    wait::until_ok(PATIENCE, "a node to tell of the conflict", || {
        for node in stage.lab.nodes() {
            let of_address = |c: &Complaint| c.object.contains(WANTED);
            if let Some(complaint) = node.complaint(of_address)? {
                return Ok(complaint);
            }
        }
        anyhow::bail!("nobody complains")
    })
}

fn nobody_complains(stage: &Stage) -> Result<()> {
    wait::until(PATIENCE, "the complaint to end", || {
        for node in stage.lab.nodes() {
            if node.complaint(|c| c.object.contains(WANTED))?.is_some() {
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
    only_it_answers(client, address, stranger.mac())?;
    reach::every_vip_answers(&stage, 20)?;

    stranger.output(&format!("ip addr del {WANTED}/32 dev ens3"))?;
    client.forget_neighbours()?;
    one_of_us_answers(&stage, address)?;
    client.http_get((address, 80))?;
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
    only_it_answers(client, address, stranger.mac())?;
    reach::every_vip_answers(&stage, 20)?;

    stranger.output(&format!("ip addr del {WANTED}/32 dev ens3"))?;
    client.forget_neighbours()?;
    one_of_us_answers(&stage, address)?;
    nobody_complains(&stage)
}
