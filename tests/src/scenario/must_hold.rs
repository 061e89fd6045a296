//! What issue 4 says must hold, line by line: each repeated on stages of its own, recorded under the
//! issue's figures, and judged by [`bounds`]. Tests repeat a few times, benchmarks often.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bounds::{self, HARD, HARD_MEDIAN};
use super::death::{self, Conditions};
use super::failover::{self, Takeover};
use super::upgrade::{self, Upgrades};
use super::{Stage, dark, heartbeat, partition};
use crate::figures::{self, Figure};
use crate::lab::programs::Build;
use crate::lab::wires::Deaf;
use crate::probe::spread::Spread;

/// A recorded figure and its name.
pub type Recorded = Vec<(String, Figure)>;

/// A node dies: `NAME.gap`, `NAME.arp`, `NAME.failed_after`.
///
/// # Errors
/// When a bound does not hold.
pub fn hard(name: &str, repeats: usize, conditions: Conditions) -> Result<Recorded> {
    let takeovers = repeat(repeats, || death::of_announcer(conditions, death::AFTER))?;
    let mut figures = silences(name, &takeovers)?;
    let failed: Vec<f64> = takeovers.iter().map(|t| t.after.lost as f64).collect();
    figures.push(record(
        &format!("{name}.failed_after"),
        "requests",
        &failed,
    )?);
    within_bounds(&takeovers)?;
    ensure!(
        failed.iter().all(|failed| *failed == 0.0),
        "requests failed after the silence: {failed:?}"
    );
    Ok(figures)
}

/// Runs `once` as often as told.
fn repeat<T>(repeats: usize, mut once: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
    (1..=repeats)
        .map(|number| once().with_context(|| format!("repeat {number} of {repeats}")))
        .collect()
}

fn record(name: &str, unit: &str, samples: &[f64]) -> Result<(String, Figure)> {
    Ok((name.to_owned(), figures::record(name, unit, samples)?))
}

fn record_times(name: &str, samples: &[Duration]) -> Result<(String, Figure)> {
    Ok((name.to_owned(), figures::record_times(name, samples)?))
}

/// `NAME.gap` and `NAME.arp`.
fn silences(name: &str, takeovers: &[Takeover]) -> Result<Recorded> {
    let gaps: Vec<Duration> = takeovers.iter().map(|t| t.gap).collect();
    let arp: Vec<Duration> = takeovers.iter().map(|t| t.arp_gap).collect();
    Ok(vec![
        record_times(&format!("{name}.gap"), &gaps)?,
        record_times(&format!("{name}.arp"), &arp)?,
    ])
}

/// One answer at every instant, and silences within the bounds for hard faults.
fn within_bounds(takeovers: &[Takeover]) -> Result<()> {
    one_answer(takeovers)?;
    for (what, silences) in [
        (
            "requests",
            takeovers.iter().map(|t| t.gap).collect::<Vec<_>>(),
        ),
        ("a new host", takeovers.iter().map(|t| t.arp_gap).collect()),
    ] {
        at_most(what, &silences, HARD)?;
        let mut sorted = silences;
        sorted.sort();
        let median = sorted[sorted.len() / 2];
        ensure!(
            median <= HARD_MEDIAN,
            "{what}: the median silence is {median:?}, the bound {HARD_MEDIAN:?}: {sorted:?}"
        );
    }
    Ok(())
}

fn one_answer(takeovers: &[Takeover]) -> Result<()> {
    for takeover in takeovers {
        ensure!(takeover.duplicates.is_empty(), "{:?}", takeover.duplicates);
    }
    Ok(())
}

fn at_most(what: &str, silences: &[Duration], bound: Duration) -> Result<()> {
    ensure!(
        silences.iter().all(|silence| *silence <= bound),
        "{what}: a silence is longer than {bound:?}: {silences:?}"
    );
    Ok(())
}

/// A node with 700 VIPs dies: `failover.hard.gap.700_vips`.
///
/// # Errors
/// When the bound does not hold for one of them, or one is not taken over.
pub fn many_vips(repeats: usize) -> Result<Recorded> {
    let seen = repeat(repeats, || death::of_many_vips(death::AFTER))?;
    let gaps: Vec<Duration> = seen.iter().map(|exodus| exodus.gap).collect();
    let recorded = record_times("failover.hard.gap.700_vips", &gaps)?;
    for exodus in &seen {
        ensure!(exodus.vips >= bounds::VIPS, "only {} VIPs", exodus.vips);
        ensure!(exodus.orphans == 0, "nobody took over: {exodus:?}");
    }
    at_most("the slowest of 700 VIPs", &gaps, HARD)?;
    Ok(vec![recorded])
}

