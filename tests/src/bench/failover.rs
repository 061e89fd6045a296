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

/// Adds what was measured to `recorded`.
pub(super) fn measure(repeats: usize, recorded: &mut Recorded) -> Result<()> {
    let mut broken = Vec::new();
    for line in lines(repeats) {
        match line() {
            Ok(figures) => recorded.extend(figures),
            Err(error) => {
                println!("does not hold: {error:#}");
                broken.push(format!("{error:#}"));
            }
        }
    }
    if !broken.is_empty() {
        bail!("{} do not hold: {}", broken.len(), broken.join("; "));
    }
    Ok(())
}

fn lines(repeats: usize) -> Vec<Line> {
    let hard = |name: &'static str, conditions: Conditions| -> Line {
        Box::new(move || must_hold::hard(name, repeats, conditions))
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
        Box::new(move || must_hold::many_vips(repeats)),
        Box::new(move || must_hold::connections(repeats)),
        Box::new(move || must_hold::carrier(repeats)),
        Box::new(move || must_hold::killed(repeats)),
        Box::new(move || must_hold::frozen(repeats)),
        Box::new(move || must_hold::drain(repeats)),
        Box::new(move || must_hold::upgrade(repeats)),
        Box::new(move || must_hold::one_of_two(repeats, Duration::from_secs(5))),
        Box::new(move || must_hold::partition(repeats, 5)),
        Box::new(move || must_hold::partition(repeats, 3)),
        Box::new(move || must_hold::partition_of_two(repeats)),
        Box::new(move || must_hold::one_way(repeats, Deaf::Unheard)),
        Box::new(move || must_hold::one_way(repeats, Deaf::Unhearing)),
        Box::new(move || must_hold::flapping(long)),
        Box::new(move || must_hold::dark(long)),
        Box::new(must_hold::heartbeats),
    ]
}
