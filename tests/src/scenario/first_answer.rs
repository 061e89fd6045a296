//! How soon a new service answers, counted from its manifest.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::Stage;
use crate::lab::manifests::{labels, service};
use crate::lab::wait;
use crate::probe::web;

/// Addresses for services that come later, on the LAN and none of a machine's.
const POOL: &str = "\
apiVersion: landfall.dev/v1alpha1
kind: LoadBalancerIPPool
metadata:
  name: later-pool
spec:
  blocks:
  - cidr: 10.10.200.128/26
";

/// The first address that is given out, and how many there are.
const FIRST: u8 = 129;
const MOST: u8 = 60;

/// Adds `services` services, one after the other, and gives the time from each manifest's
/// appearance to the first answer to the client.
///
/// # Errors
/// When one does not answer within 10 s.
///
/// # Panics
/// When more services are asked for than the pool has addresses.
pub fn of_new_services(stage: &Stage, services: u8) -> Result<Vec<Duration>> {
    assert!(
        services <= MOST,
        "the pool has {MOST} addresses, not {services}"
    );
    let (lab, client) = (&stage.lab, stage.lab.client());
    lab.objects().write("later-pool.yaml", POOL)?;
    // A client that asks for a neighbour once a second would measure its own patience.
    client.sysctl("ipv4/neigh/ens3/retrans_time_ms", "5")?;
    client.sysctl("ipv4/neigh/ens3/mcast_solicit", "2000")?;
    let mut times = Vec::new();
    for number in 0..services {
        let ip: IpAddr = Ipv4Addr::new(10, 10, 200, FIRST + number).into();
        let name = format!("later{number}");
        let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
        let mut object = service(&name, &blue, &app, &[("web", "TCP", 80)]);
        object["metadata"]["annotations"] = json!({"landfall.dev/ips": ip.to_string()});
        let begun = Instant::now();
        lab.objects()
            .write_object(&format!("{name}.yaml"), &object)?;
        client.run(|| {
            wait::until_ok(Duration::from_secs(10), "the new service", || {
                web::get((ip, 80).into(), Duration::from_secs(2))
            })
        })?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
