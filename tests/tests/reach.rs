//! Every service is reached by everybody, evenly, intact, and with the client's own address.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::lab::pod::PodState;
use landfall_tests::lab::wait;
use landfall_tests::scenario::{Stage, reach};

#[test]
fn every_vip_answers_the_client_with_its_own_address() -> Result<()> {
    let stage = Stage::builder().dual_stack().start()?;
    reach::every_vip_answers(&stage, 300)
}

#[test]
fn exactly_one_node_answers_for_each_vip_and_none_for_too_many() -> Result<()> {
    let stage = Stage::builder().start()?;
    reach::one_node_answers_for_each_vip(&stage)
}

#[test]
fn exactly_one_node_answers_neighbour_solicitations_for_each_ipv6_vip() -> Result<()> {
    let stage = Stage::builder().dual_stack().start()?;
    reach::one_node_answers_for_each_vip(&stage)
}

#[test]
fn new_connections_use_all_endpoints_within_a_tenth_of_even() -> Result<()> {
    let stage = Stage::builder().pods_per_node(2).start()?;
    let unevenness = reach::unevenness(&stage, 20_000)?;
    figures::record("reach.unevenness", "share", &[unevenness])?;
    assert!(unevenness <= 0.1, "{unevenness}");
    Ok(())
}

#[test]
fn transfers_of_megabytes_are_intact_in_both_directions() -> Result<()> {
    let stage = Stage::builder().dual_stack().start()?;
    for _ in 0..5 {
        reach::transfers_are_intact(&stage, 5_000_000)?;
    }
    Ok(())
}

#[test]
fn a_gibibyte_is_intact_in_both_directions() -> Result<()> {
    const GIBIBYTE: u64 = 1 << 30;
    let stage = Stage::builder().start()?;
    let client = stage.lab.client();
    for (name, took) in [
        ("transfer.download", client.download(stage.web(), GIBIBYTE)?),
        ("transfer.upload", client.upload(stage.web(), GIBIBYTE)?),
    ] {
        let rate = GIBIBYTE as f64 * 8.0 / took.as_secs_f64() / 1e9;
        figures::record(name, "Gbit/s", &[rate])?;
    }
    Ok(())
}

#[test]
fn nodes_and_pods_reach_every_vip_the_ones_they_serve_included() -> Result<()> {
    let stage = Stage::builder().dual_stack().start()?;
    // Often enough for each to be sent to itself at least once, in all likelihood.
    reach::nodes_and_pods_reach_every_vip(&stage, 10)
}

#[test]
fn a_service_without_ready_endpoints_rejects_at_once() -> Result<()> {
    let stage = Stage::builder().start()?;
    for pod in stage.lab.pods() {
        stage.lab.list_pod(&pod, PodState::Unready)?;
    }
    let (client, web) = (stage.lab.client(), stage.web());
    let connect = || client.run(|| TcpStream::connect_timeout(&web, Duration::from_secs(1)));
    // The pods' files are read one by one, by each node for itself: refusals count once they are all there is.
    let refused = || connect().is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    wait::until(Duration::from_secs(5), "connections to be refused", || {
        Ok((0..20).all(|_| refused()))
    })?;
    let begun = Instant::now();
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
    Ok(())
}
