//! A stand-in for the API server, within the process: lists in pages, watches with bookmarks, definitions that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const POOLS: &str = "/apis/landfall.dev/v1alpha1/loadbalancerippools";
pub(super) const POLICIES: &str = "/apis/landfall.dev/v1alpha1/l2announcementpolicies";
pub(super) const CILIUM_POOLS: &str = "/apis/cilium.io/v2/ciliumloadbalancerippools";
pub(super) const CILIUM_POLICIES: &str = "/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies";

pub(super) const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/cilium-operator-resource-lock";

type Chunk = io::Result<Frame<Bytes>>;

/// The server, and everything in it.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    version: u64,
    /// Older states of the cluster are forgotten.
    oldest: u64,
    collections: BTreeMap<String, BTreeMap<String, Value>>,
    /// What happened to objects: when, in which collection, and the event.
    log: Vec<(u64, String, Value)>,
    watchers: Vec<(String, mpsc::UnboundedSender<Chunk>)>,
    down: bool,
    frozen: bool,
    page: usize,
    /// The next page that is asked for is too old.
    expire_page: bool,
    forbidden: BTreeSet<String>,
    /// When Cilium's operator renewed its lease, where it has one.
    lease: Option<String>,
    requests: Vec<String>,
}

impl World {
    fn tell(&mut self, collection: &str, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        self.watchers.retain(|(watched, watcher)| {
            watched != collection || watcher.send(Ok(Frame::data(line.clone()))).is_ok()
        });
    }
}

impl Server {
    /// A server with all definitions of Landfall, and no object.
    pub(super) fn new() -> Self {
        let server = Self::default();
        for collection in [SERVICES, SLICES, NODES, POOLS, POLICIES] {
            server.define(collection);
        }
        let mut world = server.world();
        (world.version, world.page) = (100, 500);
        drop(world);
        server
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panics while it has it")
    }

    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if server.world().frozen {
                    std::future::pending::<()>().await;
                }
                server.answer(&request)
            }
        });
        Client::new(service, "default")
    }

    /// Creates or replaces an object.
    pub(super) fn put(&self, collection: &str, mut object: Value) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let objects = world.collections.get_mut(collection);
        let objects = objects.expect("a collection that is defined");
        let before = objects.get(&name).cloned();
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = version.to_string().into();
        let stamp = format!(
            "2026-01-01T00:{:02}:{:02}Z",
            version / 60 % 60,
            version % 60
        );
        let mut stamped = json!({"uid": format!("uid-{version}"), "creationTimestamp": stamp});
        if collection.ends_with("services") || collection.ends_with("slices") {
            stamped["namespace"] = "default".into();
        }
        for (field, value) in stamped.as_object().expect("a map") {
            let kept = before.as_ref().map(|before| &before["metadata"][field]);
            if metadata.get(field).is_none() {
                metadata[field] = kept.unwrap_or(value).clone();
            }
        }
        objects.insert(name, object.clone());
        let what = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let event = json!({"type": what, "object": object});
        world
            .log
            .push((version, collection.to_owned(), event.clone()));
        world.tell(collection, &event);
    }

    pub(super) fn delete(&self, collection: &str, name: &str) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        let objects = world.collections.get_mut(collection);
        let removed = objects.and_then(|objects| objects.remove(name));
        let mut object = removed.expect("an object that is there");
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let event = json!({"type": "DELETED", "object": object});
        world
            .log
            .push((version, collection.to_owned(), event.clone()));
        world.tell(collection, &event);
    }

    /// Tells all watchers how far they are.
    pub(super) fn bookmark(&self) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version.to_string();
        let collections: Vec<String> = world.collections.keys().cloned().collect();
        for collection in collections {
            let object =
                json!({"apiVersion": "v1", "kind": "X", "metadata": {"resourceVersion": version}});
            world.tell(&collection, &json!({"type": "BOOKMARK", "object": object}));
        }
    }

    /// Forgets what was.
    pub(super) fn forget(&self) {
        let mut world = self.world();
        world.oldest = world.version;
    }

    /// Forgets what was, and ends all watches by saying so.
    pub(super) fn compact(&self) {
        self.forget();
        let mut world = self.world();
        for (_, watcher) in std::mem::take(&mut world.watchers) {
            let line = format!(
                "{}\n",
                json!({"type": "ERROR", "object": status(410, "too old")})
            );
            // Who is not there any more needs no telling.
            let _ = watcher.send(Ok(Frame::data(line.into())));
        }
    }

    /// Cuts all watches off.
    pub(super) fn cut(&self) {
        for (_, watcher) in std::mem::take(&mut self.world().watchers) {
            let _ = watcher.send(Err(io::ErrorKind::ConnectionReset.into()));
        }
    }

    pub(super) fn stop(&self) {
        self.world().down = true;
        self.cut();
    }

    pub(super) fn start(&self) {
        self.world().down = false;
    }

    /// Has Cilium's operator renew its lease, or lose it.
    pub(super) fn renew(&self, time: Option<String>) {
        self.world().lease = time;
    }

    /// Takes requests and answers none.
    pub(super) fn freeze(&self) {
        self.world().frozen = true;
    }

    /// Has pages of lists be so long.
    pub(super) fn pages_of(&self, objects: usize) {
        self.world().page = objects;
    }

    /// Forgets what the next page of a list belongs to.
    pub(super) fn expire_next_page(&self) {
        self.world().expire_page = true;
    }

    /// Refuses requests for a path.
    pub(super) fn forbid(&self, path: &str) {
        self.world().forbidden.insert(path.to_owned());
        self.cut();
    }

    pub(super) fn allow(&self, path: &str) {
        self.world().forbidden.remove(path);
    }

    pub(super) fn define(&self, collection: &str) {
        let mut world = self.world();
        world.collections.entry(collection.to_owned()).or_default();
    }

    /// Knows a collection no more, and keeps what was in it.
    pub(super) fn undefine(&self, collection: &str) -> BTreeMap<String, Value> {
        let removed = self.world().collections.remove(collection);
        self.cut();
        removed.expect("a collection that is there")
    }

    pub(super) fn define_with(&self, collection: &str, objects: BTreeMap<String, Value>) {
        let mut world = self.world();
        world.collections.insert(collection.to_owned(), objects);
    }

    /// The requests since the last call, as paths with queries.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.world().requests)
    }

    fn answer(&self, request: &Request<Body>) -> io::Result<Response<Answer>> {
        let mut world = self.world();
        if world.down {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let uri = request.uri();
        world.requests.push(uri.to_string());
        let path = uri.path();
        let query: BTreeMap<&str, &str> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        if world.forbidden.contains(path) {
            return Ok(plain(
                403,
                status(403, "services is forbidden: no role").to_string(),
            ));
        }
        if path == LEASE {
            let lease = world.lease.as_ref().map(|time| {
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": "cilium-operator-resource-lock"},
                    "spec": {"holderIdentity": "operator-1", "renewTime": time}})
            });
            return Ok(match lease {
                Some(lease) => plain(200, lease.to_string()),
                None => plain(404, status(404, "leases \"x\" not found").to_string()),
            });
        }
        if !world.collections.contains_key(path) {
            return Ok(world.discovery(path));
        }
        if query.contains_key("watch") {
            let from: u64 = query["resourceVersion"].parse().expect("a version");
            return Ok(world.watch(path, from));
        }
        Ok(world.list(path, &query))
    }
}

