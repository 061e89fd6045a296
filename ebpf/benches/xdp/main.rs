//! What the kernel programs cost, as multiples of the least that a program can do with a frame. Needs root and `ip`.
//!
//! Each round times both the floor and the measured program behind the same entry, one after the other, so that whatever else
//! the machine does weighs on both; a figure is the round's quotient. `--quick` takes few rounds and writes no figures.

#[path = "../../../tests/src/figures.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "shared with the lab, which measures times as well and runs its unit tests"
)]
mod figures;
mod harness;
mod link;
mod scenario;
#[path = "../../tests/support/mod.rs"]
mod support;

use anyhow::Result;

use crate::figures::Figure;
use crate::harness::Harness;
use crate::scenario::Scenario;

/// Rounds of a scenario.
const ROUNDS: usize = 60;
/// Rounds of a scenario under `--quick`.
const QUICK_ROUNDS: usize = 5;

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    link::enter_namespace()?;
    println!(
        "{:<24}{:>10}{:>14}{:>10}{:>8}{:>22}",
        "figure", "floor ns", "measured ns", "floors", "aim", "min .. p95 .. max"
    );
    for scenario in Scenario::ALL {
        if !only.is_empty() && !only.iter().any(|name| scenario.name.contains(name)) {
            continue;
        }
        measure(scenario, quick)?;
    }
    Ok(())
}

fn measure(scenario: &Scenario, quick: bool) -> Result<()> {
    let mut harness = Harness::open(scenario)?;
    let (mut floors, mut times, mut quotients) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..if quick { QUICK_ROUNDS } else { ROUNDS } {
        let (floor, time) = harness.round()?;
        floors.push(floor);
        times.push(time);
        quotients.push(time / floor);
    }
    let figure = if quick {
        Figure::of("floor", &quotients)?
    } else {
        figures::record(scenario.name, "floor", &quotients)?
    };
    println!(
        "{:<24}{:>10.1}{:>14.1}{:>10.2}{:>8}{:>22}",
        scenario.name,
        Figure::of("ns", &floors)?.median,
        Figure::of("ns", &times)?.median,
        figure.median,
        scenario.aim,
        format!(
            "{:.2} .. {:.2} .. {:.2}",
            figure.min, figure.p95, figure.max
        ),
    );
    Ok(())
}