/// 1,000 connections while a node dies: `failover.hard.connections_lost`.
///
/// # Errors
/// When one to a living backend is lost.
pub fn connections(repeats: usize) -> Result<Recorded> {
    let seen = repeat(repeats, || {
        let stage = Stage::builder().start()?;
        failover::connections_through_node_death(&stage, bounds::CONNECTIONS)
    })?;
    let lost: Vec<f64> = seen.iter().map(|survival| survival.lost as f64).collect();
    let recorded = record("failover.hard.connections_lost", "connections", &lost)?;
    ensure!(lost.iter().all(|lost| *lost == 0.0), "{seen:?}");
    Ok(vec![recorded])
}

/// The announcing interface loses its carrier, another keeps its: `failover.carrier.gap`.
///
/// # Errors
/// When a bound does not hold.
pub fn carrier(repeats: usize) -> Result<Recorded> {
    let takeovers = repeat(repeats, || {
        let stage = Stage::builder().second_lan().start()?;
        failover::carrier_lost(&stage, death::AFTER)
    })?;
    let figures = silences("failover.carrier", &takeovers)?;
    within_bounds(&takeovers)?;
    Ok(figures)
}

/// A daemon is killed for good: `failover.killed.gap`, `failover.killed.arp`.
///
/// # Errors
/// When a bound does not hold, or an endpoint of its node is not served any more.
pub fn killed(repeats: usize) -> Result<Recorded> {
    let takeovers = repeat(repeats, || {
        let stage = Stage::builder().start()?;
        let (victim, takeover) = failover::kill_for_good(&stage, death::AFTER)?;
        let spread = Spread::measure(stage.lab.client(), stage.web(), 300, 1);
        ensure!(spread.failures.is_empty(), "{:?}", spread.failures);
        for pod in stage.pods_on(victim) {
            ensure!(spread.pods.contains_key(&pod), "{:?}", spread.pods);
        }
        Ok(takeover)
    })?;
    let figures = silences("failover.killed", &takeovers)?;
    within_bounds(&takeovers)?;
    let lost: Vec<usize> = takeovers.iter().map(|t| t.after.lost).collect();
    ensure!(lost.iter().all(|lost| *lost == 0), "{lost:?} requests lost");
    Ok(figures)
}

/// A daemon freezes and thaws: `failover.frozen.duplicate_answers`, `failover.frozen.silent`.
///
/// # Errors
/// When two answer, the frozen one answers after the bound, or the thawed one answers at once.
pub fn frozen(repeats: usize) -> Result<Recorded> {
    let seen = repeat(repeats, || {
        let stage = Stage::builder().start()?;
        failover::freeze(&stage, death::AFTER)
    })?;
    let counts: Vec<f64> = seen.iter().map(|f| f.duplicates.len() as f64).collect();
    let silent: Vec<Duration> = seen.iter().map(|f| f.silent_after).collect();
    let figures = vec![
        record("failover.frozen.duplicate_answers", "answers", &counts)?,
        record_times("failover.frozen.silent", &silent)?,
    ];
    ensure!(counts.iter().all(|count| *count == 0.0), "{seen:?}");
    at_most("a frozen daemon's answers", &silent, HARD)?;
    ensure!(
        seen.iter().all(|f| !f.answered_thawed),
        "a thawed agent answered before it held anything again"
    );
    Ok(figures)
}

/// A node is drained by `landfall drain --wait`: `failover.drain.gap`.
///
/// # Errors
/// When the bound does not hold or a request is lost afterwards.
pub fn drain(repeats: usize) -> Result<Recorded> {
    let stage = Stage::builder().start()?;
    let (mut takeovers, mut disturbed) = (Vec::new(), 0);
    while takeovers.len() < repeats {
        let takeover = failover::drain_by_command(&stage)?;
        // The bound is as short as a busy machine's own pauses: such a repeat says nothing, unless
        // there are too many of them to be chance.
        if takeover.is_disturbed() && disturbed < 2 * repeats {
            disturbed += 1;
        } else {
            takeovers.push(takeover);
        }
    }
    println!("{disturbed} more repeats in which the machine itself stood still");
    let gaps: Vec<Duration> = takeovers.iter().map(|t| t.gap.max(t.arp_gap)).collect();
    let figures = vec![record_times("failover.drain.gap", &gaps)?];
    one_answer(&takeovers)?;
    at_most("a drain", &gaps, bounds::ORDERLY)?;
    Ok(figures)
}

