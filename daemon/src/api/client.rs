//! Asks an agent over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// An agent that has not answered by then is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there.
    #[error(
        "no agent serves {0}; start one with `systemctl start landfall`, or name its socket \
             with --socket"
    )]
    NotRunning(PathBuf),
    /// The caller may not.
    #[error("only root may ask the agent at {0}; try again with sudo")]
    NotPermitted(PathBuf),
    /// The system refuses.
    #[error("cannot connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The agent does not answer in time.
    #[error("the agent at {0} does not answer; see its log")]
    Stuck(PathBuf),
    /// The exchange broke off.
    #[error("the agent broke off")]
    Http(#[from] hyper::Error),
    /// The agent declines.
    #[error("the agent declined: {0}")]
    Declined(String),
    /// The answer is not what was asked for.
    #[error("the agent's answer is of another version")]
    Decode(#[from] serde_json::Error),
}

/// Asks the agent at `socket` for `path`.
///
/// # Errors
/// When there is no agent, it does not answer within ten seconds, or declines.
pub async fn ask<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, AskError> {
    send(socket, Method::GET, path).await
}

/// Tells the agent at `socket` to do what `path` stands for.
///
/// # Errors
/// As [`ask`].
pub async fn tell<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, AskError> {
    send(socket, Method::POST, path).await
}

async fn send<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<T, AskError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NotRunning(socket.to_owned())
            }
            io::ErrorKind::PermissionDenied => AskError::NotPermitted(socket.to_owned()),
            _ => AskError::Connect {
                path: socket.to_owned(),
                source,
            },
        })?;
    let (status, body) = tokio::time::timeout(PATIENCE, exchange(stream, method, path))
        .await
        .map_err(|_| AskError::Stuck(socket.to_owned()))??;
    if status == StatusCode::OK {
        return Ok(serde_json::from_slice(&body)?);
    }
    let told: serde_json::Value = serde_json::from_slice(&body)?;
    Err(AskError::Declined(
        told["error"].as_str().unwrap_or(status.as_str()).to_owned(),
    ))
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "landfall")
        .body(Empty::<Bytes>::new())
        .expect("constant paths are valid");
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    // The connection moves the bytes; both are driven here, so that nothing outlives the question.
    tokio::select! {
        answer = answer.as_mut() => answer,
        moved = connection.as_mut() => {
            moved?;
            answer.await
        }
    }
}
