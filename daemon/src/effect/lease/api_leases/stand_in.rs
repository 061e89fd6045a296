//! A stand-in for the API server, in this process, for tests: leases with the real server's versions, preconditions, lists in
//! pages and watches, and the faults that a real one has on bad days.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request, Response};
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What the server is like at present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// Connections are refused.
    pub(crate) away: bool,
    /// Requests come nowhere, and are never answered.
    pub(crate) black_hole: bool,
    /// Writes are done, and never answered.
    pub(crate) lost_answers: bool,
    /// How long a write takes.
    pub(crate) write_delay: Duration,
    /// Verbs that the caller may not use.
    pub(crate) denied: Vec<&'static str>,
    /// There is no namespace to write to.
    pub(crate) no_namespace: bool,
    /// Too many requests: come again after so many seconds.
    pub(crate) busy: Option<u64>,
}

/// The server. Clones are the same server.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    weather: Weather,
    revision: u64,
    uids: u64,
    leases: BTreeMap<String, Lease>,
    history: Vec<Event>,
    compacted: u64,
    watches: Vec<Watch>,
    snapshots: HashMap<String, (u64, Vec<Lease>)>,
    requests: Vec<String>,
    writes_at_once: (usize, usize),
}

#[derive(Clone)]
struct Event {
    revision: u64,
    before: Option<Lease>,
    after: Option<Lease>,
}

struct Watch {
    lines: mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>,
    /// Open, and nothing comes any more.
    frozen: bool,
}

impl ApiServer {
    /// A client of this server, with its task on `runtime`.
    pub(crate) fn client(&self, runtime: &Handle) -> kube::Client {
        let _entered = runtime.enter();
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        kube::Client::new(service, "landfall-system")
    }

    /// Changes the weather.
    pub(crate) fn weather(&self, change: impl FnOnce(&mut Weather)) {
        let mut state = self.state();
        change(&mut state.weather);
        if state.weather.away {
            state.watches.clear();
        }
    }

    /// The requests so far: verb and name.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// The most writes that were under way at once.
    pub(crate) fn most_writes_at_once(&self) -> usize {
        self.state().writes_at_once.1
    }

    /// A lease as it is.
    pub(crate) fn lease(&self, name: &str) -> Option<Lease> {
        self.state().leases.get(name).cloned()
    }

