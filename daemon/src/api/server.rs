//! Serves the admin socket.
//!
//! One task; it has no channel and reads the [`Snapshot`]. Cancelled, it ends as `http::serve` does
//! and removes the socket.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use landfall_core::model::ServiceName;
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::route;
use super::snapshot::Snapshot;
use crate::http::{self, Answer};

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error("another agent serves {0}; stop it, or set api.socket to another path")]
    InUse(PathBuf),
    /// There is something that is no socket.
    #[error("{0} exists and is no socket; remove it, or set api.socket to another path")]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot serve {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The bound socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Who runs the agent, and owns the socket; root but in tests.
    owner: u32,
}

impl Server {
    /// Binds the socket, replacing one that a dead agent left behind.
    ///
    /// # Errors
    /// When another agent answers on it, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(dir) = path.parent() {
            // Only a directory made here gets the mode; /run keeps its own.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(failed)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(BindError::InUse(path.to_owned())),
                Err(_) => std::fs::remove_file(path).map_err(failed)?,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).map_err(failed)?;
        let owner = std::fs::metadata(path).map_err(failed)?.uid();
        Ok(Self {
            listener,
            path: path.to_owned(),
            owner,
        })
    }

    /// Answers until cancelled, then removes the socket.
    pub async fn run(self, snapshot: Arc<dyn Snapshot>, cancel: CancellationToken) {
        let respond = move |request| respond(request, Arc::clone(&snapshot));
        http::serve(&self, respond, &cancel).await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            debug!(%error, "the admin socket was gone already");
        }
    }
}

impl http::Listener for Server {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        if permitted(&stream, self.owner) {
            return Ok(Some(stream));
        }
        warn!("the admin socket refused a caller that is not root");
        Ok(None)
    }
}

/// Whether the peer is root, or whoever runs the agent.
fn permitted(stream: &UnixStream, owner: u32) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == owner)
}

async fn respond(request: Request<Incoming>, snapshot: Arc<dyn Snapshot>) -> Answer {
    let path = request.uri().path().to_owned();
    let changes = [route::DRAIN, route::UNDRAIN].contains(&path.as_str());
    let change = match *request.method() {
        Method::GET if path != route::UNDRAIN => false,
        Method::POST if changes => true,
        _ => return not_allowed(changes),
    };
    let told = tokio::task::spawn_blocking(move || {
        if change {
            drain(path == route::DRAIN, snapshot.as_ref())
        } else {
            tell(&path, snapshot.as_ref())
        }
    })
    .await;
    told.unwrap_or_else(|_| {
        failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the agent is stopping, or this is a bug",
        )
    })
}

fn not_allowed(changes: bool) -> Answer {
    let (methods, problem) = if changes {
        ("GET, POST", "only GET and POST are understood here")
    } else {
        ("GET", "only GET is understood")
    };
    let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, problem);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn drain(drained: bool, snapshot: &dyn Snapshot) -> Answer {
    match snapshot.set_drained(drained) {
        Ok(drain) => json(StatusCode::OK, &drain),
        Err(problem) => failure(StatusCode::INTERNAL_SERVER_ERROR, &problem),
    }
}

fn tell(path: &str, snapshot: &dyn Snapshot) -> Answer {
    match path {
        route::STATUS => json(StatusCode::OK, &snapshot.status()),
        route::SERVICES => json(StatusCode::OK, &snapshot.frontends()),
        route::POOLS => json(StatusCode::OK, &snapshot.pools()),
        route::LEASES => json(StatusCode::OK, &snapshot.leases()),
        route::L2 => json(StatusCode::OK, &snapshot.announcements()),
        route::HISTORY => json(StatusCode::OK, &snapshot.history()),
        route::DRAIN => json(StatusCode::OK, &snapshot.drain()),
        path if path.starts_with(route::SERVICE) => service(path, snapshot),
        _ => failure(
            StatusCode::NOT_FOUND,
            "no such path; this agent may be of another version",
        ),
    }
}

fn service(path: &str, snapshot: &dyn Snapshot) -> Answer {
    let name = path.strip_prefix(route::SERVICE);
    let name = name.and_then(|name| name.split_once('/'));
    let name = name.map(|(namespace, name)| ServiceName::new(namespace, name));
    let Some(name) = name else {
        return failure(
            StatusCode::NOT_FOUND,
            "a Service is asked for by NAMESPACE/NAME",
        );
    };
    match snapshot.service(&name) {
        Some(service) => json(StatusCode::OK, &service),
        None => {
            let problem = format!(
                "Service {name} has no address to ask for or to announce, or is not there; `landfall status` tells of \
                 objects that are wrong"
            );
            failure(StatusCode::NOT_FOUND, &problem)
        }
    }
}

fn failure(status: StatusCode, problem: &str) -> Answer {
    json(status, &serde_json::json!({ "error": problem }))
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("reports have string keys only");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("constant headers are valid")
}

#[cfg(test)]
mod tests;
