//! An agent that is killed and never comes back leaves no announcement and no address, while its
//! endpoints are served on until `landfall cleanup`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use landfall_tests::figures;
use landfall_tests::probe::spread::Spread;
use landfall_tests::scenario::{Stage, failover};

#[test]
fn a_killed_agents_vips_move_and_its_endpoints_are_served_on() -> Result<()> {
    let bound = Duration::from_millis(3500);
    let stage = Stage::builder().start()?;
    let (victim, takeover) = failover::kill_for_good(&stage, bound + Duration::from_secs(1))?;
    figures::record_times("failover.killed.gap", &[takeover.gap])?;
    assert_eq!(takeover.duplicates, []);
    assert!(takeover.gap.max(takeover.arp_gap) <= bound, "{takeover:?}");

    let spread = Spread::measure(stage.lab.client(), stage.web(), 300, 1);
    assert_eq!(spread.failures, Vec::<String>::new());
    let orphans = stage.pods_on(victim);
    assert!(
        orphans.iter().all(|pod| spread.pods.contains_key(pod)),
        "{:?}",
        spread.pods
    );

    assert!(!victim.pinned()?.is_empty());
    victim.landfall("cleanup")?;
    assert_eq!(victim.pinned()?, Vec::<PathBuf>::new());
    let links = victim.host().output("ip -details link")?;
    assert!(!links.contains("prog/xdp"), "{links}");
    Ok(())
}
