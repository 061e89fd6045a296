//! HTTP/1.1 for the admin socket and the metrics: one accept loop, a task per connection, and an end
//! in good order.
//!
//! At most [`CONNECTIONS`] are open at once, so that forgotten clients cannot use up descriptors.
//! Cancelled, [`serve`] stops accepting and gives answers under way [`PATIENCE`] to finish.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Connections open at once.
const CONNECTIONS: usize = 16;
/// A client that has not asked by then is let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Something that yields connections.
pub(crate) trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; nothing where its peer is not admitted.
    fn accept(&self) -> impl Future<Output = io::Result<Option<Self::Stream>>> + Send;
}

/// Answers requests until cancelled.
pub(crate) async fn serve<L, R, F>(listener: &L, respond: R, cancel: &CancellationToken)
where
    L: Listener,
    R: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accept = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok(Some(stream)) => {
                let (respond, cancel) = (respond.clone(), cancel.clone());
                connections.spawn(async move {
                    converse(stream, respond, cancel).await;
                    drop(permit);
                });
            }
            Ok(None) => {}
            Err(error) => {
                // Out of descriptors, most likely: give others the time to close some.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(PATIENCE, connections.wait())
        .await
        .is_err()
    {
        warn!("an answer stays unfinished");
    }
}

async fn converse<S, R, F>(stream: S, respond: R, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = respond(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = cancel.cancelled() => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        ended = Some(connection.await);
    }
    if let Some(Err(error)) = ended {
        debug!(%error, "a client went away");
    }
}