impl World {
    fn list(&mut self, path: &str, query: &BTreeMap<&str, &str>) -> Response<Answer> {
        let begin: usize = query
            .get("continue")
            .map_or(0, |token| token.parse().expect("ours"));
        if begin > 0 && std::mem::take(&mut self.expire_page) {
            return plain(
                410,
                status(410, "the continue token is too old").to_string(),
            );
        }
        let limit: usize = query["limit"].parse().expect("a limit");
        let objects = &self.collections[path];
        let items: Vec<&Value> = objects
            .values()
            .skip(begin)
            .take(limit.min(self.page))
            .collect();
        let end = begin + items.len();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if end < objects.len() {
            metadata["continue"] = end.to_string().into();
        }
        let list =
            json!({"kind": "XList", "apiVersion": "v1", "metadata": metadata, "items": items});
        plain(200, list.to_string())
    }

    fn watch(&mut self, path: &str, from: u64) -> Response<Answer> {
        let (watcher, events) = mpsc::unbounded_channel();
        if from < self.oldest {
            let line = format!(
                "{}\n",
                json!({"type": "ERROR", "object": status(410, "too old")})
            );
            watcher
                .send(Ok(Frame::data(line.into())))
                .expect("it is here");
            return streamed(events);
        }
        let missed = self
            .log
            .iter()
            .filter(|(at, of, _)| *at > from && of == path);
        for (_, _, event) in missed {
            let line = format!("{event}\n");
            watcher
                .send(Ok(Frame::data(line.into())))
                .expect("it is here");
        }
        self.watchers.push((path.to_owned(), watcher));
        streamed(events)
    }

    /// Groups, and the kinds of their versions.
    fn discovery(&self, path: &str) -> Response<Answer> {
        let below = format!("{path}/");
        let names = self
            .collections
            .keys()
            .filter_map(|it| it.strip_prefix(&below));
        let (names, deeper): (Vec<&str>, Vec<&str>) = names.partition(|name| !name.contains('/'));
        if path.matches('/').count() == 2 && !deeper.is_empty() {
            let versions = deeper.iter().filter_map(|it| it.split_once('/'));
            let versions: Vec<Value> = versions.map(|(it, _)| json!({"version": it})).collect();
            return plain(
                200,
                json!({"kind": "APIGroup", "versions": versions}).to_string(),
            );
        }
        if path.matches('/').count() == 3 && !names.is_empty() {
            let names: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            return plain(200, json!({"resources": names}).to_string());
        }
        plain(404, "404 page not found\n".to_owned())
    }
}

type Answer = StreamBody<std::pin::Pin<Box<dyn stream::Stream<Item = Chunk> + Send>>>;

fn plain(code: u16, text: String) -> Response<Answer> {
    let chunks = stream::iter([Ok(Frame::data(Bytes::from(text)))]);
    let answer = Response::builder().status(code);
    answer
        .body(StreamBody::new(Box::pin(chunks) as _))
        .expect("an answer")
}

fn streamed(events: mpsc::UnboundedReceiver<Chunk>) -> Response<Answer> {
    let chunks = stream::unfold(events, |mut events| async move {
        let chunk = events.recv().await?;
        Some((chunk, events))
    });
    Response::new(StreamBody::new(Box::pin(chunks) as _))
}

fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        _ => "Expired",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": reason, "code": code})
}
