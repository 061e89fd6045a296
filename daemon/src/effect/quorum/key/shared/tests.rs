//! Making the key, reading it, and starting without the server.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// A server that has one Secret, or none.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    secret: Option<Value>,
    /// Nothing is answered.
    away: bool,
    /// Another agent is faster with its own key, once.
    faster: Option<Value>,
    /// Refuses with this code.
    refuses: Option<u16>,
    writes: usize,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "landfall-system")
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().expect("no holder panics"));
    }

    fn writes(&self) -> usize {
        self.0.lock().expect("no holder panics").writes
    }

    /// The key in the Secret.
    fn key(&self) -> Option<String> {
        let state = self.0.lock().expect("no holder panics");
        let object: SecretObject = serde_json::from_value(state.secret.clone()?).expect("a Secret");
        let octets = object.data?.remove(ENTRY)?;
        Some(String::from_utf8(octets.0).expect("it is text"))
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        if self.0.lock().expect("no holder panics").away {
            std::future::pending::<()>().await;
        }
        let mut state = self.0.lock().expect("no holder panics");
        if let Some(code) = state.refuses {
            return refuse(code);
        }
        if parts.method == Method::GET {
            assert!(parts.uri.path().ends_with("/secrets/landfall-heartbeat"));
            return match &state.secret {
                Some(secret) => answer(200, secret),
                None => refuse(404),
            };
        }
        assert_eq!(parts.method, Method::POST);
        state.writes += 1;
        if let Some(other) = state.faster.take() {
            state.secret = Some(other);
        }
        if state.secret.is_some() {
            return refuse(409);
        }
        let made: Value = serde_json::from_slice(&body).expect("an object");
        state.secret = Some(made.clone());
        answer(201, &made)
    }
}

fn answer(code: u16, object: &Value) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(code);
    let body = Full::new(Bytes::from(object.to_string()));
    answer.body(body).expect("a whole answer")
}

fn refuse(code: u16) -> Response<Full<Bytes>> {
    let reason = match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"});
    answer(code, &status)
}

fn secret(text: &str) -> Value {
    let object = SecretObject {
        data: Some([(ENTRY.into(), ByteString(text.as_bytes().to_vec()))].into()),
        ..SecretObject::default()
    };
    serde_json::to_value(object).expect("plain data")
}

fn ours() -> String {
    "ab".repeat(32)
}

fn others() -> String {
    "cd".repeat(32)
}

fn tags_alike(one: &Secret, text: &str) -> bool {
    let other = Secret::from(text);
    let tag = one.key("heartbeat").tag(&[b"text"]);
    other.key("heartbeat").verifies(&[b"text"], &tag)
}

#[tokio::test]
async fn the_first_agent_makes_the_key_and_the_others_read_it() {
    let server = Server::default();
    let (one, other) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    for state in [&one, &other] {
        let shared = shared_secret(server.client(), "landfall-system", state.path());
        let shared = shared.await.expect("a key");
        let key = server.key().expect("it was made");
        assert_eq!(key.len(), 64);
        assert!(tags_alike(&shared.secret, &key));
        assert!(shared.unconfirmed.is_none());
        let copy = state.path().join(COPY);
        assert_eq!(fs::read_to_string(&copy).expect("a copy").trim(), key);
        let mode = fs::metadata(&copy).expect("a copy").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(server.writes(), 1);
}

#[tokio::test]
async fn an_agent_that_was_slower_takes_the_others_key() {
    let server = Server::default();
    server.set(|state| state.faster = Some(secret(&others())));
    let state = tempfile::tempdir().expect("a directory");
    let shared = shared_secret(server.client(), "landfall-system", state.path());
    assert!(tags_alike(&shared.await.expect("a key").secret, &others()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_in_the_dark_goes_by_its_copy_and_has_it_confirmed_later() {
    let server = Server::default();
    server.set(|state| state.secret = Some(secret(&ours())));
    let state = tempfile::tempdir().expect("a directory");
    let first = shared_secret(server.client(), "landfall-system", state.path());
    first.await.expect("a key");
    for (now_there, expected) in [(ours(), ours()), (others(), others())] {
        server.set(|state| state.away = true);
        let began = tokio::time::Instant::now();
        let shared = shared_secret(server.client(), "landfall-system", state.path());
        let shared = shared.await.expect("a key");
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(tags_alike(&shared.secret, &ours()));
        let told = format!("{shared:?}");
        assert!(!told.contains(&ours()), "{told}");
        let unconfirmed = shared.unconfirmed.expect("the server was not asked");
        server.set(|state| {
            state.away = false;
            state.secret = Some(secret(&now_there));
        });
        unconfirmed.confirm().await;
        let copy = fs::read_to_string(state.path().join(COPY)).expect("a copy");
        assert_eq!(copy.trim(), expected);
    }
}

#[tokio::test]
async fn a_secret_that_was_deleted_is_made_again_with_the_key_in_use() {
    let server = Server::default();
    server.set(|state| state.secret = Some(secret(&ours())));
    let state = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        let shared = shared_secret(server.client(), "landfall-system", state.path());
        shared.await.expect("a key");
        server.set(|state| state.secret = None);
    }
    let shared = shared_secret(server.client(), "landfall-system", state.path());
    shared.await.expect("a key");
    assert_eq!(server.key(), Some(ours()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_a_copy_waits_for_the_server() {
    for refuses in [None, Some(403), Some(503)] {
        let server = Server::default();
        server.set(|state| {
            state.away = refuses.is_none();
            state.refuses = refuses;
        });
        let state = tempfile::tempdir().expect("a directory");
        let shared = shared_secret(server.client(), "landfall-system", state.path());
        let mut shared = std::pin::pin!(shared);
        let waits = tokio::time::timeout(Duration::from_secs(60), &mut shared).await;
        assert!(waits.is_err(), "{refuses:?}");
        server.set(|state| {
            state.away = false;
            state.refuses = None;
        });
        let back = tokio::time::Instant::now();
        shared.await.expect("a key");
        assert!(back.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn a_secret_without_a_key_is_refused_with_what_to_do() {
    for useless in [json!({}), secret("short")] {
        let server = Server::default();
        server.set(|state| state.secret = Some(useless));
        let state = tempfile::tempdir().expect("a directory");
        let shared = shared_secret(server.client(), "landfall-system", state.path());
        let refusal = shared.await.expect_err("no key").to_string();
        assert!(refusal.contains("delete it"), "{refusal}");
        assert!(!refusal.contains("short"), "{refusal}");
    }
}
