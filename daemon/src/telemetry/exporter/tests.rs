use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use landfall_core::model::ServiceName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::api::snapshot;

/// An agent that is ready when told so.
#[derive(Default)]
struct Agent {
    ready: AtomicBool,
    /// It does not answer whether it lives.
    hangs: AtomicBool,
}

impl Snapshot for Agent {
    fn status(&self) -> snapshot::Status {
        unreachable!("health does not ask")
    }

    fn frontends(&self) -> Vec<snapshot::Frontend> {
        Vec::new()
    }

    fn service(&self, _: &ServiceName) -> Option<snapshot::Service> {
        None
    }

    fn pools(&self) -> Vec<snapshot::Pool> {
        Vec::new()
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

    fn set_drained(&self, _: bool) -> Result<snapshot::Drain, String> {
        Ok(self.drain())
    }

    fn live(&self) -> Vec<Check> {
        while self.hangs.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        api::health::live(Duration::ZERO, true)
    }

    fn ready(&self) -> Vec<Check> {
        let fault = (!self.ready.load(Ordering::Relaxed)).then(|| "not read yet".to_owned());
        vec![Check {
            name: "sources",
            fault,
        }]
    }
}

/// The answers to `METHOD PATH` of a listener of `agent`'s: status and body.
async fn asked(agent: Arc<dyn Snapshot>, questions: &[&str]) -> Vec<(u16, String)> {
    // Not installed: the process has one recorder, and other tests may want it.
    let handle = PrometheusBuilder::new().build_recorder().handle();
    let exporter = Exporter::bind((Ipv4Addr::LOCALHOST, 0).into(), handle).await;
    let exporter = exporter.expect("a port is free");
    let address = exporter.address().expect("it is bound");
    let cancel = CancellationToken::new();
    let serving = tokio::spawn(exporter.run(agent, cancel.clone()));
    let mut answers = Vec::new();
    for question in questions {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("{question} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        answers.push((status.expect("a status"), body.to_owned()));
    }
    cancel.cancel();
    serving.await.expect("it ends in order");
    answers
}

#[tokio::test]
async fn health_is_told_in_a_word_and_in_lines_where_asked() {
    let agent = Arc::new(Agent::default());
    agent.ready.store(true, Ordering::Relaxed);
    let questions = [
        "GET /livez",
        "GET /readyz",
        "GET /livez?verbose",
        "GET /readyz?verbose=1",
    ];
    let answers = asked(agent, &questions).await;
    assert_eq!(answers[0], (200, "ok\n".to_owned()));
    assert_eq!(answers[1], (200, "ok\n".to_owned()));
    let lines = "[+]reconciler ok\n[+]election ok\nlivez check passed\n";
    assert_eq!(answers[2], (200, lines.to_owned()));
    let lines = "[+]sources ok\nreadyz check passed\n";
    assert_eq!(answers[3], (200, lines.to_owned()));
}

#[tokio::test]
async fn an_agent_that_is_not_ready_lives_all_the_same_and_says_why() {
    let answers = asked(Arc::new(Agent::default()), &["GET /readyz", "GET /livez"]).await;
    let lines = "[-]sources failed: not read yet\nreadyz check failed\n";
    assert_eq!(answers[0], (503, lines.to_owned()));
    assert_eq!(answers[1].0, 200);
}

#[tokio::test]
async fn what_there_is_not_is_answered_with_what_there_is() {
    let answers = asked(Arc::new(Agent::default()), &["GET /healthz", "POST /livez"]).await;
    assert_eq!(answers[0].0, 404);
    assert!(answers[0].1.contains("/readyz"), "{}", answers[0].1);
    assert_eq!(answers[1].0, 405);
}

#[tokio::test]
async fn an_agent_that_hangs_is_told_not_to_live_and_nobody_waits_for_it() {
    let agent = Arc::new(Agent::default());
    agent.hangs.store(true, Ordering::Relaxed);
    let asked = asked(agent.clone(), &["GET /livez"]).await;
    agent.hangs.store(false, Ordering::Relaxed);
    assert_eq!(asked[0].0, 503);
    assert!(asked[0].1.starts_with("[-]agent failed: did not tell"));
}
