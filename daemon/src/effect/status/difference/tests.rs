use std::time::Duration;

use serde_json::json;

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const BEFORE: &str = "2026-01-02T03:04:05Z";

fn key() -> LiveKey {
    LiveKey {
        kind: "Service".into(),
        namespace: "default".into(),
        name: "web".into(),
    }
}

/// A condition that should be; `passing` where it is not True.
fn wished(kind: &str, status: &'static str) -> WishedCondition {
    WishedCondition {
        kind: kind.into(),
        status,
        reason: "r".into(),
        message: "m".into(),
        passing: status != "True",
    }
}

fn known(kind: &str, status: &str) -> LiveCondition {
    LiveCondition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: "r".to_owned(),
        message: "m".to_owned(),
        since: BEFORE.to_owned(),
    }
}

/// A status with addresses of `ours` or another's, and conditions of ours.
fn live(addresses: &[&str], ours: bool, conditions: &[LiveCondition]) -> LiveStatus {
    let points = addresses
        .iter()
        .map(|ip| json!({"ip": ip, "ipMode": "VIP"}));
    let points: Vec<Value> = points.collect();
    LiveStatus {
        api_version: "v1".into(),
        uid: "u1".to_owned(),
        revision: 7,
        ingress: if points.is_empty() {
            Value::Null
        } else {
            json!(points)
        },
        ingress_ours: ours && !addresses.is_empty(),
        conditions: conditions.to_vec(),
        ours: ours && !(addresses.is_empty() && conditions.is_empty()),
    }
}

fn wish(addresses: &[&str], conditions: &[WishedCondition]) -> Wish {
    let addresses = addresses.iter().map(|ip| ip.parse().expect("an address"));
    Wish {
        ingress: addresses.collect(),
        conditions: conditions.to_vec(),
    }
}

/// What is found of a table's row, in a word.
fn word(found: &Difference) -> &'static str {
    match (&found.apply, found.passing, found.foreign) {
        (None, false, true) => "foreign",
        (None, true, false) => "waits",
        (None, false, false) => "nothing",
        (Some(apply), _, false) if apply.addresses => "addresses",
        (Some(_), _, false) => "conditions",
        _ => "both",
    }
}

#[test]
fn only_what_is_not_there_already_is_written() {
    const ONE: &[&str] = &["192.0.2.1"];
    const TWO: &[&str] = &["192.0.2.2", "2001:db8::2"];
    let yes = |status| [wished("a", status)];
    let is = |status: &str| [known("a", status)];
    let table = [
        (
            "nothing is there",
            live(&[], true, &[]),
            wish(ONE, &yes("True")),
            false,
            "addresses",
        ),
        (
            "all is there",
            live(ONE, true, &is("True")),
            wish(ONE, &yes("True")),
            false,
            "nothing",
        ),
        (
            "another address",
            live(ONE, true, &is("True")),
            wish(TWO, &yes("True")),
            false,
            "addresses",
        ),
        (
            "a condition is missing",
            live(ONE, true, &[]),
            wish(ONE, &yes("True")),
            false,
            "conditions",
        ),
        (
            "a condition came true",
            live(ONE, true, &is("False")),
            wish(ONE, &yes("True")),
            false,
            "conditions",
        ),
        (
            "a condition may pass",
            live(ONE, true, &is("True")),
            wish(ONE, &yes("False")),
            false,
            "waits",
        ),
        (
            "a condition has lasted",
            live(ONE, true, &is("True")),
            wish(ONE, &yes("False")),
            true,
            "conditions",
        ),
        (
            "one too many",
            live(ONE, true, &[known("a", "True"), known("b", "True")]),
            wish(ONE, &yes("True")),
            false,
            "conditions",
        ),
        (
            "addresses are withdrawn",
            live(ONE, true, &is("True")),
            wish(&[], &yes("True")),
            false,
            "addresses",
        ),
        (
            "none of ours any more",
            live(ONE, true, &is("True")),
            wish(&[], &[]),
            false,
            "waits",
        ),
        (
            "still none of ours",
            live(ONE, true, &is("True")),
            wish(&[], &[]),
            true,
            "addresses",
        ),
        (
            "released",
            live(&[], true, &[]),
            wish(&[], &[]),
            true,
            "nothing",
        ),
        (
            "a cloud's Service",
            live(ONE, false, &[]),
            wish(&[], &[]),
            true,
            "nothing",
        ),
        (
            "a cloud's addresses",
            live(ONE, false, &[]),
            wish(TWO, &yes("True")),
            true,
            "foreign",
        ),
        (
            "another wrote the same",
            live(ONE, false, &is("True")),
            wish(ONE, &yes("True")),
            false,
            "nothing",
        ),
        (
            "another's address, and we have none",
            live(ONE, false, &[]),
            wish(&[], &yes("True")),
            false,
            "conditions",
        ),
    ];
    for (name, live, wish, lasted, expected) in table {
        let found = difference(&key(), &live, &wish, lasted, NOW);
        assert_eq!(word(&found), expected, "{name}: {found:?}");
    }
}

#[test]
fn an_apply_names_the_object_and_says_everything_that_is_ours() {
    let live = live(
        &["192.0.2.1"],
        true,
        &[known("a", "True"), known("b", "False")],
    );
    let wish = wish(&["192.0.2.2"], &[wished("a", "True"), wished("b", "True")]);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let found = difference(&key(), &live, &wish, false, now);
    let condition = |kind, since| json!({"type": kind, "status": "True", "reason": "r", "message": "m", "lastTransitionTime": since});
    let body = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": "web", "uid": "u1"},
        "status": {
            "loadBalancer": {"ingress": [{"ip": "192.0.2.2", "ipMode": "VIP"}]},
            "conditions": [condition("a", BEFORE), condition("b", "1970-01-01T00:00:01Z")],
        },
    });
    assert_eq!(found.apply.map(|it| it.body), Some(body));
}

#[test]
fn a_release_says_nothing_so_that_what_was_ours_is_removed() {
    let live = live(&["192.0.2.1"], true, &[known("a", "True")]);
    let found = difference(&key(), &live, &wish(&[], &[]), true, NOW);
    let metadata = json!({"namespace": "default", "name": "web", "uid": "u1"});
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata});
    assert_eq!(found.apply.map(|it| it.body), Some(body));
}

#[test]
fn what_may_pass_stays_as_it_is_when_addresses_are_written() {
    let live = live(&["192.0.2.1"], true, &[known("a", "True")]);
    let wish = wish(&["192.0.2.2"], &[wished("a", "False")]);
    let found = difference(&key(), &live, &wish, false, NOW);
    assert!(found.passing);
    let body = found.apply.expect("the address is written").body;
    assert_eq!(body["status"]["conditions"][0]["status"], "True");
}
