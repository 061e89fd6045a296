//! On nodes with strict reverse path filtering, a rule that drops invalid packets, and a FORWARD
//! chain of their own, everything holds as elsewhere, and the chain is obeyed.

use std::time::Duration;

use anyhow::Result;
use landfall_tests::lab::netfilter::Netfilter;
use landfall_tests::lab::settings::Lease;
use landfall_tests::probe::herd::Herd;
use landfall_tests::scenario::{ALLOWED_PORTS, Stage, endpoint, failover, reach, restart};

const BOUND: Duration = Duration::from_millis(3500);

/// A firewall that forwards new connections to `ports` only.
fn firewall(ports: &[u16]) -> Netfilter {
    Netfilter {
        strict_reverse_path: true,
        drop_invalid: true,
        forward_only_to: Some(ports.to_vec()),
    }
}

fn stage() -> Result<Stage> {
    Stage::builder()
        .firewall(&firewall(&ALLOWED_PORTS))
        .dual_stack()
        .start()
}

#[test]
fn services_are_reached_evenly_and_intact_through_firewalls() -> Result<()> {
    let stage = stage()?;
    reach::every_vip_answers(&stage, 300)?;
    let unevenness = reach::unevenness(&stage, 20_000)?;
    assert!(unevenness <= 0.1, "{unevenness}");
    reach::transfers_are_intact(&stage, 5_000_000)?;
    reach::nodes_and_pods_reach_every_vip(&stage, 10)
}

#[test]
fn connections_outlive_a_node_behind_firewalls() -> Result<()> {
    let stage = stage()?;
    assert_eq!(
        failover::connections_through_node_death(&stage, 1000)?.lost,
        0
    );
    Ok(())
}

#[test]
fn vips_move_in_time_behind_firewalls() -> Result<()> {
    let stage = stage()?;
    let drained = failover::drain(&stage)?;
    assert!(drained.gap <= Duration::from_millis(50), "{drained:?}");
    let frozen = failover::freeze(&stage, Lease::default().duration)?;
    assert!(
        frozen.duplicates.is_empty() && !frozen.answered_thawed,
        "{frozen:?}"
    );
    let death = failover::node_death(&stage, BOUND + Duration::from_secs(1))?;
    assert!(death.gap.max(death.arp_gap) <= BOUND, "{death:?}");
    Ok(())
}

#[test]
fn restarts_and_endpoint_changes_are_as_smooth_behind_firewalls() -> Result<()> {
    let stage = stage()?;
    let changes = endpoint::life(&stage, 1)?;
    assert!(
        changes
            .all()
            .iter()
            .all(|t| *t <= Duration::from_millis(100)),
        "{changes:?}"
    );
    assert_eq!(restart::under_load(&stage, 20)?, restart::Losses::default());
    Ok(())
}

#[test]
fn what_a_forward_chain_does_not_allow_is_not_forwarded() -> Result<()> {
    let stage = stage()?;
    let open = || Herd::open(stage.lab.client(), stage.echo(), 1, Duration::from_secs(1));
    open()?;
    for node in stage.lab.nodes() {
        node.set_netfilter(&firewall(&[ALLOWED_PORTS[0]]))?;
    }
    // Whichever node the pod is on: several connections, none of which may get through.
    for _ in 0..3 {
        assert!(
            open().is_err(),
            "port 7000 is not allowed, but a connection was forwarded"
        );
    }
    reach::every_vip_answers(&stage, 20)
}
