//! Serves the metrics: `GET /metrics` in Prometheus' text format, on a listener of its own.
//!
//! The listener is ours and not the exporter crate's, so that a scrape first refreshes the gauges. One
//! task; it has no channel and reads the [`Snapshot`]. Cancelled, it ends as `http::serve` does. A
//! port that is taken costs the metrics and nothing else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{gauge, metric};
use crate::api::snapshot::Snapshot;
use crate::http::{self, Answer};

/// A gauge that no scrape refreshed for so long is of a pool or interface that is gone.
const FORGET: Duration = Duration::from_secs(300);

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
    let mut answer = Response::new(Full::new(Bytes::new()));
    if request.method() != Method::GET || request.uri().path() != "/metrics" {
        *answer.status_mut() = StatusCode::NOT_FOUND;
        *answer.body_mut() = Full::new(Bytes::from_static(b"there is only GET /metrics\n"));
        return answer;
    }
    let rendered = tokio::task::spawn_blocking(move || {
        gauge::refresh(snapshot.as_ref());
        handle.render()
    });
    match rendered.await {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            answer.headers_mut().insert(CONTENT_TYPE, kind);
            *answer.body_mut() = Full::new(Bytes::from(text));
        }
        Err(_) => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    answer
}
