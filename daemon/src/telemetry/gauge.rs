//! Sets the metrics from the agent's reports. Called for each scrape, so that an idle agent stays
//! idle and a scrape is never stale.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use metrics::{counter, gauge};

use super::metric;
use crate::api::snapshot::{ApiWork, Ground, Level, Pool, Snapshot, Status};

/// Reads the reports and sets every gauge.
pub(super) fn refresh(snapshot: &dyn Snapshot) {
    let told = snapshot.status();
    status(&told);
    ground(&told.ground);
    if let Some(work) = &told.api {
        api(work);
    }
    pools(&snapshot.pools());
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floats")]
fn status(status: &Status) {
    gauge!(metric::BUILD_INFO.name, "version" => status.version.clone()).set(1.0);
    let started = status
        .started
        .0
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    gauge!(metric::START_TIME.name).set(started.as_secs_f64());
    for source in &status.sources {
        gauge!(metric::SOURCE_SYNCED.name, "source" => source.name.clone())
            .set(f64::from(u8::from(source.synced)));
    }
    for (severity, level) in [("error", Level::Error), ("warning", Level::Warning)] {
        let count = status
            .complaints
            .iter()
            .filter(|c| c.severity == level)
            .count();
        gauge!(metric::COMPLAINTS.name, "severity" => severity).set(count as f64);
    }
    for (metric, value) in [
        (metric::SERVICES, status.services.ours),
        (metric::SERVICES_SATISFIED, status.services.satisfied),
        (metric::SERVICES_LEFT_OUT, status.services.left_out),
        (metric::FRONTENDS, status.services.frontends),
        (metric::BACKENDS, status.services.backends),
        (metric::LEASES_HELD, status.leases.held),
        (metric::LEASES, status.leases.total),
        (metric::CONFLICTS, status.conflicts),
        (metric::STORE_SYNCED, u64::from(status.leases.synced)),
    ] {
        gauge!(metric.name).set(value as f64);
    }
    if let Some(renewed) = status.leases.renewed_ms_ago {
        gauge!(metric::NODE_LEASE_AGE.name).set(renewed as f64 / 1000.0);
    }
    let mut announced: BTreeMap<&str, u32> = BTreeMap::new();
    for interface in &status.datapath.interfaces {
        announced.insert(&interface.name, 0);
        let (how, value) = match &interface.attached {
            Some(how) => (how.clone(), 1.0),
            None => ("nothing".to_owned(), 0.0),
        };
        let labels = [("interface", interface.name.clone()), ("attached", how)];
        gauge!(metric::INTERFACE_ATTACHED.name, &labels).set(value);
    }
    for one in &status.announced {
        *announced
            .entry(one.interface.as_deref().unwrap_or("unknown"))
            .or_default() += 1;
    }
    for (interface, count) in announced {
        gauge!(metric::ANNOUNCED.name, "interface" => interface.to_owned()).set(f64::from(count));
    }
    for map in &status.datapath.maps {
        gauge!(metric::MAP_ENTRIES.name, "map" => map.name.clone()).set(map.entries as f64);
        gauge!(metric::MAP_CAPACITY.name, "map" => map.name.clone()).set(map.capacity as f64);
    }
    for one in &status.datapath.verdicts {
        counter!(metric::PACKETS.name, "verdict" => one.verdict.clone()).absolute(one.packets);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floats")]
fn ground(ground: &Ground) {
    gauge!(metric::RIGHT.name).set(f64::from(u8::from(ground.holds_ms.is_some())));
    for state in ["self", "heard", "silent", "refused"] {
        let members = ground.members.iter().filter(|member| member.state == state);
        gauge!(metric::MEMBERS.name, "state" => state).set(members.count() as f64);
    }
    for (metric, ms) in [
        (metric::GRANT_AGE, ground.grant_age_ms),
        (metric::DEADLINE_SLACK, ground.least_slack_ms),
    ] {
        gauge!(metric.name).set(ms.map_or(f64::NAN, |ms| ms as f64 / 1000.0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floats")]
fn api(work: &ApiWork) {
    for kind in &work.kinds {
        for (metric, value) in [
            (metric::KIND_SYNCED, u64::from(kind.synced)),
            (metric::KIND_TROUBLED, u64::from(kind.trouble.is_some())),
            (metric::KIND_OBJECTS, kind.objects),
        ] {
            gauge!(metric.name, "kind" => kind.name.clone()).set(value as f64);
        }
    }
    gauge!(metric::STATUS_WAITING.name).set(work.status_waiting as f64);
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floats")]
fn pools(pools: &[Pool]) {
    for pool in pools {
        gauge!(metric::POOL_USED.name, "pool" => pool.name.clone()).set(pool.used as f64);
        // A /64 has more addresses than a float counts one by one; nobody misses the last of them.
        let free = pool.free.parse().unwrap_or(f64::INFINITY);
        gauge!(metric::POOL_FREE.name, "pool" => pool.name.clone()).set(free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::snapshot::WatchedKind;
    use crate::telemetry::Scrape;

    #[test]
    fn each_kind_of_the_api_says_how_far_it_is_read() {
        let scrape = Scrape::new();
        let _here = scrape.here();
        let kind = |name: &str, synced, objects, trouble: Option<&str>| WatchedKind {
            name: name.to_owned(),
            synced,
            objects,
            trouble: trouble.map(ToOwned::to_owned),
        };
        api(&ApiWork {
            kinds: vec![
                kind("Service", true, 2_000, None),
                kind("Node", false, 0, Some("forbidden")),
            ],
            status_waiting: 7,
        });
        let told = |what: &str, kind: &str| {
            scrape.value(&format!("landfall_kind_{what}{{kind=\"{kind}\"}}"))
        };
        let all = |kind: &str| ["synced", "objects", "troubled"].map(|what| told(what, kind));
        assert_eq!(all("Service"), [Some(1.0), Some(2_000.0), Some(0.0)]);
        assert_eq!(all("Node"), [Some(0.0), Some(0.0), Some(1.0)]);
        assert_eq!(scrape.value("landfall_status_waiting"), Some(7.0));
    }
}
