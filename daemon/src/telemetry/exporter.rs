//! Serves the metrics, `GET /metrics` in Prometheus' text format, and the agent's health, `GET /livez` and `GET /readyz`, on a
//! listener of its own.
//!
//! The listener is ours and not the exporter crate's, so that a scrape first refreshes the gauges. One
//! task; it has no channel and reads the [`Snapshot`]. Cancelled, it ends as `http::serve` does. A
//! port that is taken costs the metrics and the health, and nothing else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{gauge, metric};
use crate::api;
use crate::api::health::Check;
use crate::api::snapshot::Snapshot;
use crate::http::{self, Answer};

/// A gauge that no scrape refreshed for so long is of a pool or interface that is gone.
const FORGET: Duration = Duration::from_secs(300);

/// Path of the metrics.
const METRICS: &str = "/metrics";
/// Path of the question whether the agent lives.
const LIVEZ: &str = "/livez";
/// Path of the question whether the agent is ready.
const READYZ: &str = "/readyz";
/// How long the answer on health may take; the kubelet is told to wait for 5 s.
const LOOK: Duration = Duration::from_secs(4);

/// Installs the recorder that every `metrics` macro of the process writes to.
///
/// # Errors
/// When one is installed already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(FORGET))
        .install_recorder()?;
    metric::describe();
    Ok(handle)
}

/// The bound endpoint.
#[derive(Debug)]
pub struct Exporter {
    listener: TcpListener,
    handle: PrometheusHandle,
}

impl Exporter {
    /// Binds it.
    ///
    /// # Errors
    /// When the address is taken or is none of the node's.
    pub async fn bind(address: SocketAddr, handle: PrometheusHandle) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            handle,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until cancelled.
    pub async fn run(self, snapshot: Arc<dyn Snapshot>, cancel: CancellationToken) {
        let handle = self.handle.clone();
        let respond = move |request| respond(request, Arc::clone(&snapshot), handle.clone());
        http::serve(&self, respond, &cancel).await;
    }
}

impl http::Listener for Exporter {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Some(stream))
    }
}

async fn respond(
    request: Request<Incoming>,
    snapshot: Arc<dyn Snapshot>,
    handle: PrometheusHandle,
) -> Answer {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood\n");
    }
    let verbose = request.uri().query().is_some_and(is_verbose);
    match request.uri().path() {
        METRICS => metrics(snapshot, handle).await,
        LIVEZ => health("livez", verbose, move || snapshot.live()).await,
        READYZ => health("readyz", verbose, move || snapshot.ready()).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "there are only /metrics, /livez and /readyz\n",
        ),
    }
}

/// `?verbose` lists the checks of an agent that is well too.
fn is_verbose(query: &str) -> bool {
    let mut words = query.split('&');
    words.any(|word| word.split('=').next() == Some("verbose"))
}

async fn metrics(snapshot: Arc<dyn Snapshot>, handle: PrometheusHandle) -> Answer {
    let rendered = tokio::task::spawn_blocking(move || {
        gauge::refresh(snapshot.as_ref());
        handle.render()
    });
    match rendered.await {
        Ok(rendered) => answer(StatusCode::OK, "text/plain; version=0.0.4", rendered),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

/// Answers even where looking takes too long: whoever asks learns more from a reason than from silence.
async fn health(
    question: &str,
    verbose: bool,
    look: impl FnOnce() -> Vec<Check> + Send + 'static,
) -> Answer {
    let looked = tokio::time::timeout(LOOK, tokio::task::spawn_blocking(look));
    let checks = match looked.await {
        Ok(Ok(checks)) => checks,
        Ok(Err(_)) | Err(_) => vec![Check {
            name: "agent",
            fault: Some(format!("did not tell within {} s", LOOK.as_secs())),
        }],
    };
    let (well, told) = api::health::tell(question, &checks, verbose);
    let status = if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    text(status, told)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // A proxy's memory of health is worth nothing.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests;
