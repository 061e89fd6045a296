//! The requests about leases. Lists, and the beginning of a watch, have their time-outs here; the others are a writer's,
//! who has one for all that a write takes.
//!
//! By hand instead of by `kube::Api`: its errors lose the header `Retry-After`, which priority and fairness sends with a
//! refusal that has no status object, and its writes have no way to tell the server how long they are of any use.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode, header};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::client::Body;
use kube::core::{Status, WatchEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{ApiLeaseError, Verb, is_about_namespace};
use super::object::{SELECTOR, Version};
use landfall_core::election::LeaseName;

/// Objects on one page of a list. A thousand bytes each, or so.
const PAGE: u32 = 500;
/// How long a page of a list, or the beginning of a watch, may take.
const READING: Duration = Duration::from_secs(3);
/// How long the server lets a watch run.
const WATCHING: Duration = Duration::from_secs(290);
/// Who writes, in `managedFields`; and for how long the server is to try: nobody waits for longer.
const WRITE_PARAMETERS: &str = "fieldManager=landfall&timeout=1s";

/// How a request for one lease ended that the server has dealt with.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done; the object as it is now, where there is one.
    Done(Option<Box<Lease>>),
    /// Another version was there, or none, or one too many.
    Conflict,
    /// There is no such lease.
    NotFound,
}

/// A part of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) metadata: ListMeta,
    pub(super) items: Vec<Lease>,
}

/// The leases of one namespace.
#[derive(Clone)]
pub(super) struct Requests {
    client: Client,
    namespace: String,
    path: String,
}

impl Requests {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            path: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
        }
    }

    /// Reads one lease, as it is now.
    pub(super) async fn get(&self, name: &LeaseName) -> Result<Answer, ApiLeaseError> {
        let uri = format!("{}/{name}", self.path);
        self.one(Verb::Get, Method::GET, &uri, Vec::new()).await
    }

    /// Makes one that must not be there.
    pub(super) async fn create(&self, lease: &Lease) -> Result<Answer, ApiLeaseError> {
        let uri = format!("{}?{WRITE_PARAMETERS}", self.path);
        let body = form(lease);
        self.one(Verb::Create, Method::POST, &uri, body).await
    }

    /// Replaces the version that is named in `lease`.
    pub(super) async fn replace(
        &self,
        name: &LeaseName,
        lease: &Lease,
    ) -> Result<Answer, ApiLeaseError> {
        let uri = format!("{}/{name}?{WRITE_PARAMETERS}", self.path);
        let body = form(lease);
        self.one(Verb::Update, Method::PUT, &uri, body).await
    }

    /// Deletes that version.
    pub(super) async fn delete(
        &self,
        name: &LeaseName,
        version: &Version,
    ) -> Result<Answer, ApiLeaseError> {
        let uri = format!("{}/{name}?timeout=1s", self.path);
        let body = form(&serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {
                "resourceVersion": version.revision.to_string(),
                "uid": version.uid,
            },
        }));
        self.one(Verb::Delete, Method::DELETE, &uri, body).await
    }

    /// A page of all leases of ours, as they are now; and then those after it, as they were then.
    pub(super) async fn list(&self, after: Option<String>) -> Result<Page, ApiLeaseError> {
        let parameters = ListParams {
            continue_token: after,
            ..ListParams::default().labels(SELECTOR).limit(PAGE)
        };
        let request = kube::core::Request::new(self.path.as_str())
            .list(&parameters)
            .expect("a selector and a limit go together");
        let answered = self.send(request.map(Body::from));
        let bytes = in_time(Verb::List, answered)
            .await?
            .map_err(|(status, after)| self.refused(Verb::List, &status, after))?;
        read(&bytes)
    }

    /// What happens to leases of ours after `revision`, with bookmarks.
    pub(super) async fn watch(&self, revision: u64) -> Result<Watch, ApiLeaseError> {
        let seconds = u32::try_from(WATCHING.as_secs()).expect("it is minutes");
        let parameters = WatchParams::default().labels(SELECTOR).timeout(seconds);
        let request = kube::core::Request::new(self.path.as_str())
            .watch(&parameters, &revision.to_string())
            .expect("a watch may be this long");
        let opened = async {
            let answer = self.client.send(request.map(Body::from)).await;
            let answer = answer.map_err(|error| ApiLeaseError::Unreachable(error.into()))?;
            if answer.status().is_success() {
                return Ok(answer.into_body());
            }
            let (status, after) = refusal(answer).await?;
            Err(self.refused(Verb::Watch, &status, after))
        };
        Ok(Watch {
            body: in_time(Verb::Watch, opened).await?,
            read: Vec::new(),
            namespace: self.namespace.clone(),
        })
    }

    async fn one(
        &self,
        verb: Verb,
        method: Method,
        uri: &str,
        body: Vec<u8>,
    ) -> Result<Answer, ApiLeaseError> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .expect("names of leases and namespaces may stand in a path");
        match self.send(request).await? {
            // A deletion is answered by a status, or by the object as it was.
            Ok(_) if verb == Verb::Delete => Ok(Answer::Done(None)),
            Ok(bytes) => Ok(Answer::Done(Some(Box::new(read(&bytes)?)))),
            Err((status, after)) => match StatusCode::from_u16(status.code) {
                Ok(StatusCode::NOT_FOUND) if !is_about_namespace(&status) => Ok(Answer::NotFound),
                Ok(StatusCode::CONFLICT) => Ok(Answer::Conflict),
                _ => Err(self.refused(verb, &status, after)),
            },
        }
    }

    /// Sends a request, and reads the answer to its end: what was asked for, or why not and when to come again.
    async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Result<Bytes, (Status, Option<Duration>)>, ApiLeaseError> {
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|error| ApiLeaseError::Unreachable(error.into()))?;
        if !answer.status().is_success() {
            return Ok(Err(refusal(answer).await?));
        }
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| ApiLeaseError::Unreachable(error.into()))?;
        Ok(Ok(body.to_bytes()))
    }

    fn refused(&self, verb: Verb, status: &Status, after: Option<Duration>) -> ApiLeaseError {
        ApiLeaseError::refusal(verb, &self.namespace, status, after)
    }
}

