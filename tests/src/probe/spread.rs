//! Which pods many new connections reach.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use super::web::{self, PATIENCE};
use crate::lab::host::Host;

/// Where the connections went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// The number of connections that reached each pod.
    pub pods: BTreeMap<String, usize>,
    /// Connections whose client the pod saw under another address than its own. Its port may differ: where one client's
    /// port meets one endpoint through two services, the second flow gets another.
    pub foreign_clients: usize,
    /// What went wrong with those that failed.
    pub failures: Vec<String>,
}

impl Spread {
    /// Makes `connections` new connections to `target`, `workers` at a time.
    #[must_use]
    pub fn measure(host: &Host, target: SocketAddr, connections: usize, workers: usize) -> Self {
        let threads: Vec<thread::JoinHandle<Self>> = (0..workers)
            .map(|worker| {
                let share = connections / workers + usize::from(worker < connections % workers);
                host.spawn("spread", move || Self::count(target, share))
            })
            .collect();
        let mut sum = Self::default();
        for thread in threads {
            sum.add(
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        sum
    }

    /// How far the least and the most used of `pods` pods are from an even share: 0.1 is 10 %.
    #[must_use]
    pub fn unevenness(&self, pods: usize) -> f64 {
        let total: usize = self.pods.values().sum();
        let share = total as f64 / pods as f64;
        let unused = pods.saturating_sub(self.pods.len());
        self.pods
            .values()
            .copied()
            .chain(std::iter::repeat_n(0, unused))
            .map(|count| (count as f64 - share).abs() / share)
            .fold(0.0, f64::max)
    }

    fn count(target: SocketAddr, connections: usize) -> Self {
        let mut spread = Self::default();
        for _ in 0..connections {
            match web::get(target, PATIENCE) {
                Ok(answer) if answer.status == 200 => {
                    spread.foreign_clients += usize::from(answer.client.ip() != answer.local.ip());
                    *spread.pods.entry(answer.pod).or_default() += 1;
                }
                Ok(answer) => spread.failures.push(format!("status {}", answer.status)),
                Err(e) => spread.failures.push(format!("{e:#}")),
            }
        }
        spread
    }

    fn add(&mut self, other: Self) {
        for (pod, count) in other.pods {
            *self.pods.entry(pod).or_default() += count;
        }
        self.foreign_clients += other.foreign_clients;
        self.failures.extend(other.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_nothing_reaches_is_wholly_uneven() {
        let pods = BTreeMap::from([("a".to_owned(), 50), ("b".to_owned(), 50)]);
        let spread = Spread {
            pods,
            ..Spread::default()
        };
        assert!(spread.unevenness(2).abs() < 1e-9);
        assert!((spread.unevenness(3) - 1.0).abs() < 1e-9);
    }
}
