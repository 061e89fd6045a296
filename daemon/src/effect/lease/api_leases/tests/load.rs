//! What is asked of the server, and how much at once.

use super::*;

fn count(server: &ApiServer, verb: &str) -> usize {
    let requests = server.requests();
    requests.iter().filter(|it| it.starts_with(verb)).count()
}

#[test]
fn at_rest_a_node_writes_its_renewals_and_asks_for_nothing_else() {
    let server = ApiServer::default();
    let agent = agent(&server);
    for index in 0..600 {
        let name = LeaseName::of_service("default", &format!("web-{index}"));
        server.make(object::write(
            &name,
            &record("n1", 1),
            None,
            k8s_openapi::jiff::Timestamp::now(),
        ));
    }
    let mut expected = written(agent.swap(renewal(None, 1)));
    let before = server.requests().len();
    for turn in 2..=5 {
        std::thread::sleep(Duration::from_millis(500));
        expected = written(agent.swap(renewal(Some(expected), turn)));
        // How fresh the view is follows from the renewal itself.
        let asked = clock::now();
        agent.wait(|event| match event {
            StoreEvent::Election(Event::Synced { as_of }) => {
                (asked.since(*as_of) < Duration::from_secs(1)).then_some(())
            }
            _ => None,
        });
    }
    let requests = server.requests();
    assert_eq!(
        requests[before..],
        ["update landfall-node-n1"; 4].map(String::from)
    );
}

#[test]
fn a_node_that_cannot_renew_makes_a_list_now_and_then() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let began = Instant::now();
    synced_by_itself(&agent);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(count(&server, "list"), 2);
}

#[test]
fn lists_are_made_in_pages() {
    let server = ApiServer::default();
    for index in 0..1200 {
        let name = LeaseName::of_service("default", &format!("web-{index}"));
        server.make(object::write(
            &name,
            &record("n1", 1),
            None,
            k8s_openapi::jiff::Timestamp::now(),
        ));
    }
    let agent = server.open();
    let mut seen = 0;
    agent.wait(|event| match event {
        StoreEvent::Election(Event::Observed { .. }) => {
            seen += 1;
            None
        }
        StoreEvent::Election(Event::Synced { .. }) => Some(()),
        _ => None,
    });
    assert_eq!((seen, count(&server, "list")), (1200, 3));
}

#[test]
fn a_renewal_does_not_wait_behind_the_service_leases_of_a_takeover() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.write_delay = Duration::from_millis(200));
    for index in 0..80 {
        let name = LeaseName::of_service("default", &format!("web-{index}"));
        agent.store.submit(Write {
            name,
            ..write(None, "n1", index)
        });
    }
    let began = Instant::now();
    written(agent.swap(renewal(None, 1)));
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn seven_hundred_changes_of_hands_are_recorded_in_seconds_and_without_a_stampede() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.write_delay = Duration::from_millis(50));
    let began = Instant::now();
    let submit = |index| {
        let name = LeaseName::of_service("default", &format!("web-{index}"));
        agent.store.submit(Write {
            name,
            ..write(None, "n1", index)
        });
    };
    // As the election does it: 64 at once.
    (0..64).for_each(submit);
    let mut done = 0;
    agent.wait(|event| {
        if let StoreEvent::Election(Event::Done { outcome, .. }) = event {
            assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
            done += 1;
            if done + 63 < 700 {
                submit(done + 63);
            }
        }
        (done == 700).then_some(())
    });
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(server.most_writes_at_once() <= SERVICE_WRITES);
}