/// Every node is upgraded to a build with another layout of the flow tables, and back: `upgrade.lost`, a sample for each
/// stage, and `upgrade.gap`, one for each upgrade.
///
/// # Errors
/// When anything is lost, two answer, or the bound does not hold.
pub fn upgrade(repeats: usize) -> Result<Recorded> {
    let (mut seen, mut gaps): (Vec<Upgrades>, _) = (Vec::new(), Vec::new());
    // As in `drain`: an upgrade in which the machine itself stood still says nothing of the gap, unless most do.
    while seen.len() < repeats || (gaps.len() < 3 * repeats && seen.len() < 3 * repeats) {
        let stage = Stage::builder().start()?;
        let upgrades = upgrade::under_load(&stage, &[Build::Neighbour, Build::Own], 200)?;
        gaps.extend(upgrades.gaps());
        seen.push(upgrades);
    }
    let all: usize = seen.iter().map(|seen| seen.upgrades).sum();
    println!(
        "{} of {all} upgrades in which the machine itself stood still",
        all - gaps.len()
    );
    let lost: Vec<f64> = seen.iter().map(|seen| seen.lost() as f64).collect();
    let figures = vec![
        record("upgrade.lost", "requests and connections", &lost)?,
        record_times("upgrade.gap", &gaps)?,
    ];
    ensure!(
        seen.iter()
            .all(|seen| seen.lost() == 0 && seen.duplicates == 0),
        "{seen:?}"
    );
    at_most("an upgrade", &gaps, bounds::ORDERLY)?;
    Ok(figures)
}

/// One of two nodes dies: `failover.two.gap`, `failover.two.arp`.
///
/// # Errors
/// When the other does not take over within a lease.
pub fn one_of_two(repeats: usize, after: Duration) -> Result<Recorded> {
    let two = Conditions {
        nodes: 2,
        ..Conditions::default()
    };
    let takeovers = repeat(repeats, || death::of_announcer(two, after))?;
    let figures = silences("failover.two", &takeovers)?;
    one_answer(&takeovers)?;
    let gaps: Vec<Duration> = takeovers.iter().map(|t| t.gap.max(t.arp_gap)).collect();
    at_most("one of two", &gaps, bounds::LEASE)?;
    Ok(figures)
}

/// Two nodes lose each other, and in another run the announcing one loses the lease store besides:
/// `failover.partition.two.duplicate_answers`.
///
/// # Errors
/// When two answer, or the other does not take over in the end from one without a store.
pub fn partition_of_two(repeats: usize) -> Result<Recorded> {
    let counts = repeat(repeats, || {
        let split = partition::split(&Stage::builder().nodes(2).start()?)?;
        let stage = Stage::builder().nodes(2).start()?;
        let alone = partition::alone(&stage, Duration::from_secs(5))?;
        Ok((split.duplicates + alone) as f64)
    })?;
    let name = "failover.partition.two.duplicate_answers";
    let figures = vec![record(name, "answers", &counts)?];
    ensure!(counts.iter().all(|count| *count == 0.0), "{counts:?}");
    Ok(figures)
}

/// A LAN in two parts heals: `failover.partition.duplicate_answers`, `.gap` and `.healed`.
///
/// # Errors
/// When two answer, the larger side is silent for longer than the bound, the VIP moves more than
/// once, or a client is not told at once after the healing.
pub fn partition(repeats: usize, nodes: u8) -> Result<Recorded> {
    let seen = repeat(repeats, || {
        let stage = Stage::builder().nodes(nodes).start()?;
        partition::split(&stage)
    })?;
    let counts: Vec<f64> = seen.iter().map(|split| split.duplicates as f64).collect();
    let gaps: Vec<Duration> = seen.iter().map(|split| split.majority_gap).collect();
    let healed: Vec<Duration> = seen.iter().map(|split| split.healed).collect();
    let name = if nodes == 5 {
        "failover.partition".to_owned()
    } else {
        format!("failover.partition.{nodes}")
    };
    let figures = vec![
        record(&format!("{name}.duplicate_answers"), "answers", &counts)?,
        record_times(&format!("{name}.gap"), &gaps)?,
        record_times(&format!("{name}.healed"), &healed)?,
    ];
    ensure!(counts.iter().all(|count| *count == 0.0), "{seen:?}");
    ensure!(seen.iter().all(|split| split.moves <= 1), "{seen:?}");
    at_most("the larger side", &gaps, HARD)?;
    at_most("a client after the healing", &healed, HARD)?;
    Ok(figures)
}

