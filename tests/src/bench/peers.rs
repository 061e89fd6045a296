//! keepalived in the same lab, by the same prober, through the same fault: a node that dies in one
//! instant, and a daemon that freezes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::figures;
use crate::lab::Lab;
use crate::lab::keepalived::{self, Keepalived, Pace};
use crate::lab::node::Node;
use crate::probe::neighbour::{self, LanCapture, NeighbourProber};
use crate::scenario::failover::{self, Watched};
use crate::scenario::must_hold::Recorded;

/// How often a host without a neighbour entry asks, as with Landfall.
const ASK: Duration = Duration::from_millis(5);

/// How long it is watched on after a death.
const AFTER: Duration = Duration::from_secs(5);

/// How long a search for the one who answers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both paces, and what their figures' names begin with.
pub(super) const PACES: [(Pace, &str); 2] = [
    (Pace::Default, "keepalived"),
    (Pace::Fastest, "keepalived.fast"),
];

pub(super) fn measure(repeats: usize) -> Result<Recorded> {
    println!("peer: {}", keepalived::version()?);
    let mut recorded = Recorded::new();
    for (pace, name) in PACES {
        let (mut gaps, mut arp, mut duplicates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..repeats {
            let takeover = death(pace, AFTER)?.judge()?;
            gaps.push(takeover.gap);
            arp.push(takeover.arp_gap);
            duplicates.push(freeze(pace)? as f64);
        }
        let (gap_name, arp_name) = (format!("{name}.hard.gap"), format!("{name}.hard.arp"));
        let frozen_name = format!("{name}.frozen.duplicate_answers");
        let gap = figures::record_times(&gap_name, &gaps)?;
        let arp = figures::record_times(&arp_name, &arp)?;
        let frozen = figures::record(&frozen_name, "answers", &duplicates)?;
        recorded.extend([(gap_name, gap), (arp_name, arp), (frozen_name, frozen)]);
    }
    Ok(recorded)
}

/// The node with the address dies.
pub(super) fn death(pace: Pace, after: Duration) -> Result<Watched> {
    let lab = Lab::builder().nodes(3).build()?;
    let peer = Keepalived::start(&lab, pace)?;
    let victim = holder(&lab, &peer)?;
    let watched = failover::watch_lab(&lab, peer.vip().into(), ASK, after, || victim.die())?;
    let last = watched.arp.answers(watched.vip).last();
    ensure!(
        last.is_some_and(|s| s.mac != victim.host().mac()),
        "nobody took over from {}",
        victim.name()
    );
    Ok(watched)
}

/// keepalived freezes on the node with the address; gives the answers that were one too many.
fn freeze(pace: Pace) -> Result<usize> {
    let lab = Lab::builder().nodes(3).build()?;
    let peer = Keepalived::start(&lab, pace)?;
    let frozen = holder(&lab, &peer)?;
    let capture = LanCapture::start(lab.switch())?;
    let asker = NeighbourProber::start(lab.watcher(), &[peer.vip().into()], ASK)?;
    std::thread::sleep(Duration::from_millis(300));
    keepalived::freeze(frozen, true)?;
    std::thread::sleep(AFTER);
    drop(asker);
    let duplicates = capture.stop().duplicates(Duration::MAX).len();
    keepalived::freeze(frozen, false)?;
    Ok(duplicates)
}

fn holder<'a>(lab: &'a Lab, peer: &Keepalived) -> Result<&'a Node> {
    let mac = neighbour::who_has(lab.watcher(), peer.vip().into(), PATIENCE)?;
    lab.node_of(mac)
        .context("a stranger answers for the address")
}
