//! The API server as a program uses it that keeps a connection: one request is one round trip, while
//! a `kubectl` is a process that begins by asking what the server can do.
//!
//! Owns a runtime whose threads are in the network of the machine that calls; blocks its callers.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::Request as HttpRequest;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::core::params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::resource::Resource;
use crate::lab::host::Host;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a request is made whose connection broke before the answer.
const ATTEMPTS: usize = 3;

/// Who has written what a scenario writes.
const FIELD_MANAGER: &str = "landfall-lab";

/// A connection to the API server by one identity.
pub struct Client {
    runtime: Runtime,
    client: kube::Client,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What the API server said to a request that it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status code of HTTP.
    pub code: u16,
    /// One word.
    pub reason: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Client {
    /// A client on a machine, by a kubeconfig. Does not connect yet.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(super) fn new(host: &Host, kubeconfig: &Path) -> Result<Self> {
        let host = host.clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("api-client")
            .on_thread_start(move || {
                host.enter()
                    .expect("a held namespace can be entered by root");
            })
            .enable_all()
            .build()
            .context("a runtime")?;
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            anyhow::Ok(kube::Client::try_from(config)?)
        });
        let client = client.context("a client of the API server")?;
        Ok(Self { runtime, client })
    }

    /// Makes an object be as written, as `kubectl apply --server-side` does; gives what it is now.
    ///
    /// # Errors
    /// A [`Refusal`], or what keeps the server from answering.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        let resource = Resource::of(object)?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let path = Request::new(resource.path());
        self.ask(|| Ok(path.patch(resource.name(), &params, &Patch::Apply(object))?))
            .with_context(|| format!("apply {resource}"))
    }

    /// Creates an object, whose fields the server must all know, as `kubectl create` does.
    ///
    /// # Errors
    /// As [`Self::apply`]; also when there is such an object.
    pub fn create(&self, object: &Value) -> Result<Value> {
        let resource = Resource::of(object)?;
        let path = Request::new(resource.path());
        let body = serde_json::to_vec(object)?;
        self.ask(|| {
            let mut request = path.create(&PostParams::default(), body.clone())?;
            let strict = format!("{}?fieldValidation=Strict", request.uri().path());
            *request.uri_mut() = strict.parse()?;
            Ok(request)
        })
        .with_context(|| format!("create {resource}"))
    }

    /// Changes an object by a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// As [`Self::apply`]; also when there is no such object.
    pub fn merge(&self, resource: &Resource, patch: &Value) -> Result<Value> {
        let path = Request::new(resource.path());
        let params = PatchParams::default();
        self.ask(|| Ok(path.patch(resource.name(), &params, &Patch::Merge(patch))?))
            .with_context(|| format!("patch {resource}"))
    }

    /// Changes an object's status by a strategic merge patch, which keeps conditions of other types.
    ///
    /// # Errors
    /// As [`Self::merge`].
    pub fn merge_status(&self, resource: &Resource, patch: &Value) -> Result<Value> {
        let path = Request::new(resource.path());
        let (name, params) = (resource.name(), PatchParams::default());
        let patch = Patch::Strategic(patch);
        self.ask(|| Ok(path.patch_subresource("status", name, &params, &patch)?))
            .with_context(|| format!("patch the status of {resource}"))
    }

    /// Deletes an object; none being there is fine.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn delete(&self, resource: &Resource) -> Result<()> {
        self.delete_with(resource, &DeleteParams::background())
    }

    /// Deletes an object without giving it time; none being there is fine.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn delete_now(&self, resource: &Resource) -> Result<()> {
        self.delete_with(resource, &DeleteParams::background().grace_period(0))
    }

    fn delete_with(&self, resource: &Resource, params: &DeleteParams) -> Result<()> {
        let path = Request::new(resource.path());
        let gone = self.ask(|| Ok(path.delete(resource.name(), params)?));
        match gone {
            Err(error) if refusal(&error).is_some_and(|refusal| refusal.code == 404) => Ok(()),
            other => other.map(drop),
        }
        .with_context(|| format!("delete {resource}"))
    }

    /// An object.
    ///
    /// # Errors
    /// As [`Self::apply`]; also when there is no such object.
    pub fn get(&self, resource: &Resource) -> Result<Value> {
        let path = Request::new(resource.path());
        self.ask(|| Ok(path.get(resource.name(), &GetParams::default())?))
            .with_context(|| format!("get {resource}"))
    }

    /// The objects of a kind, those of all namespaces where it has namespaces.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn list(&self, api_version: &str, kind: &str) -> Result<Vec<Value>> {
        let path = Request::new(Resource::collection(api_version, kind));
        let list = self.ask(|| Ok(path.list(&ListParams::default())?));
        let mut list = list.with_context(|| format!("list {api_version} {kind}"))?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("list {api_version} {kind}: items is {other}"),
        }
    }

    /// Makes a request, again where the connection broke.
    fn ask(&self, request: impl Fn() -> Result<HttpRequest<Vec<u8>>>) -> Result<Value> {
        for left in (0..ATTEMPTS).rev() {
            let (client, request) = (self.client.clone(), request()?);
            // On the runtime's own thread, which is the one in the right network.
            let answer = self.runtime.spawn(async move {
                let answer = timeout(PATIENCE, client.request::<Value>(request)).await;
                answer.context("the API server did not answer in time")
            });
            let answer = self.runtime.block_on(answer).context("a request")?;
            match answer? {
                Ok(value) => return Ok(value),
                Err(kube::Error::Api(status)) => {
                    return Err(Refusal {
                        code: status.code,
                        reason: status.reason.clone(),
                        message: status.message.clone(),
                    }
                    .into());
                }
                Err(kube::Error::HyperError(_) | kube::Error::Service(_)) if left > 0 => {}
                Err(other) => return Err(other.into()),
            }
        }
        bail!("no attempt was made")
    }
}

/// The refusal that an error stems from, if the server answered.
#[must_use]
pub fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.downcast_ref::<Refusal>()
}

/// All of an error's causes in one line, for a test that looks for words in them.
#[must_use]
pub fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        write!(text, "{cause}; ").expect("a String takes everything");
    }
    text
}