/// Frames are lost in one direction: `failover.unheard.gap` or `failover.unhearing.gap`.
///
/// # Errors
/// When two answer, or nobody within the bound.
pub fn one_way(repeats: usize, direction: Deaf) -> Result<Recorded> {
    let takeovers = repeat(repeats, || {
        let stage = Stage::builder().start()?;
        partition::one_way(&stage, direction)
    })?;
    let name = match direction {
        Deaf::Unheard => "failover.unheard",
        Deaf::Unhearing => "failover.unhearing",
    };
    let figures = silences(name, &takeovers)?;
    one_answer(&takeovers)?;
    let gaps: Vec<Duration> = takeovers.iter().map(|t| t.gap.max(t.arp_gap)).collect();
    at_most(name, &gaps, bounds::ONE_WAY)?;
    Ok(figures)
}

/// A node's carrier comes and goes for a minute: `failover.flapping.moves`.
///
/// # Errors
/// When a VIP moves more than once, or two answer.
pub fn flapping(repeats: usize) -> Result<Recorded> {
    let seen = repeat(repeats, || {
        let stage = Stage::builder().start()?;
        partition::flap(&stage, bounds::FLAPPING)
    })?;
    let moves: Vec<f64> = seen.iter().map(|flapping| flapping.moves as f64).collect();
    let figures = vec![record("failover.flapping.moves", "moves", &moves)?];
    ensure!(
        seen.iter().all(|f| f.moves <= 1 && f.duplicates == 0),
        "{seen:?}"
    );
    Ok(figures)
}

/// The lease store is away for 90 s, all agents are killed, one node is rebooted:
/// `failover.dark.duplicate_answers` and `failover.dark.back`.
///
/// # Errors
/// When a VIP is not announced once, is silent once it is, or is given another address.
pub fn dark(repeats: usize) -> Result<Recorded> {
    let seen = repeat(repeats, || {
        let mut stage = Stage::builder().start()?;
        dark::restart_all(&mut stage, bounds::DARK)
    })?;
    let counts: Vec<f64> = seen.iter().map(|dark| dark.duplicates as f64).collect();
    let back: Vec<Duration> = seen.iter().map(|dark| dark.back).collect();
    let figures = vec![
        record("failover.dark.duplicate_answers", "answers", &counts)?,
        record_times("failover.dark.back", &back)?,
    ];
    ensure!(counts.iter().all(|count| *count == 0.0), "{seen:?}");
    ensure!(seen.iter().all(|dark| dark.addresses_kept), "{seen:?}");
    ensure!(seen.iter().all(|dark| dark.holders_kept), "{seen:?}");
    let gaps: Vec<Duration> = seen.iter().map(|dark| dark.gap).collect();
    at_most("a VIP in the dark", &gaps, HARD)?;
    Ok(figures)
}

/// Five idle nodes: `heartbeat.cpu` and `heartbeat.rate`, a sample for each.
///
/// # Errors
/// When a bound does not hold, or the agents have no thread for heartbeats.
pub fn heartbeats() -> Result<Recorded> {
    let stage = Stage::builder().nodes(5).start()?;
    stage.lab.switch().forward_in_threads()?;
    // What follows a start (announcements once more, probes of the way) is over by then.
    std::thread::sleep(Duration::from_secs(5));
    let costs = heartbeat::cost(&stage, 3, Duration::from_secs(20))?;
    let agents: Vec<f64> = costs.iter().map(|cost| cost.agent).collect();
    let rates: Vec<f64> = costs.iter().map(|cost| cost.kilobits).collect();
    let mut figures = vec![
        record("heartbeat.agent_cpu", "% core", &agents)?,
        record("heartbeat.rate", "kbit/s", &rates)?,
    ];
    let threads: Option<Vec<f64>> = costs.iter().map(|cost| cost.heartbeats).collect();
    let threads = threads.context("an agent has no thread for heartbeats")?;
    figures.push(record("heartbeat.cpu", "% core", &threads)?);
    ensure!(
        threads.iter().all(|cpu| *cpu < bounds::HEARTBEAT_CPU),
        "{threads:?} %"
    );
    ensure!(
        rates.iter().all(|rate| *rate < bounds::HEARTBEAT_RATE),
        "{rates:?} kbit/s"
    );
    Ok(figures)
}
