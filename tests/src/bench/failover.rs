//! Every line of what must hold, repeated often. One that does not hold does not keep the others
//! from being measured.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::lab::wires::Deaf;
use crate::scenario::death::{Conditions, Death};
use crate::scenario::must_hold::{self, Recorded};

/// How often those are repeated that take more than a minute each, if others are more often.
const LONG_REPEATS: usize = 3;

type Line = Box<dyn Fn() -> Result<Recorded>>;

/// Adds what was measured to `recorded`: every line, or those that `only` names.
pub(super) fn measure(repeats: usize, only: &[String], recorded: &mut Recorded) -> Result<()> {
    let mut lines = lines(repeats);
    if let Some(unknown) = only
        .iter()
        .find(|name| lines.iter().all(|(n, _)| n != name))
    {
        let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        bail!("no line is named {unknown}; there are {}", names.join(", "));
    }
    lines.retain(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name));
    let mut broken = Vec::new();
    for (name, line) in lines {
        match line() {
            Ok(figures) => recorded.extend(figures),
            Err(error) => {
                println!("{name} does not hold: {error:#}");
                broken.push(format!("{name}: {error:#}"));
            }
        }
    }
    if !broken.is_empty() {
        bail!("{} do not hold: {}", broken.len(), broken.join("; "));
    }
    Ok(())
}

fn lines(repeats: usize) -> Vec<(&'static str, Line)> {
    let hard = |name: &'static str, conditions: Conditions| -> (&'static str, Line) {
        let line = move || must_hold::hard(name, repeats, conditions);
        (name, Box::new(line))
    };
    let usual = Conditions::default();
    let five = Conditions { nodes: 5, ..usual };
    let ipv6 = Conditions {
        ipv6: true,
        ..usual
    };
    let frozen = Conditions {
        death: Death::Frozen,
        ..usual
    };
    let busy = Conditions {
        busy_cores: 2,
        ..usual
    };
    let long = repeats.min(LONG_REPEATS);
    vec![
        hard("failover.hard", usual),
        hard("failover.hard.five", five),
        hard("failover.hard.ipv6", ipv6),
        hard("failover.hard.paused", frozen),
        hard("failover.hard.busy", busy),
        ("many_vips", Box::new(move || must_hold::many_vips(repeats))),
        (
            "connections",
            Box::new(move || must_hold::connections(repeats)),
        ),
        ("carrier", Box::new(move || must_hold::carrier(repeats))),
        ("killed", Box::new(move || must_hold::killed(repeats))),
        ("frozen", Box::new(move || must_hold::frozen(repeats))),
        ("drain", Box::new(move || must_hold::drain(repeats))),
        ("upgrade", Box::new(move || must_hold::upgrade(repeats))),
        (
            "one_of_two",
            Box::new(move || must_hold::one_of_two(repeats, Duration::from_secs(5))),
        ),
        (
            "partition.five",
            Box::new(move || must_hold::partition(repeats, 5)),
        ),
        (
            "partition",
            Box::new(move || must_hold::partition(repeats, 3)),
        ),
        (
            "partition.two",
            Box::new(move || must_hold::partition_of_two(repeats)),
        ),
        (
            "unheard",
            Box::new(move || must_hold::one_way(repeats, Deaf::Unheard)),
        ),
        (
            "unhearing",
            Box::new(move || must_hold::one_way(repeats, Deaf::Unhearing)),
        ),
        ("flapping", Box::new(move || must_hold::flapping(long))),
        ("dark", Box::new(move || must_hold::dark(long))),
        ("heartbeats", Box::new(must_hold::heartbeats)),
    ]
}
