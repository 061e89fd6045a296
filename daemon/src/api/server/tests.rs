use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::*;
use crate::api::client::{AskError, ask, tell};
use crate::api::health;
use crate::api::snapshot::{self, Timestamp};

/// An agent that knows one pool.
struct OnePool;

impl Snapshot for OnePool {
    fn status(&self) -> snapshot::Status {
        snapshot::Status {
            version: "0".into(),
            node: "node1".into(),
            started: Timestamp(SystemTime::UNIX_EPOCH),
            now: Timestamp(SystemTime::UNIX_EPOCH),
            sources: Vec::new(),
            services: Default::default(),
            leases: Default::default(),
            ground: Default::default(),
            datapath: Default::default(),
            drained: false,
            announced: Vec::new(),
            conflicts: 0,
            api: None,
            complaints: Vec::new(),
        }
    }

    fn frontends(&self) -> Vec<snapshot::Frontend> {
        Vec::new()
    }

    fn service(&self, name: &ServiceName) -> Option<snapshot::Service> {
        let known = *name == ServiceName::new("default", "svc1");
        known.then(|| snapshot::Service {
            namespace: "default".into(),
            name: "svc1".into(),
            addresses: Vec::new(),
            external_ips: Vec::new(),
            announced: Vec::new(),
            frontends: Vec::new(),
            conditions: Vec::new(),
            events: Vec::new(),
        })
    }

    fn pools(&self) -> Vec<snapshot::Pool> {
        vec![snapshot::Pool {
            name: "blue".into(),
            blocks: vec!["10.10.200.0/29".into()],
            disabled: false,
            conflicts_with: None,
            total: "6".into(),
            used: 3,
            free: "3".into(),
        }]
    }

    fn leases(&self) -> Vec<snapshot::Lease> {
        Vec::new()
    }

    fn announcements(&self) -> Vec<snapshot::Announcement> {
        Vec::new()
    }

    fn history(&self) -> Vec<snapshot::HandOver> {
        Vec::new()
    }

    fn drain(&self) -> snapshot::Drain {
        snapshot::Drain::default()
    }

    fn set_drained(&self, drained: bool) -> Result<snapshot::Drain, String> {
        if drained {
            let held = vec!["landfall-l2-default.web".to_owned()];
            Ok(snapshot::Drain { drained, held })
        } else {
            Err("the disk is full".to_owned())
        }
    }

    fn live(&self) -> Vec<health::Check> {
        Vec::new()
    }

    fn ready(&self) -> Vec<health::Check> {
        Vec::new()
    }
}

struct Running {
    dir: tempfile::TempDir,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let server = Server::bind(&dir.path().join("run/landfall.sock")).expect("nothing is there");
        let cancel = CancellationToken::new();
        let task = tokio::spawn(server.run(Arc::new(OnePool), cancel.clone()));
        Self { dir, cancel, task }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/landfall.sock")
    }
}

#[tokio::test]
async fn a_question_is_answered_with_the_snapshot() {
    let running = Running::start();
    let pools: Vec<snapshot::Pool> = ask(&running.socket(), route::POOLS).await.expect("served");
    assert_eq!(pools, OnePool.pools());
    let status: snapshot::Status = ask(&running.socket(), route::STATUS).await.expect("served");
    assert_eq!(status, OnePool.status());
}

#[tokio::test]
async fn a_service_is_told_of_by_its_name_and_one_that_is_not_there_by_what_to_look_at() {
    let running = Running::start();
    let ask_for = |name: &'static str| {
        let socket = running.socket();
        async move { ask::<snapshot::Service>(&socket, &format!("{}{name}", route::SERVICE)).await }
    };
    assert_eq!(ask_for("default/svc1").await.expect("known").name, "svc1");
    for (name, reason) in [
        ("default/svc2", "Service default/svc2"),
        ("svc1", "NAMESPACE/NAME"),
    ] {
        let refused = ask_for(name).await;
        assert!(matches!(refused, Err(AskError::Declined(told)) if told.contains(reason)));
    }
}

#[tokio::test]
async fn only_a_post_drains_and_a_failure_is_told_with_its_reason() {
    let running = Running::start();
    let drain: snapshot::Drain = ask(&running.socket(), route::DRAIN).await.expect("served");
    assert_eq!(drain, snapshot::Drain::default());
    let drain: snapshot::Drain = tell(&running.socket(), route::DRAIN).await.expect("done");
    assert!(drain.drained);
    let refused = tell::<snapshot::Drain>(&running.socket(), route::UNDRAIN).await;
    assert!(matches!(refused, Err(AskError::Declined(reason)) if reason == "the disk is full"));
    for path in [route::UNDRAIN, "/v1/nothing"] {
        ask::<snapshot::Drain>(&running.socket(), path)
            .await
            .expect_err("declined");
    }
    let posted = tell::<snapshot::Status>(&running.socket(), route::STATUS).await;
    assert!(
        matches!(posted, Err(AskError::Declined(reason)) if reason == "only GET is understood")
    );
}

#[tokio::test]
async fn an_unknown_path_is_declined_with_a_reason() {
    let running = Running::start();
    let error = ask::<serde_json::Value>(&running.socket(), "/v9/x")
        .await
        .expect_err("unknown");
    assert!(matches!(error, AskError::Declined(reason) if reason.contains("another version")));
}

#[tokio::test]
async fn socket_and_directory_are_for_root_alone() {
    let running = Running::start();
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(mode(&running.socket()), 0o600);
    assert_eq!(mode(running.socket().parent().expect("it has one")), 0o700);
}

#[tokio::test]
async fn a_second_agent_is_told_that_the_first_is_there() {
    let running = Running::start();
    let error = Server::bind(&running.socket()).expect_err("it is served");
    assert!(matches!(error, BindError::InUse(_)), "{error}");
}

#[tokio::test]
async fn a_socket_left_by_a_dead_agent_is_replaced() {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let path = dir.path().join("landfall.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("nothing is there"));
    assert!(path.exists());
    Server::bind(&path).expect("nobody answers on it");
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_not_touched() {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let path = dir.path().join("landfall.sock");
    std::fs::write(&path, "precious").expect("the temporary directory is writable");
    let error = Server::bind(&path).expect_err("it is a file");
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(
        std::fs::read_to_string(&path).expect("still there"),
        "precious"
    );
}

#[tokio::test]
async fn cancelled_it_ends_and_leaves_no_socket() {
    let running = Running::start();
    running.cancel.cancel();
    running.task.await.expect("it ends by itself");
    assert!(!running.dir.path().join("run/landfall.sock").exists());
}

#[tokio::test]
async fn without_an_agent_the_caller_is_told_how_to_start_one() {
    let path = Path::new("/nonexistent/landfall.sock");
    let error = ask::<serde_json::Value>(path, route::STATUS)
        .await
        .expect_err("nobody is there");
    assert!(
        error.to_string().contains("systemctl start landfall"),
        "{error}"
    );
}
