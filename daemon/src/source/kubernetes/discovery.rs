//! Which custom kinds of a group the server has, and in which version.
//!
//! One task per group asks, for all kinds of it at once: at the start, when somebody was told that a kind is not there, and
//! while one is missing, at most every five seconds. Where all are there it asks nothing.
//!
//! Channels: publishes [`Served`] on `watch`, after every look; `asked` wakes it. Cancelled by being dropped: it holds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::failure::{Failure, LATE};
use super::kind::WatchedKind;
use crate::objects::{CILIUM_VERSIONS, VERSION};
use crate::pause::Pause;

/// The first pause while a kind is missing; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(500);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What the last look at a group found.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    /// Looks so far.
    pub(super) looks: u64,
    /// The versions of the kinds that are there.
    pub(super) versions: BTreeMap<WatchedKind, &'static str>,
    /// Why the look failed, where it did; then the versions are those of the last one that did not.
    pub(super) failure: Option<Failure>,
}

/// Looks at the kinds of one group.
pub(super) struct Discovery {
    pub(super) client: Client,
    /// Kinds of one group.
    pub(super) kinds: [WatchedKind; 2],
    pub(super) served: watch::Sender<Served>,
    /// Somebody wants another look.
    pub(super) asked: Arc<Notify>,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl Discovery {
    pub(super) async fn run(self) {
        let mut pause = Pause::new();
        let mut rest = FIRST;
        loop {
            let found = self.look().await;
            let known = self.served.borrow().versions.len();
            let complete = found.as_ref().map(|versions| {
                if versions.len() > known {
                    // Definitions come together: the other one will not be long.
                    rest = FIRST;
                }
                versions.len() == self.kinds.len()
            });
            let complete = complete.map_err(|_| ());
            self.served.send_modify(|served| {
                served.looks += 1;
                served.failure = None;
                match found {
                    Ok(versions) => served.versions = versions,
                    Err(failure) => served.failure = Some(failure),
                }
            });
            match complete {
                Ok(true) => {
                    pause.reset();
                    rest = FIRST;
                    self.asked.notified().await;
                }
                Ok(false) => {
                    pause.reset();
                    // Whoever asks has waited: what is missing is looked for no more often by it.
                    let _asked = timeout(rest, self.asked.notified()).await;
                    rest = LONGEST.min(rest * 2);
                }
                Err(()) => sleep(pause.take()).await,
            }
        }
    }

    /// The versions in which the kinds are served, the newest of those that are read.
    async fn look(&self) -> Result<BTreeMap<WatchedKind, &'static str>, Failure> {
        let group = self.kinds[0].group();
        let mut found = BTreeMap::new();
        let known: &[&'static str] = if self.kinds[0].is_cilium() {
            &CILIUM_VERSIONS
        } else {
            &[VERSION]
        };
        // One question tells that there is nothing of a group; with one version it would be one too many.
        let served: Option<Vec<String>> = if known.len() > 1 {
            let Some(group) = self.ask::<Group>(&format!("/apis/{group}")).await? else {
                return Ok(found);
            };
            Some(group.versions.into_iter().map(|it| it.version).collect())
        } else {
            None
        };
        for version in known.iter().copied().rev() {
            let there = |served: &Vec<String>| served.iter().any(|it| it == version);
            if found.len() == self.kinds.len() || !served.as_ref().is_none_or(there) {
                continue;
            }
            let path = format!("/apis/{group}/{version}");
            let Some(list) = self.ask::<ResourceList>(&path).await? else {
                continue;
            };
            for kind in self.kinds {
                if list.resources.iter().any(|it| it.name == kind.plural()) {
                    found.entry(kind).or_insert(version);
                }
            }
        }
        Ok(found)
    }

    /// What is at `path`; nothing where the server knows of no such thing.
    async fn ask<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>, Failure> {
        timeout(ANSWER, self.request(path))
            .await
            .unwrap_or_else(|_| Err(Failure::plain(LATE)))
    }

    async fn request<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
    ) -> Result<Option<T>, Failure> {
        let request = Request::get(path).body(Body::empty());
        let request = request.expect("paths of groups are plain");
        let answer = self.client.send(request).await.map_err(Failure::of)?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            status if !status.is_success() => return Err(Failure::answered(status.as_u16(), path)),
            _ => {}
        }
        let body = answer.into_body().collect().await.map_err(Failure::of)?;
        let parsed = serde_json::from_slice(&body.to_bytes());
        parsed.map(Some).map_err(|error| {
            Failure::plain(&format!("{path} is not what a server answers: {error}"))
        })
    }
}
