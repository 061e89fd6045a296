//! Benchmarks of the whole in the lab, as ratios of two things measured in turn in one run: through
//! a virtual address, and straight to the pod.

mod idle;
mod tcp;

use anyhow::Result;

use crate::figures::Figure;

/// A line of the table that the benchmarks print.
#[derive(Debug)]
struct Row {
    name: &'static str,
    figure: Figure,
}

/// Runs all benchmarks, records their figures and prints them as a table.
///
/// # Errors
/// When a lab does not come up or a benchmark fails.
pub fn run() -> Result<()> {
    let mut rows = tcp::measure()?;
    rows.extend(idle::measure()?);
    println!("\n| figure | unit | n | min | median | p95 | max |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    for Row { name, figure } in rows {
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
    Ok(())
}
