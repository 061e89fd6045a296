use serde_json::json;

use super::*;
use crate::effect::api_stand_in::{ApiStandIn, Mood};

const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/landfall-system/leases/landfall-allocator";

/// An agent that contends, as long as its token is not cancelled.
struct Agent {
    allocating: watch::Receiver<bool>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start(server: &ApiStandIn, node: &str) -> Self {
        let (sender, allocating) = watch::channel(false);
        let cancel = CancellationToken::new();
        let node = NodeName::new(node);
        let contest = run(
            server.client(),
            "landfall-system".to_owned(),
            node,
            sender,
            cancel.clone(),
        );
        Self {
            allocating,
            cancel,
            task: tokio::spawn(contest),
        }
    }

    async fn until(&mut self, allocating: bool) {
        let wanted = self.allocating.wait_for(|it| *it == allocating);
        let patience = Duration::from_secs(60);
        let found = tokio::time::timeout(patience, wanted).await;
        assert!(found.expect("in time").is_ok());
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.expect("it ends");
    }
}

fn holder(server: &ApiStandIn) -> String {
    let lease = server.object(LEASE).expect("a lease");
    lease["spec"]["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_node_allocates_and_gives_the_lease_back_when_it_stops() {
    let server = ApiStandIn::new();
    let mut first = Agent::start(&server, "n1");
    first.until(true).await;
    let second = Agent::start(&server, "n2");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!*second.allocating.borrow());
    assert_eq!(holder(&server), "n1");
    let mut told = first.allocating.clone();
    first.stop().await;
    assert!(!*told.borrow_and_update());
    assert_eq!(holder(&server), "");
    let lease = server.object(LEASE).expect("a lease");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], json!(1));
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_has_run_out_is_taken_and_its_old_holder_learns_of_it() {
    let server = ApiStandIn::new();
    let mut first = Agent::start(&server, "n1");
    first.until(true).await;
    let mut lease = server.object(LEASE).expect("a lease");
    lease["spec"]["renewTime"] = json!("2000-01-01T00:00:00.000000+00:00");
    server.put(LEASE, lease);
    let mut second = Agent::start(&server, "n2");
    second.until(true).await;
    first.until(false).await;
    assert_eq!(holder(&server), "n2");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_has_lost_the_lease_after_its_duration_and_has_it_again_soon() {
    for mood in [Mood::Silent, Mood::Refusing(500)] {
        let server = ApiStandIn::new();
        let mut agent = Agent::start(&server, "n1");
        agent.until(true).await;
        let begun = Instant::now();
        server.set_mood(mood);
        agent.until(false).await;
        let held = begun.elapsed();
        assert!(held <= TTL && held >= TTL - PERIOD, "{mood:?}: {held:?}");
        tokio::time::sleep(Duration::from_secs(90)).await;
        let back = Instant::now();
        server.set_mood(Mood::Well);
        agent.until(true).await;
        assert!(back.elapsed() <= Duration::from_secs(5), "{mood:?}");
        agent.stop().await;
    }
}
