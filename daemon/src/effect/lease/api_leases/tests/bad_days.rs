//! The server away, stuck, slow, lying, restored, or refusing.

use super::*;

/// Longer than a write is of use.
const LONG: Duration = Duration::from_millis(1200);

#[test]
fn a_lost_answer_is_a_failure_and_the_watch_tells_what_became_of_it() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.lost_answers = true);
    let began = Instant::now();
    // The observation may come before the failure is told.
    let mut seen = false;
    let mut failed = false;
    agent.store.submit(write(None, "n1", 1));
    agent.wait(|event| {
        match event {
            StoreEvent::Election(Event::Observed { content, .. }) => {
                seen |= *content == Content::Record(record("n1", 1));
            }
            StoreEvent::Election(Event::Done { outcome, .. }) => {
                assert_eq!(*outcome, Outcome::Failed);
                failed = true;
            }
            _ => {}
        }
        (seen && failed).then_some(())
    });
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn a_server_that_is_away_fails_writes_soon_is_told_of_once_and_is_read_again_when_it_is_back() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let first = written(agent.swap(write(None, "n1", 1)));
    server.weather(|weather| weather.away = true);
    let (mut troubles, mut failures) = (0, 0);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        agent.store.submit(write(Some(first), "n1", 2));
        agent.wait(|event| match event {
            StoreEvent::Trouble(_) => {
                troubles += 1;
                None
            }
            StoreEvent::Election(Event::Done { outcome, .. }) => {
                assert_eq!(*outcome, Outcome::Failed);
                failures += 1;
                Some(())
            }
            StoreEvent::Recovered => panic!("nothing has recovered"),
            StoreEvent::Election(_) => None,
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(failures > 20, "{failures} failures");
    assert_eq!(troubles, 1);
    let asked = server
        .requests()
        .iter()
        .filter(|it| it.starts_with("watch"))
        .count();
    assert!(asked < 10, "{asked} watches in three seconds");
    server.edit(vip().as_str(), |lease| lease.spec = None);
    server.weather(|weather| weather.away = false);
    let back = Instant::now();
    agent.sees(&vip(), &Content::Record(record("n1", 1)));
    let found = agent.swap(write(Some(first), "n1", 3));
    let Outcome::Conflict { revision, .. } = found else {
        panic!("it was edited meanwhile: {found:?}");
    };
    written(agent.swap(write(revision, "n1", 4)));
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
}

#[test]
fn requests_that_come_nowhere_end_in_time_and_all_is_well_soon_after() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.black_hole = true);
    server.cut_watches();
    let began = Instant::now();
    assert_eq!(agent.swap(write(None, "n1", 1)), Outcome::Failed);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    server.weather(|weather| weather.black_hole = false);
    let back = Instant::now();
    written(agent.swap(write(None, "n1", 2)));
    agent.sees(&vip(), &Content::Record(record("n1", 2)));
    assert!(
        back.elapsed() < Duration::from_secs(4),
        "{:?}",
        back.elapsed()
    );
}

#[test]
fn a_watch_that_is_cut_goes_on_without_a_list_and_misses_nothing() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let lists = |server: &ApiServer| {
        server
            .requests()
            .iter()
            .filter(|it| it.starts_with("list"))
            .count()
    };
    let mut expected = None;
    for turn in 1..=5 {
        server.cut_watches();
        expected = Some(written(agent.swap(write(expected, "n1", turn))));
        let other = server.open();
        other.sees(&vip(), &Content::Record(record("n1", turn)));
        agent.sees(&vip(), &Content::Record(record("n1", turn)));
    }
    // One of this agent, and one of each of the others.
    assert_eq!(lists(&server), 6);
}

#[test]
fn a_bookmark_spares_the_list_that_a_watch_from_too_long_ago_would_need() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let mut lease = object::write(
        &vip(),
        &record("n1", 1),
        None,
        k8s_openapi::jiff::Timestamp::now(),
    );
    (lease.metadata.name, lease.metadata.labels) = (Some("anothers".into()), None);
    server.make(lease);
    server.bookmark();
    server.compact();
    server.cut_watches();
    written(agent.swap(write(None, "n1", 1)));
    agent.sees(&vip(), &Content::Record(record("n1", 1)));
    let asked = server.requests();
    let asked = |verb| asked.iter().filter(|it| it.starts_with(verb)).count();
    assert_eq!((asked("list"), asked("watch")), (1, 2));
}

