//! Benchmarks of the whole in the lab: ratios of two things measured in turn in one run (through a
//! virtual address, and straight to the pod), failovers repeated often, and the peer beside them.

mod cluster;
mod failover;
mod idle;
mod peers;
mod picture;
mod tcp;

use anyhow::{Result, bail};
use clap::ValueEnum;

pub use picture::draw;

use crate::figures::Figure;
use crate::scenario::be_quiet;
use crate::scenario::must_hold::Recorded;

/// A line of the table that the benchmarks print.
#[derive(Debug)]
struct Row {
    name: &'static str,
    figure: Figure,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Rates through a virtual address.
    Tcp,
    /// What an agent at rest costs.
    Idle,
    /// Failovers, of all kinds.
    Failover,
    /// keepalived's failovers.
    Peers,
    /// What agents on a real cluster cost, which asks for more tools than the rest.
    Cluster,
}

/// Those that are measured when none is named, in their order.
const PARTS: [Part; 4] = [Part::Tcp, Part::Idle, Part::Peers, Part::Failover];

/// Runs benchmarks, all but the cluster's when none is named, records their figures and prints them as a table.
/// Failovers are repeated `repeats` times each, all of them or those that `only` names.
///
/// # Errors
/// When a lab does not come up or a benchmark fails; the others are run all the same.
pub fn run(parts: &[Part], repeats: usize, only: &[String]) -> Result<()> {
    be_quiet();
    let parts = if parts.is_empty() { &PARTS } else { parts };
    let (mut recorded, mut failures) = (Recorded::new(), Vec::new());
    for part in parts {
        let measured = match part {
            Part::Tcp => tcp::measure().map(|rows| recorded.extend(named(rows))),
            Part::Idle => idle::measure().map(|rows| recorded.extend(named(rows))),
            Part::Failover => failover::measure(repeats, only, &mut recorded),
            Part::Cluster => cluster::measure().map(|rows| recorded.extend(named(rows))),
            Part::Peers => peers::measure(repeats).map(|figures| recorded.extend(figures)),
        };
        if let Err(error) = measured {
            failures.push(format!("{part:?}: {error:#}"));
        }
    }
    print(&recorded);
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

fn named(rows: Vec<Row>) -> Recorded {
    let named = |row: Row| (row.name.to_owned(), row.figure);
    rows.into_iter().map(named).collect()
}

fn print(recorded: &Recorded) {
    println!("\n| figure | unit | n | min | median | p95 | max |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    for (name, figure) in recorded {
        let Figure {
            unit,
            n,
            min,
            median,
            p95,
            max,
        } = figure;
        println!("| {name} | {unit} | {n} | {min:.3} | {median:.3} | {p95:.3} | {max:.3} |");
    }
}
