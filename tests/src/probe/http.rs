//! Asks a web server all the time, on a new connection each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::task::Task;
use super::web::{self, Answer, PATIENCE};
use crate::lab::host::Host;

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it was begun.
    pub begun: Instant,
    /// When it had its answer, or failed.
    pub ended: Instant,
    /// The answer, or what went wrong.
    pub result: Result<Answer, String>,
}

/// A running prober.
#[derive(Debug)]
pub struct HttpProber(Task<HttpRecord>);

/// What a prober saw.
#[derive(Debug, Clone)]
pub struct HttpRecord {
    /// All requests in order.
    pub requests: Vec<Request>,
}

impl HttpProber {
    /// Starts asking `target`, one request after the other, `pause` apart.
    #[must_use]
    pub fn start(host: &Host, target: SocketAddr, pause: Duration) -> Self {
        Self(Task::start(host, "http", move |stop| {
            let mut requests = Vec::new();
            while !stop.is_raised() {
                let begun = Instant::now();
                let result = web::get(target, PATIENCE).map_err(|e| format!("{e:#}"));
                requests.push(Request {
                    begun,
                    ended: Instant::now(),
                    result,
                });
                std::thread::sleep(pause);
            }
            HttpRecord { requests }
        }))
    }

    /// Stops asking and gives the record.
    #[must_use]
    pub fn stop(self) -> HttpRecord {
        self.0.stop()
    }
}

impl HttpRecord {
    /// The requests that failed, were not answered with 200, or took so long that a packet must
    /// have been lost and sent again.
    #[must_use]
    pub fn lost(&self) -> Vec<&Request> {
        // TCP's first retransmission of a SYN comes after 1 s, of data after 200 ms at least.
        const RETRANSMISSION: Duration = Duration::from_millis(200);
        self.requests
            .iter()
            .filter(|request| match &request.result {
                Ok(answer) => answer.status != 200 || answer.took >= RETRANSMISSION,
                Err(_) => true,
            })
            .collect()
    }
}
