//! What does not hold yet, and is to: run by name, `cargo test -p landfall-tests --test open`.

use std::time::Duration;

use anyhow::Result;
use landfall_tests::lab::pod::PodState;
use landfall_tests::probe::udp::{SourcePort, UdpProber};
use landfall_tests::scenario::Stage;

/// The nodes go by different tables for some milliseconds; a flow that begins then may change its pod once (`docs/decisions/0003`).
#[test]
fn a_datagram_flow_begun_right_after_a_change_keeps_its_pod() -> Result<()> {
    let stage = Stage::builder().start()?;
    let pods = stage.lab.pods();
    for round in 0..20 {
        let state = [PodState::Unready, PodState::Ready][round % 2];
        stage.lab.list_pod(&pods[0], state)?;
        for _ in 0..10 {
            let interval = Duration::from_millis(5);
            let prober =
                UdpProber::start(stage.lab.client(), stage.ping(), interval, SourcePort::One)?;
            std::thread::sleep(Duration::from_millis(20));
            let record = prober.stop();
            let mut stations: Vec<&str> = record.answers().map(|answer| &*answer.pod).collect();
            stations.dedup();
            let left = stations.first() == Some(&pods[0].name());
            assert!(stations.len() < 2 || left, "{stations:?}");
        }
    }
    Ok(())
}