#[test]
fn a_watch_from_too_long_ago_is_begun_anew_with_a_list() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let first = written(agent.swap(write(None, "n1", 1)));
    agent.sees(&vip(), &Content::Record(record("n1", 1)));
    server.weather(|weather| weather.away = true);
    trouble(&agent);
    let gone = LeaseName::of_service("default", "gone");
    server.remove(vip().as_str());
    server.make(object::write(
        &gone,
        &record("n2", 7),
        None,
        k8s_openapi::jiff::Timestamp::now(),
    ));
    server.compact();
    server.weather(|weather| weather.away = false);
    let (mut absent, mut there) = (false, false);
    agent.wait(|event| {
        if let StoreEvent::Election(Event::Observed { name, content, .. }) = event {
            absent |= *name == vip() && *content == Content::Absent;
            there |= *name == gone && *content == Content::Record(record("n2", 7));
        }
        (absent && there).then_some(())
    });
    assert!(matches!(
        agent.swap(write(Some(first), "n1", 2)),
        Outcome::Conflict { revision: None, .. }
    ));
}

#[test]
fn a_watch_that_is_open_and_silent_is_found_out_by_the_nodes_own_renewals() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.freeze_watches();
    let other = server.open();
    written(other.swap(write(None, "n2", 1)));
    let began = Instant::now();
    written(agent.swap(renewal(None, 1)));
    agent.sees(&vip(), &Content::Record(record("n2", 1)));
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_store_that_went_back_is_read_anew_and_what_it_lost_is_told_as_absent() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let kept = LeaseName::of_service("default", "kept");
    let keep = Write {
        name: kept.clone(),
        ..write(None, "n1", 1)
    };
    written(agent.swap(keep));
    let backup = written(agent.swap(write(None, "n1", 2))).0;
    let lost = LeaseName::of_service("default", "lost");
    for name in [&lost, &LeaseName::of_service("default", "lost-too")] {
        written(agent.swap(Write {
            name: name.clone(),
            ..write(None, "n1", 3)
        }));
    }
    agent.sync();
    server.restore(backup, |name| name == kept.as_str());
    // The renewal is done at a revision that was there before, which gives it away at once.
    written(agent.swap(renewal(None, 1)));
    let mut history: Vec<(LeaseName, Option<Revision>)> = Vec::new();
    agent.wait(|event| match event {
        StoreEvent::Election(Event::Observed { name, revision, .. }) => {
            history.push((name.clone(), *revision));
            None
        }
        StoreEvent::Election(Event::Synced { .. }) => {
            history.contains(&(lost.clone(), None)).then_some(())
        }
        _ => None,
    });
    let of_kept: Vec<_> = history.iter().filter(|(name, _)| *name == kept).collect();
    assert!(
        matches!(of_kept[..], [(_, None), (_, Some(_))]),
        "{of_kept:?}"
    );
    assert!(!history.contains(&(lost.clone(), Some(Revision(backup)))));
    written(agent.swap(Write {
        name: lost,
        ..write(None, "n1", 4)
    }));
}

#[test]
fn a_missing_right_is_told_with_its_verb_and_passes_when_it_is_granted() {
    for (verb, doing) in [
        ("watch", "read"),
        ("list", "read"),
        ("update", "write"),
        ("create", "write"),
    ] {
        let server = ApiServer::default();
        let agent = if doing == "read" {
            server.open()
        } else {
            agent(&server)
        };
        let first = (verb == "update").then(|| written(agent.swap(write(None, "n1", 1))));
        server.weather(|weather| weather.denied = vec![verb]);
        if doing == "write" {
            agent.store.submit(write(first, "n1", 2));
        } else {
            server.cut_watches();
            agent.store.look();
        }
        let told = trouble(&agent);
        let named =
            format!("may not {verb} leases.coordination.k8s.io in namespace landfall-system");
        assert!(told.contains(&named) && told.contains("Role"), "{told}");
        server.weather(|weather| weather.denied.clear());
        agent.store.submit(write(first, "n1", 3));
        recovered(&agent);
    }
}

#[test]
fn a_namespace_that_is_missing_is_named_and_is_no_conflict() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.no_namespace = true);
    agent.store.submit(write(None, "n1", 1));
    let told = trouble(&agent);
    assert!(
        told.contains("namespace landfall-system") && told.contains("create it"),
        "{told}"
    );
    assert_eq!(
        agent.wait(|event| match event {
            StoreEvent::Election(Event::Done { outcome, .. }) => Some(outcome.clone()),
            _ => None,
        }),
        Outcome::Failed
    );
    server.weather(|weather| weather.no_namespace = false);
    agent.store.submit(write(None, "n1", 2));
    recovered(&agent);
}

#[test]
fn a_server_that_asks_for_peace_gets_it() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.busy = Some(1));
    assert_eq!(agent.swap(write(None, "n1", 1)), Outcome::Failed);
    let asked = server.requests().len();
    server.weather(|weather| weather.busy = None);
    let began = Instant::now();
    // Not begun for want of peace, and again.
    while !matches!(agent.swap(write(None, "n1", 2)), Outcome::Written(_)) {
        assert!(began.elapsed() < Duration::from_secs(3), "it goes on");
    }
    assert!(
        began.elapsed() > Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(server.requests().len(), asked + 1);
}
