//! Agents whose maps have another layout take over from one another under load, upwards and downwards.

use std::path::PathBuf;

use anyhow::Result;
use landfall_tests::lab::programs::Build;
use landfall_tests::lab::settings::Common;
use landfall_tests::scenario::{Stage, must_hold, upgrade};

/// There and back, for every node of a stage of its own.
fn by(attach: &str, mode: &str) -> Result<()> {
    let settings = Common {
        attach: Some(attach.to_owned()),
        mode: Some(mode.to_owned()),
        ..Common::default()
    };
    let stage = Stage::builder().settings(settings).start()?;
    if mode == "snat" {
        // Who translates a connection alone knows it: what moves VIPs breaks such ones with any build.
        stay_with_holders(&stage)?;
    }
    let seen = upgrade::under_load(&stage, &[Build::Neighbour, Build::Own], 200)?;
    assert_eq!((seen.lost(), seen.duplicates), (0, 0), "{seen:?}");
    Ok(())
}

/// Has the client send to those who hold the VIPs now, whoever holds them later.
fn stay_with_holders(stage: &Stage) -> Result<()> {
    for vip in stage.vips() {
        let mac = stage.holder(vip)?.host().mac();
        let client = stage.lab.client();
        client.output(&format!(
            "ip neigh replace {vip} lladdr {mac} dev ens3 nud permanent"
        ))?;
    }
    Ok(())
}

#[test]
fn upgrades_to_another_layout_and_back_lose_nothing() -> Result<()> {
    must_hold::upgrade(3).map(drop)
}

#[test]
fn upgrades_lose_nothing_in_clsact() -> Result<()> {
    by("clsact", "l2-dsr")
}

#[test]
fn upgrades_lose_nothing_by_xdp_in_the_driver() -> Result<()> {
    by("xdp", "l2-dsr")
}

#[test]
fn upgrades_lose_nothing_by_source_translation_at_tcx() -> Result<()> {
    by("tcx", "snat")
}

#[test]
fn upgrades_lose_nothing_by_source_translation_at_xdp() -> Result<()> {
    by("xdp", "snat")
}

#[test]
fn cleaning_up_removes_what_another_layout_has_left() -> Result<()> {
    for hook in ["xdp", "tcx", "clsact"] {
        let settings = Common {
            attach: Some(hook.to_owned()),
            ..Common::default()
        };
        let stage = Stage::builder().nodes(1).settings(settings).start()?;
        let node = stage.lab.node(0);
        node.stop_agent()?;
        node.install(Build::Neighbour);
        assert_ne!(node.pinned()?, Vec::<PathBuf>::new());
        node.landfall("cleanup")?;
        assert_eq!(node.pinned()?, Vec::<PathBuf>::new());
        let host = node.host();
        let left = [
            host.output("ip -details link show dev ens3")?,
            host.output("tc filter show dev ens3 ingress")?,
            host.output("tc filter show dev ens3 egress")?,
        ];
        for text in left {
            assert!(
                !text.contains("prog/xdp") && !text.contains("tc_"),
                "{text}"
            );
        }
    }
    Ok(())
}
