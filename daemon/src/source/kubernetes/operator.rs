//! Whether Cilium's own operator runs: then Cilium's kinds are its business, and are left alone.
//!
//! It tells by its lease, which it renews every few seconds. The lease is looked at every ten seconds, and only while the
//! server has Cilium's kinds and they are ours by the settings. The operator counts as running while the lease changed within
//! ten minutes: one that is being replaced has not gone, and to take its pools over in between would give its addresses away.
//!
//! Channels: looks at what [`super::discovery`] publishes, and publishes the verdict on `watch`, nothing before there is one.
//! Cancelled by being dropped: it holds nothing.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::discovery::Served;
use super::failure::Failure;
use crate::pause::Pause;

/// Where the operator's lease is.
const NAMESPACE: &str = "kube-system";
/// Its name.
const LEASE: &str = "cilium-operator-resource-lock";
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long it may stay as it is.
const STALE: Duration = Duration::from_secs(600);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Looks after the verdict.
pub(super) struct Operator {
    pub(super) client: Client,
    pub(super) served: watch::Receiver<Served>,
    pub(super) running: watch::Sender<Option<bool>>,
}

impl Operator {
    pub(super) async fn run(mut self) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let (mut judge, mut pause) = (Judge::default(), Pause::new());
        let mut refused: Option<Instant> = None;
        loop {
            let there = |served: &Served| !served.versions.is_empty();
            if self.served.wait_for(there).await.is_err() {
                return;
            }
            let answer = timeout(ANSWER, leases.get(LEASE)).await;
            let answer = answer.map(|answer| answer.map_err(Failure::of));
            let lease = match answer {
                Ok(Ok(lease)) => Some(lease),
                Ok(Err(failure)) if failure.is_unknown() => None,
                // A server that has just started refuses everybody for a while, so this alone changes no verdict.
                Ok(Err(failure)) if failure.is_forbidden() => {
                    let since = *refused.get_or_insert_with(Instant::now);
                    if self.running.borrow().is_some() || since.elapsed() < LOOK {
                        sleep(pause.take()).await;
                        continue;
                    }
                    let reason = failure.reason;
                    warn!(
                        reason,
                        "the agent may not look whether Cilium's operator runs and takes it for gone; let it get that lease, or set services.cilium to false where Cilium announces"
                    );
                    None
                }
                // What was found last stays true.
                Ok(Err(_)) | Err(_) => {
                    sleep(pause.take()).await;
                    continue;
                }
            };
            let renewed = lease.as_ref().and_then(renewed);
            let running = judge.see(renewed, Timestamp::now(), Instant::now());
            pause.reset();
            refused = None;
            let before = self.running.send_replace(Some(running));
            match (before, running) {
                (None | Some(false), true) => {
                    info!("Cilium's operator runs; Cilium's pools and policies are left to it");
                }
                (Some(true), false) => {
                    info!("Cilium's operator is gone; Cilium's pools and policies are read");
                }
                _ => {}
            }
            sleep(LOOK).await;
        }
    }
}

/// When the lease was renewed last; nothing where nobody holds it.
fn renewed(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    let held = spec.holder_identity.as_deref();
    let renewed = spec.renew_time.as_ref()?;
    held.filter(|holder| !holder.is_empty()).map(|_| renewed.0)
}

/// Tells by the lease's changes, as this node sees them, whether its holder lives.
#[derive(Debug, Default)]
struct Judge {
    /// The renewal seen last, and until when that counts.
    seen: Option<(Timestamp, Instant)>,
}

impl Judge {
    /// Takes in the lease's last renewal. Clocks are compared at the first sight alone: there is nothing else to go by.
    fn see(&mut self, renewed: Option<Timestamp>, clock: Timestamp, now: Instant) -> bool {
        let Some(renewed) = renewed else {
            self.seen = None;
            return false;
        };
        let until = match self.seen {
            Some((before, until)) if before == renewed => until,
            Some(_) => now + STALE,
            None => now + STALE.saturating_sub(clock.duration_since(renewed).unsigned_abs()),
        };
        self.seen = Some((renewed, until));
        now < until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    #[test]
    fn the_operator_runs_while_its_lease_changes_and_for_ten_minutes_after() {
        let (mut judge, now) = (Judge::default(), Instant::now());
        assert!(judge.see(Some(at(0)), at(2), now));
        assert!(judge.see(Some(at(10)), at(12), now));
        assert!(judge.see(Some(at(10)), at(12), now + STALE - LOOK));
        assert!(!judge.see(Some(at(10)), at(12), now + STALE));
        assert!(judge.see(Some(at(11)), at(700), now + STALE));
    }

    #[test]
    fn a_lease_that_was_old_at_first_sight_is_nobodys_until_it_changes() {
        let (mut judge, now) = (Judge::default(), Instant::now());
        assert!(!judge.see(Some(at(0)), at(601), now));
        assert!(!judge.see(Some(at(0)), at(601), now + LOOK));
        assert!(judge.see(Some(at(602)), at(602), now + LOOK));
    }

    #[test]
    fn a_lease_that_is_not_there_or_given_up_is_nobodys() {
        let (mut judge, now) = (Judge::default(), Instant::now());
        assert!(!judge.see(None, at(0), now));
        assert!(
            judge.see(Some(at(0)), at(30), now),
            "another node's clock is ahead"
        );
        assert!(!judge.see(None, at(0), now));
        let mut lease = Lease::default();
        assert_eq!(renewed(&lease), None);
        let spec = lease.spec.insert(Default::default());
        spec.renew_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(
            at(3),
        ));
        assert_eq!(renewed(&lease), None, "nobody holds it");
        lease.spec.get_or_insert_default().holder_identity = Some("operator-x".to_owned());
        assert_eq!(renewed(&lease), Some(at(3)));
    }
}
