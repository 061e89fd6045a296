//! Other hands on the objects.

use super::*;

#[test]
fn a_lease_edited_by_hand_is_torn_and_can_be_written_over() {
    let server = ApiServer::default();
    let agent = agent(&server);
    written(agent.swap(write(None, "n1", 1)));
    server.edit(vip().as_str(), |lease| {
        let annotations = lease.metadata.annotations.as_mut().expect("it has some");
        annotations.insert("landfall.dev/record".into(), "{\"kind\":".into());
    });
    let torn = agent.wait(|event| match event {
        StoreEvent::Election(Event::Observed {
            revision,
            content: Content::Torn,
            ..
        }) => *revision,
        _ => None,
    });
    let over = written(agent.swap(write(Some(torn), "n1", 2)));
    assert!(over > torn);
}

#[test]
fn a_lease_that_loses_its_label_is_gone_and_gets_it_back_from_its_holder() {
    let server = ApiServer::default();
    let agent = agent(&server);
    written(agent.swap(write(None, "n1", 1)));
    server.edit(vip().as_str(), |lease| lease.metadata.labels = None);
    agent.sees(&vip(), &Content::Absent);
    let found = agent.swap(write(None, "n1", 2));
    let Outcome::Conflict {
        revision: Some(there),
        content,
    } = found
    else {
        panic!("the object is still there: {found:?}");
    };
    assert_eq!(content, Content::Record(record("n1", 1)));
    written(agent.swap(write(Some(there), "n1", 3)));
    agent.sees(&vip(), &Content::Record(record("n1", 3)));
}

#[test]
fn a_write_that_comes_after_a_deletion_does_not_bring_the_lease_back() {
    let server = ApiServer::default();
    let agent = agent(&server);
    let first = written(agent.swap(write(None, "n1", 1)));
    server.freeze_watches();
    server.remove(vip().as_str());
    assert!(matches!(
        agent.swap(write(Some(first), "n1", 2)),
        Outcome::Conflict {
            revision: None,
            content: Content::Absent
        }
    ));
    assert!(server.lease(vip().as_str()).is_none());
}

#[test]
fn leases_of_others_are_not_told_of_and_the_allocators_is_never_written() {
    let server = ApiServer::default();
    let labelled = |name: &str| {
        let mut lease = object::write(
            &vip(),
            &record("n1", 1),
            None,
            k8s_openapi::jiff::Timestamp::now(),
        );
        lease.metadata.name = Some(name.into());
        lease
    };
    for name in ["landfall-allocator", "kube-scheduler", "landfall-l2-UPPER"] {
        server.make(labelled(name));
    }
    let agent = server.open();
    agent.wait(|event| match event {
        StoreEvent::Election(Event::Observed { name, .. }) => panic!("{name} was told of"),
        StoreEvent::Election(Event::Synced { .. }) => Some(()),
        _ => None,
    });
    let before = server.lease("landfall-allocator");
    for expected in [None, Some(Revision(1))] {
        let name = LeaseName::allocator();
        let outcome = agent.swap(Write {
            name,
            ..write(expected, "n1", 2)
        });
        assert_eq!(outcome, Outcome::Failed);
    }
    assert_eq!(server.lease("landfall-allocator"), before);
}

#[test]
fn a_store_that_is_dropped_finishes_what_it_was_given() {
    let server = ApiServer::default();
    let agent = agent(&server);
    server.weather(|weather| weather.write_delay = Duration::from_millis(200));
    let names: Vec<_> = (0..20)
        .map(|index| LeaseName::of_service("default", &format!("web-{index}")))
        .collect();
    for (name, index) in names.iter().zip(0..) {
        agent.store.submit(Write {
            name: name.clone(),
            ..write(None, "n1", index)
        });
    }
    let Agent {
        store, told, under, ..
    } = agent;
    drop(store);
    assert!(
        names
            .iter()
            .all(|name| server.lease(name.as_str()).is_some())
    );
    drop((told, under));
}
