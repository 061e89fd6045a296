//! What the nodes' talk among themselves costs while nothing happens.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Stage;
use crate::lab::node::Node;
use crate::lab::switch::Lan;

/// The threads that carry heartbeats and nothing else, as the kernel tells their names.
const THREADS: [&str; 2] = ["landfall-quorum", "landfall-qdisk"];

/// What a node spends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Processor time of the heartbeats' threads, in percent of a core; none when the agent has
    /// no such thread.
    pub heartbeats: Option<f64>,
    /// Processor time of the whole agent, in percent of a core.
    pub agent: f64,
    /// Everything on the wire of the first LAN, sent and received together, in kbit/s.
    pub kilobits: f64,
}

/// What each node of an idle stage spends, in `spans` of this length: each figure the median of its spans, so that a burst of
/// something else on the machine is not taken for the agent's.
///
/// # Errors
/// When an agent does not run.
pub fn cost(stage: &Stage, spans: usize, span: Duration) -> Result<Vec<Cost>> {
    let seen: Vec<Vec<Cost>> = (0..spans)
        .map(|_| in_one_span(stage, span))
        .collect::<Result<_>>()?;
    println!("{seen:?}");
    let nodes = 0..stage.lab.nodes().len();
    let of_node = |node: usize| {
        let median = |figure: fn(&Cost) -> f64| {
            let mut figures: Vec<f64> = seen.iter().map(|costs| figure(&costs[node])).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        let counted = seen.iter().all(|costs| costs[node].heartbeats.is_some());
        Cost {
            heartbeats: counted.then(|| median(|cost| cost.heartbeats.unwrap_or_default())),
            agent: median(|cost| cost.agent),
            kilobits: median(|cost| cost.kilobits),
        }
    };
    Ok(nodes.map(of_node).collect())
}

fn in_one_span(stage: &Stage, span: Duration) -> Result<Vec<Cost>> {
    let nodes = stage.lab.nodes();
    let before: Vec<Meter> = nodes.iter().map(Meter::read).collect::<Result<_>>()?;
    std::thread::sleep(span);
    nodes
        .iter()
        .zip(&before)
        .map(|(node, before)| Ok(Meter::read(node)?.since(before)))
        .collect()
}

/// A reading of all counters.
#[derive(Debug)]
struct Meter {
    at: Instant,
    agent: Duration,
    heartbeats: Option<Duration>,
    octets: u64,
}

impl Meter {
    fn read(node: &Node) -> Result<Self> {
        let threads = node.agent_threads()?;
        let of_heartbeats = |name: &str| THREADS.contains(&name);
        let mut own = threads.iter().filter(|(name, _)| of_heartbeats(name));
        let first = own.next().map(|(_, time)| *time);
        Ok(Self {
            at: Instant::now(),
            agent: threads.iter().map(|(_, time)| *time).sum(),
            heartbeats: first.map(|time| own.fold(time, |sum, (_, time)| sum + *time)),
            octets: octets(node)?,
        })
    }

    fn since(&self, before: &Self) -> Cost {
        let span = (self.at - before.at).as_secs_f64();
        let percent =
            |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / span * 100.0;
        let own = self.heartbeats.zip(before.heartbeats);
        Cost {
            heartbeats: own.map(|(now, then)| percent(now, then)),
            agent: percent(self.agent, before.agent),
            kilobits: (self.octets - before.octets) as f64 * 8.0 / span / 1000.0,
        }
    }
}

/// What has passed the node's interface on the first LAN in both directions.
fn octets(node: &Node) -> Result<u64> {
    let interface = Lan::First.interface();
    node.host().namespace().run_as_machine(|| {
        ["rx_bytes", "tx_bytes"].iter().try_fold(0, |sum, counter| {
            let path = format!("/sys/class/net/{interface}/statistics/{counter}");
            let text = fs::read_to_string(&path).context(path)?;
            Ok(sum + text.trim().parse::<u64>()?)
        })
    })
}
