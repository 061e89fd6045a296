//! What an agent at rest costs, by the number of services: memory and processor time.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Row;
use crate::figures;
use crate::lab::manifests::{labels, service};
use crate::lab::node::Node;
use crate::lab::{Lab, wait};

/// The figures' names: services, memory, processor time.
const SIZES: [(usize, &str, &str); 3] = [
    (0, "idle.0.rss", "idle.0.cpu"),
    (1_000, "idle.1k.rss", "idle.1k.cpu"),
    (10_000, "idle.10k.rss", "idle.10k.cpu"),
];

/// How long processor time is counted for, and how often.
const SPAN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

/// Addresses for the services. They need not lie on the LAN: nothing asks for them.
const POOL: &str = "\
apiVersion: landfall.dev/v1alpha1
kind: LoadBalancerIPPool
metadata:
  name: wide-pool
spec:
  blocks:
  - cidr: 172.30.0.0/16
";

pub(super) fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (services, memory, processor) in SIZES {
        let lab = Lab::builder().nodes(1).build()?;
        lab.manifests().write("wide-pool.yaml", POOL)?;
        lab.manifests()
            .write("services.yaml", &manifest(services)?)?;
        let node = lab.node(0);
        node.start_agent()?;
        wait::until(
            Duration::from_secs(60),
            "the agent to know all services",
            || {
                let listed = node.frontends()?;
                Ok(listed.iter().filter(|f| f.kind == "LoadBalancer").count() == services)
            },
        )?;
        let (mut mebibytes, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let before = ticks(node)?;
            std::thread::sleep(SPAN);
            // Ticks of 10 ms (USER_HZ is 100 on all of Linux's common platforms).
            shares.push((ticks(node)? - before) / SPAN.as_secs_f64());
            mebibytes.push(node.agent_resident()?);
        }
        rows.push(Row {
            name: memory,
            figure: figures::record(memory, "MiB", &mebibytes)?,
        });
        rows.push(Row {
            name: processor,
            figure: figures::record(processor, "% core", &shares)?,
        });
    }
    Ok(rows)
}

/// As many services, in one file.
fn manifest(services: usize) -> Result<String> {
    let mut text = String::new();
    for number in 0..services {
        let app = labels(&[("app", "none")]);
        let object = service(&format!("s{number}"), &app, &app, &[("web", "TCP", 80)]);
        // JSON is YAML, and quicker to write and to read.
        writeln!(text, "---\n{object}")?;
    }
    Ok(text)
}

/// The agent's processor time so far, user and system, in ticks (proc(5), fields 14 and 15).
pub(super) fn ticks(node: &Node) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.agent_pid()?))?;
    let (_, after_name) = stat.rsplit_once(") ").context("an odd /proc/PID/stat")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let at = |index: usize| -> Result<f64> {
        Ok(fields
            .get(index)
            .context("a short /proc/PID/stat")?
            .parse()?)
    };
    Ok(at(11)? + at(12)?)
}
