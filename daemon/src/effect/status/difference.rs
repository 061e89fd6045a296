//! What is to be written so that a status says what it should; pure.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::wish::{Wish, WishedCondition};
use crate::source::kubernetes_status::{LiveCondition, LiveKey, LiveStatus};

/// How the status of an object differs from what it should say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// What is to be applied: everything that should be there, of which what is not is removed.
    pub(super) apply: Option<Application>,
    /// Something differs that may pass by itself.
    pub(super) passing: bool,
    /// The addresses are another controller's, and nothing is written.
    pub(super) foreign: bool,
}

/// A server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Application {
    pub(super) body: Value,
    /// It changes addresses, not conditions alone.
    pub(super) addresses: bool,
}

/// How `live` differs from `wish` at `now`. What may pass is written where it has `lasted`.
pub(super) fn difference(
    key: &LiveKey,
    live: &LiveStatus,
    wish: &Wish,
    lasted: bool,
    now: SystemTime,
) -> Difference {
    if wish.is_release() {
        let apply = live.ours && lasted;
        return Difference {
            apply: apply.then(|| application(key, live, true, Map::new())),
            passing: live.ours && !lasted,
            foreign: false,
        };
    }
    let ingress = ingress(wish);
    let same_addresses = if ingress.is_null() {
        !live.ingress_ours || live.ingress.is_null()
    } else {
        live.ingress == ingress
    };
    if !same_addresses && !live.ingress.is_null() && !live.ingress_ours {
        return Difference {
            foreign: true,
            ..Difference::default()
        };
    }
    let mut passing = false;
    let mut conditions = Vec::new();
    for wished in &wish.conditions {
        let known = live.conditions.iter().find(|it| *it.kind == *wished.kind);
        if wished.passing && !lasted && !known.is_some_and(|known| is_same(known, wished)) {
            passing = true;
            conditions.extend(known.map(of_live));
        } else {
            conditions.push(of_wish(wished, known, now));
        }
    }
    let same_conditions = conditions.len() == live.conditions.len()
        && conditions.iter().all(|wanted| {
            let mut known = live.conditions.iter();
            known.any(|known| of_live(known) == *wanted)
        });
    let mut status = Map::new();
    if !ingress.is_null() {
        status.insert("loadBalancer".to_owned(), json!({"ingress": ingress}));
    }
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), Value::Array(conditions));
    }
    let apply = !(same_addresses && same_conditions);
    Difference {
        apply: apply.then(|| application(key, live, !same_addresses, status)),
        passing,
        foreign: false,
    }
}

fn application(
    key: &LiveKey,
    live: &LiveStatus,
    addresses: bool,
    status: Map<String, Value>,
) -> Application {
    // With its uid: an object that was made anew under the same name is another one.
    let mut metadata = json!({"name": *key.name, "uid": live.uid});
    if !key.namespace.is_empty() {
        metadata["namespace"] = json!(*key.namespace);
    }
    let mut body =
        json!({"apiVersion": *live.api_version, "kind": *key.kind, "metadata": metadata});
    if !status.is_empty() {
        body["status"] = Value::Object(status);
    }
    Application { body, addresses }
}

/// The addresses as `status.loadBalancer.ingress` has them; null for none.
fn ingress(wish: &Wish) -> Value {
    let points = wish.ingress.iter();
    let points: Vec<Value> = points
        .map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"}))
        .collect();
    if points.is_empty() {
        Value::Null
    } else {
        Value::Array(points)
    }
}

fn is_same(known: &LiveCondition, wished: &WishedCondition) -> bool {
    (&*known.status, &*known.reason, &*known.message)
        == (wished.status, &*wished.reason, &*wished.message)
}

fn of_wish(wished: &WishedCondition, known: Option<&LiveCondition>, now: SystemTime) -> Value {
    let since = known.filter(|known| known.status == wished.status);
    let since = since.map(|known| known.since.clone());
    let since = since.unwrap_or_else(|| humantime::format_rfc3339_seconds(now).to_string());
    json!({"type": *wished.kind, "status": wished.status, "reason": *wished.reason, "message": *wished.message,
        "lastTransitionTime": since})
}

fn of_live(known: &LiveCondition) -> Value {
    json!({"type": known.kind, "status": known.status, "reason": known.reason, "message": known.message,
        "lastTransitionTime": known.since})
}

#[cfg(test)]
mod tests;
