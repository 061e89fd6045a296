//! Agents tell afterwards what happened: from whom a VIP came, why, and for how long nobody answered for it; and
//! beforehand on what their right to answer rests.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_tests::lab::node::Node;
use landfall_tests::lab::query::{Ground, HandOver};
use landfall_tests::lab::wait;
use landfall_tests::scenario::{Stage, bounds, failover};

/// How long something may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// By how much what the heir says may differ from what clients saw: the interval of heartbeats, by which the last one
/// heard is older than the death, a request's interval at either end, and the heir's own first steps.
const TOLERANCE: Duration = Duration::from_millis(100);

/// The latest entry of `address` in a node's history.
fn latest(node: &Node, address: IpAddr) -> Result<HandOver> {
    let all = node.history()?.into_iter();
    let mut of_address = all.filter(|change| change.addresses.contains(&address));
    let latest = of_address.next();
    latest.with_context(|| format!("{} knows nothing of {address}", node.name()))
}

fn handovers(node: &Node, cause: &str) -> Result<f64> {
    node.metric(&format!("landfall_handovers_total{{cause=\"{cause}\"}}"))
}

fn ground(node: &Node) -> Result<Ground> {
    Ok(node.status()?.ground)
}

/// The state of a member as a node tells it.
fn state_of(ground: &Ground, node: &Node) -> Option<String> {
    let mut members = ground.members.iter();
    let member = members.find(|member| member.node == node.name());
    member.map(|member| member.state.clone())
}

#[test]
fn the_heir_of_a_dead_node_tells_how_long_nobody_answered() -> Result<()> {
    let stage = Stage::builder().start()?;
    let vip = stage.vip();
    let victim = stage.holder(vip)?;
    let first = latest(victim, vip)?;
    ensure!(
        (first.cause.as_str(), &first.from) == ("first", &None),
        "{first:?}"
    );
    ensure!(handovers(victim, "first")? >= 1.0);
    for node in stage.lab.nodes() {
        wait::until_ok(PATIENCE, "all to hear each other", || {
            let ground = ground(node)?;
            ensure!(
                ground.kind == "quorum" && ground.holds_ms.is_some(),
                "{ground:?}"
            );
            ensure!(ground.members.len() == 3, "{ground:?}");
            let well = |member: &landfall_tests::lab::query::Member| {
                let own = member.node == node.name();
                member.grants && member.state == if own { "self" } else { "heard" }
            };
            ensure!(ground.members.iter().all(well), "{ground:?}");
            Ok(())
        })?;
    }

    let takeover = failover::node_death(&stage, Duration::from_secs(2))?;
    let heir = stage.holder(vip)?;
    let told = latest(heir, vip)?;
    println!("{told:?}, clients saw {:?}", takeover.gap);
    ensure!(told.cause == "takeover", "{told:?}");
    ensure!(told.from.as_deref() == Some(victim.name()), "{told:?}");
    ensure!(told.to.as_deref() == Some(heir.name()), "{told:?}");
    let silence = Duration::from_millis(told.silence_ms.context("no silence")?);
    ensure!(silence <= bounds::HARD, "{silence:?}");
    let differs = silence.abs_diff(takeover.gap);
    ensure!(
        differs <= TOLERANCE + takeover.noise,
        "told {silence:?}, seen {:?}, noise {:?}",
        takeover.gap,
        takeover.noise
    );
    ensure!(handovers(heir, "takeover")? >= 1.0);
    let event = heir.service("svc1")?.event("Announcing")?.clone();
    ensure!(event.message.contains("(takeover)"), "{event:?}");
    let ground = ground(heir)?;
    ensure!(
        state_of(&ground, victim).as_deref() == Some("refused"),
        "{ground:?}"
    );
    ensure!(ground.holds_ms.is_some(), "{ground:?}");
    let right = heir.metric("landfall_right_to_answer")?;
    let refused = heir.metric("landfall_members{state=\"refused\"}")?;
    ensure!((right, refused) == (1.0, 1.0), "{right}, {refused}");
    let age = heir.metric("landfall_grant_age_seconds")?;
    let slack = heir.metric("landfall_deadline_slack_seconds")?;
    println!("grants {age} s old, {slack} s left at the least");
    ensure!((0.0..0.3).contains(&age) && (0.0..0.3).contains(&slack));
    Ok(())
}

#[test]
fn the_heir_of_a_drained_node_tells_that_it_was_drained() -> Result<()> {
    let stage = Stage::builder().start()?;
    let vip = stage.vip();
    let leaver = stage.holder(vip)?;
    leaver.landfall("drain --wait")?;
    let heir = stage.holder(vip)?;
    let told = latest(heir, vip)?;
    println!("{told:?}");
    ensure!(told.cause == "drained", "{told:?}");
    ensure!(told.from.as_deref() == Some(leaver.name()), "{told:?}");
    ensure!(told.silence_ms.is_none(), "{told:?}");
    ensure!(handovers(heir, "drained")? >= 1.0);
    let condition = leaver.service("svc1")?.condition("Announced")?.clone();
    ensure!(condition.reason == "elsewhere", "{condition:?}");
    ensure!(condition.message.starts_with(heir.name()), "{condition:?}");
    Ok(())
}

#[test]
fn two_nodes_tell_that_they_go_by_their_leases() -> Result<()> {
    let stage = Stage::builder().nodes(2).start()?;
    for node in stage.lab.nodes() {
        let ground = wait::until_ok(PATIENCE, "both to be members", || {
            let ground = ground(node)?;
            ensure!(
                ground.kind == "lease" && ground.members.len() == 2,
                "{ground:?}"
            );
            ensure!(ground.holds_ms.is_some(), "{ground:?}");
            Ok(ground)
        })?;
        ensure!(
            ground.members.iter().all(|member| !member.grants),
            "{ground:?}"
        );
    }
    Ok(())
}