/// A watch that goes on: one JSON object on each line.
pub(super) struct Watch {
    body: Body,
    /// What has come of a line that is not whole yet, and maybe of those after it.
    read: Vec<u8>,
    namespace: String,
}

impl Watch {
    /// The next event; nothing once the server has ended the watch. May be given up and asked for again.
    ///
    /// # Errors
    /// The connection broke, or the server says why it cannot go on.
    pub(super) async fn next(&mut self) -> Result<Option<WatchEvent<Lease>>, ApiLeaseError> {
        let mut looked = 0;
        loop {
            let end = self.read[looked..].iter().position(|octet| *octet == b'\n');
            if let Some(end) = end {
                let rest = self.read.split_off(looked + end + 1);
                let line = std::mem::replace(&mut self.read, rest);
                return match read(&line)? {
                    WatchEvent::Error(status) => {
                        let (verb, namespace) = (Verb::Watch, &self.namespace);
                        Err(ApiLeaseError::refusal(verb, namespace, &status, None))
                    }
                    event => Ok(Some(event)),
                };
            }
            looked = self.read.len();
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| ApiLeaseError::Unreachable(error.into()))?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

/// What the server says instead of what was asked for, and when to come again.
async fn refusal(answer: Response<Body>) -> Result<(Status, Option<Duration>), ApiLeaseError> {
    let code = answer.status().as_u16();
    let after = answer.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| ApiLeaseError::Unreachable(error.into()))?;
    let body = body.to_bytes();
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        // Not the API server's own form: refused before it, by priority and fairness or a proxy.
        Status::failure(&String::from_utf8_lossy(&body), "")
    });
    Ok((status.with_code(code), after.map(Duration::from_secs)))
}

async fn in_time<T>(
    verb: Verb,
    answered: impl Future<Output = Result<T, ApiLeaseError>>,
) -> Result<T, ApiLeaseError> {
    let late = Err(ApiLeaseError::late(verb));
    tokio::time::timeout(READING, answered)
        .await
        .unwrap_or(late)
}

fn form(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data has a form")
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiLeaseError> {
    serde_json::from_slice(bytes).map_err(ApiLeaseError::Form)
}
