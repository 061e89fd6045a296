//! A stand-in for the API server, in this process: objects by path, versions, watches, compare-and-swap, and server-side apply
//! for the status of Services, as far as effects use them. It remembers every request that was made.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use kube::client::{Body, Client};
use serde_json::{Value, json};
use tokio::sync::watch;

mod apply;

/// A request as it was made.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

/// What the server does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Answers them.
    #[default]
    Well,
    /// Takes them and never answers.
    Silent,
    /// Answers all with this code.
    Refusing(u16),
}

#[derive(Debug, Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<String, Value>,
    /// Every event: its version, the object's path, and the event.
    history: Vec<(u64, String, Value)>,
    seen: Vec<Seen>,
    mood: Mood,
    /// Counts the times that watches were cut off.
    cuts: u64,
}

/// The server. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct ApiStandIn {
    inner: Arc<Mutex<Inner>>,
    news: watch::Sender<()>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl ApiStandIn {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            version: 100,
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            news: watch::channel(()).0,
        }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// Ends every watch.
    pub(crate) fn cut_watches(&self) {
        self.lock().cuts += 1;
        self.news.send_replace(());
    }

    /// The object at `path`, if there is one.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// Puts an object there as somebody else would. Returns it with its version.
    pub(crate) fn put(&self, path: &str, object: Value) -> Value {
        let mut inner = self.lock();
        let kind = if inner.objects.contains_key(path) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let written = inner.write(path, object, kind);
        drop(inner);
        self.news.send_replace(());
        written
    }

    /// Removes an object as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        let mut inner = self.lock();
        let object = inner.objects.get(path).cloned().expect("it is there");
        inner.write(path, object, "DELETED");
        drop(inner);
        self.news.send_replace(());
    }

    /// Puts back the version to an earlier one, as a restored store has it, and forgets what happened.
    pub(crate) fn restore(&self, version: u64, path: &str, mut object: Value) {
        let mut inner = self.lock();
        inner.version = version;
        inner.history.clear();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        inner.objects.insert(path.to_owned(), object);
    }

    /// Requests that were made so far, watches and lists left out.
    pub(crate) fn writes(&self) -> Vec<Seen> {
        let seen = self.lock().seen.clone();
        seen.into_iter().filter(|it| it.method != "GET").collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics with it")
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map(|body| body.to_bytes());
        let bytes = bytes.unwrap_or_default();
        let content_type = parts.headers.get("content-type");
        let seen = Seen {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            content_type: content_type
                .and_then(|it| it.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        };
        let mood = {
            let mut inner = self.lock();
            inner.seen.push(seen.clone());
            inner.mood
        };
        match mood {
            Mood::Well => self.serve(&seen),
            Mood::Silent => loop {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            },
            Mood::Refusing(code) => failure(code, "Refused", "as the test has it"),
        }
    }

    fn serve(&self, seen: &Seen) -> Answer {
        let mut inner = self.lock();
        let (method, path) = (seen.method.as_str(), seen.path.as_str());
        let answer = match method {
            "GET" if seen.query.contains("watch=true") => {
                let cuts = inner.cuts;
                drop(inner);
                return self.watch(seen, cuts);
            }
            "GET" if seen.query.contains("fieldSelector") => inner.list(seen),
            "GET" => inner
                .objects
                .get(path)
                .map_or_else(missing, |it| ok(it.clone())),
            "POST" => inner.create(seen),
            "PUT" => inner.replace(seen),
            "PATCH" if seen.content_type.contains("apply-patch") => inner.apply(seen),
            "PATCH" => inner.merge(seen),
            _ => failure(405, "MethodNotAllowed", "not known here"),
        };
        drop(inner);
        self.news.send_replace(());
        answer
    }

    fn watch(&self, seen: &Seen, cuts: u64) -> Answer {
        let path = format!("{}/{}", seen.path, name_of(&seen.query));
        let since: u64 = value_of(&seen.query, "resourceVersion")
            .parse()
            .expect("a number");
        if since > self.lock().version {
            let gone = json!({"type": "ERROR", "object": {
                "kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "status": "Failure"}});
            return respond(200, Full::from(format!("{gone}\n")).boxed_unsync());
        }
        let (server, mut news) = (self.clone(), self.news.subscribe());
        news.mark_changed();
        let events = unfold((server, news, since), move |(server, mut news, since)| {
            let path = path.clone();
            async move {
                loop {
                    let next = {
                        let inner = server.lock();
                        if inner.cuts != cuts {
                            return None;
                        }
                        let mut events = inner.history.iter();
                        let event = events.find(|(version, of, _)| *version > since && *of == path);
                        event.map(|(version, _, event)| (*version, format!("{event}\n")))
                    };
                    if let Some((version, line)) = next {
                        let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(line)));
                        return Some((frame, (server, news, version)));
                    }
                    news.changed().await.ok()?;
                }
            }
        });
        respond(200, StreamBody::new(events).boxed_unsync())
    }
}

impl Inner {
    /// Writes an object, or its end, at the next version.
    fn write(&mut self, path: &str, mut object: Value, event: &str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if event == "DELETED" {
            self.objects.remove(path);
        } else {
            self.objects.insert(path.to_owned(), object.clone());
        }
        let told = json!({"type": event, "object": object});
        self.history.push((self.version, path.to_owned(), told));
        object
    }

    fn list(&self, seen: &Seen) -> Answer {
        let path = format!("{}/{}", seen.path, name_of(&seen.query));
        let items: Vec<&Value> = self.objects.get(&path).into_iter().collect();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        ok(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn create(&mut self, seen: &Seen) -> Answer {
        let name = seen.body["metadata"]["name"].as_str().expect("a name");
        let path = format!("{}/{name}", seen.path);
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists", "it is there");
        }
        ok(self.write(&path, seen.body.clone(), "ADDED"))
    }

    fn replace(&mut self, seen: &Seen) -> Answer {
        let Some(known) = self.objects.get(&seen.path) else {
            return missing();
        };
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if version(known) != version(&seen.body) {
            return failure(409, "Conflict", "it has been modified");
        }
        ok(self.write(&seen.path, seen.body.clone(), "MODIFIED"))
    }

    /// A merge patch of the parts of `spec`: what leases are renewed by.
    fn merge(&mut self, seen: &Seen) -> Answer {
        let Some(mut object) = self.objects.get(&seen.path).cloned() else {
            return missing();
        };
        for (key, value) in seen.body["spec"].as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        ok(self.write(&seen.path, object, "MODIFIED"))
    }
}

/// The name that a field selector asks for.
fn name_of(query: &str) -> String {
    let selector = value_of(query, "fieldSelector");
    let name = selector.strip_prefix("metadata.name%3D");
    name.expect("one object by its name").to_owned()
}

fn value_of(query: &str, key: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| *name == key);
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

fn ok(object: Value) -> Answer {
    respond(200, Full::from(object.to_string()).boxed_unsync())
}

fn missing() -> Answer {
    failure(404, "NotFound", "it is not there")
}

fn failure(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code});
    respond(code, Full::from(status.to_string()).boxed_unsync())
}

fn respond(code: u16, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let response = Response::builder().status(code);
    let response = response.header("content-type", "application/json");
    response.body(body).expect("a response")
}