    /// Somebody edits a lease.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Lease)) {
        let mut state = self.state();
        let mut lease = state.leases.get(name).expect("it is there").clone();
        edit(&mut lease);
        state.commit(name, Some(lease));
    }

    /// Somebody makes a lease.
    pub(crate) fn make(&self, mut lease: Lease) {
        let mut state = self.state();
        let name = lease.metadata.name.clone().expect("it has a name");
        state.uids += 1;
        lease.metadata.uid = Some(format!("uid-{}", state.uids));
        state.commit(&name, Some(lease));
    }

    /// Somebody deletes a lease.
    pub(crate) fn remove(&self, name: &str) {
        self.state().commit(name, None);
    }

    /// Watches break.
    pub(crate) fn cut_watches(&self) {
        for watch in self.state().watches.drain(..) {
            let _ = watch.lines.send(Err("connection reset".into()));
        }
    }

    /// How many watches are open.
    pub(crate) fn open_watches(&self) -> usize {
        self.state().watches.len()
    }

    /// Watches stay open, and nothing comes by them any more.
    pub(crate) fn freeze_watches(&self) {
        for watch in &mut self.state().watches {
            watch.frozen = true;
        }
    }

    /// Watches are told how far the server has come.
    pub(crate) fn bookmark(&self) {
        let mut state = self.state();
        let revision = state.revision.to_string();
        let object = json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"resourceVersion": revision}});
        state.send(&json!({"type": "BOOKMARK", "object": object}));
    }

    /// The server forgets what was before now: a watch from then is refused.
    pub(crate) fn compact(&self) {
        let mut state = self.state();
        state.compacted = state.revision;
        state.history.clear();
        state.snapshots.clear();
    }

    /// The store is put back to what it was: fewer revisions, and other leases.
    pub(crate) fn restore(&self, revision: u64, keep: impl Fn(&str) -> bool) {
        let mut state = self.state();
        state.revision = revision;
        state.leases.retain(|name, _| keep(name));
        for lease in state.leases.values_mut() {
            let version = lease
                .metadata
                .resource_version
                .as_mut()
                .expect("it has one");
            if version.parse::<u64>().expect("a number") > revision {
                *version = revision.to_string();
            }
        }
        state.compacted = revision;
        state.history.clear();
        state.watches.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    async fn answer(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let query: HashMap<String, String> = form(parts.uri.query().unwrap_or_default());
        let name = parts
            .uri
            .path()
            .split_once("/leases/")
            .map(|(_, name)| name.to_owned());
        let verb = match (&parts.method, &name) {
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) if query.contains_key("watch") => "watch",
            (&Method::GET, None) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            _ => "delete",
        };
        let writes = matches!(verb, "create" | "update" | "delete");
        let weather = {
            let mut state = self.state();
            state
                .requests
                .push(format!("{verb} {}", name.as_deref().unwrap_or_default()));
            state.weather.clone()
        };
        if weather.away {
            return Err("connection refused".into());
        }
        if weather.black_hole {
            std::future::pending::<()>().await;
        }
        if let Some(seconds) = weather.busy {
            let text = Full::new(Bytes::from("Too many requests, please try again later.\n"));
            let answer = Response::builder()
                .status(429)
                .header("Retry-After", seconds);
            return Ok(answer.body(text.map_err(never).boxed_unsync())?);
        }
        if weather.denied.contains(&verb) {
            return Ok(refuse(403, "Forbidden", json!({})));
        }
        if writes {
            {
                let mut state = self.state();
                state.writes_at_once.0 += 1;
                state.writes_at_once.1 = state.writes_at_once.1.max(state.writes_at_once.0);
            }
            tokio::time::sleep(weather.write_delay).await;
            self.state().writes_at_once.0 -= 1;
        }
        if weather.no_namespace && writes {
            return Ok(refuse(404, "NotFound", json!({"kind": "namespaces"})));
        }
        let answer = match verb {
            "get" => self.get(&name.expect("it has a name")),
            "list" => self.list(&query),
            "watch" => self.watch(&query),
            "create" => self.create(serde_json::from_slice(&body)?),
            "update" => self.update(
                &name.expect("it has a name"),
                serde_json::from_slice(&body)?,
            ),
            _ => self.delete(
                &name.expect("it has a name"),
                &serde_json::from_slice(&body)?,
            ),
        };
        if weather.lost_answers && writes {
            std::future::pending::<()>().await;
        }
        Ok(answer)
    }

    fn get(&self, name: &str) -> Answer {
        match self.state().leases.get(name) {
            Some(lease) => object(200, lease),
            None => refuse(404, "NotFound", json!({"kind": "leases", "name": name})),
        }
    }

    fn list(&self, query: &HashMap<String, String>) -> Answer {
        let mut state = self.state();
        let limit = query
            .get("limit")
            .map_or(usize::MAX, |limit| limit.parse().expect("a number"));
        let (token, from) = match query.get("continue") {
            Some(place) => {
                let (token, from) = place.split_once('/').expect("a token of ours");
                (token.to_owned(), from.parse::<usize>().expect("a number"))
            }
            None => (format!("{}", state.requests.len()), 0),
        };
        if from == 0 {
            let all = state.leases.values().filter(|lease| is_selected(lease));
            let snapshot = (state.revision, all.cloned().collect());
            state.snapshots.insert(token.clone(), snapshot);
        }
        let Some((revision, all)) = state.snapshots.get(&token) else {
            return refuse(410, "Expired", json!({}));
        };
        let items: Vec<&Lease> = all.iter().skip(from).take(limit).collect();
        let next = from + items.len();
        let place = if next < all.len() {
            format!("{token}/{next}")
        } else {
            String::new()
        };
        object(
            200,
            &json!({
                "kind": "LeaseList",
                "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"resourceVersion": revision.to_string(), "continue": place},
                "items": items,
            }),
        )
    }

    fn watch(&self, query: &HashMap<String, String>) -> Answer {
        let mut state = self.state();
        let from: u64 = query["resourceVersion"].parse().expect("a number");
        let (lines, read) = mpsc::unbounded_channel();
        if from < state.compacted {
            let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "message": "too old resource version", "code": 410});
            let _ = lines.send(Ok(line(&json!({"type": "ERROR", "object": gone}))));
        } else {
            for event in state.history.iter().filter(|event| event.revision > from) {
                if let Some(told) = event.told() {
                    let _ = lines.send(Ok(line(&told)));
                }
            }
            // From the future: silent until the store has come so far.
            let frozen = from > state.revision;
            state.watches.push(Watch { lines, frozen });
        }
        let lines = stream::unfold(read, |mut read| async move {
            let line = read.recv().await?;
            Some((line, read))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    fn create(&self, mut lease: Lease) -> Answer {
        let mut state = self.state();
        let name = lease.metadata.name.clone().expect("it has a name");
        assert!(lease.metadata.resource_version.is_none(), "not on creation");
        if state.leases.contains_key(&name) {
            return refuse(409, "AlreadyExists", json!({"name": name}));
        }
        state.uids += 1;
        lease.metadata.uid = Some(format!("uid-{}", state.uids));
        state.commit(&name, Some(lease));
        object(201, &state.leases[&name])
    }

    fn update(&self, name: &str, mut lease: Lease) -> Answer {
        let mut state = self.state();
        let (uid, version) = (
            lease.metadata.uid.clone(),
            lease.metadata.resource_version.clone(),
        );
        let Some(found) = state.leases.get(name) else {
            if uid.is_some() {
                return refuse(409, "Conflict", json!({"name": name}));
            }
            // Leases can be made with a PUT, whatever version it names.
            state.uids += 1;
            lease.metadata.uid = Some(format!("uid-{}", state.uids));
            state.commit(name, Some(lease));
            return object(201, &state.leases[name]);
        };
        let is_other = uid.is_some() && uid != found.metadata.uid;
        if is_other || version != found.metadata.resource_version {
            return refuse(409, "Conflict", json!({"name": name}));
        }
        lease.metadata.uid.clone_from(&found.metadata.uid);
        if *found != lease {
            state.commit(name, Some(lease));
        }
        object(200, &state.leases[name])
    }

    fn delete(&self, name: &str, options: &Value) -> Answer {
        let mut state = self.state();
        let Some(found) = state.leases.get(name) else {
            return refuse(404, "NotFound", json!({"kind": "leases", "name": name}));
        };
        let expected = |field| {
            options["preconditions"][field]
                .as_str()
                .map(ToOwned::to_owned)
        };
        let other = expected("resourceVersion")
            .is_some_and(|it| Some(it) != found.metadata.resource_version)
            || expected("uid").is_some_and(|it| Some(it) != found.metadata.uid);
        if other {
            return refuse(409, "Conflict", json!({"name": name}));
        }
        state.commit(name, None);
        object(
            200,
            &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
        )
    }
}

impl State {
    fn commit(&mut self, name: &str, after: Option<Lease>) {
        self.revision += 1;
        let revision = self.revision;
        let stamp = |mut lease: Lease| {
            lease.metadata.resource_version = Some(revision.to_string());
            lease
        };
        let after = after.map(stamp);
        let before = match &after {
            Some(lease) => self.leases.insert(name.to_owned(), lease.clone()),
            None => self.leases.remove(name),
        };
        let event = Event {
            revision,
            before: before.map(stamp),
            after,
        };
        if let Some(told) = event.told() {
            self.send(&told);
        }
        self.history.push(event);
    }

    fn send(&mut self, told: &Value) {
        let sent = |watch: &mut Watch| watch.frozen || watch.lines.send(Ok(line(told))).is_ok();
        self.watches.retain_mut(sent);
    }
}

impl Event {
    /// The event as a watch with our selector tells it: a lease that loses its labels is gone for that watch.
    fn told(&self) -> Option<Value> {
        let before = self.before.as_ref().filter(|lease| is_selected(lease));
        let after = self.after.as_ref().filter(|lease| is_selected(lease));
        let (kind, object) = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
        };
        Some(json!({"type": kind, "object": object}))
    }
}

fn is_selected(lease: &Lease) -> bool {
    let labels = lease.metadata.labels.clone().unwrap_or_default();
    labels
        .get("app.kubernetes.io/managed-by")
        .is_some_and(|by| by == "landfall")
        && labels.contains_key("landfall.dev/lease")
}

fn line(told: &Value) -> Frame<Bytes> {
    Frame::data(format!("{told}\n").into())
}

fn object(code: u16, object: &impl serde::Serialize) -> Answer {
    let text = serde_json::to_vec(object).expect("it has a form");
    let answer = Response::builder().status(code);
    let body = Full::new(Bytes::from(text)).map_err(never).boxed_unsync();
    answer.body(body).expect("a whole answer")
}

fn refuse(code: u16, reason: &str, details: Value) -> Answer {
    object(
        code,
        &json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": code, "reason": reason, "message": reason, "details": details,
        }),
    )
}

fn never(never: Infallible) -> BoxError {
    match never {}
}

/// The parameters of a query.
fn form(query: &str) -> HashMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let plain = |text: &str| {
        text.replace("%2F", "/")
            .replace("%2C", ",")
            .replace("%3D", "=")
    };
    pairs
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect()
}
