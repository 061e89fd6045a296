//! What the objects of the API server say in their status now, and who wrote it.
//!
//! The source has no use for it but to know whose addresses a Service has; whoever writes the status needs it to write only
//! what is not there already. So the one watch of each kind feeds a [`LiveBoard`] too, with every object as it comes, before
//! anything is trimmed; the board publishes the latest of all on `watch`. It has no task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::kubernetes::STATUS_MANAGER;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LiveKey {
    /// Its kind, such as `Service`.
    pub kind: Arc<str>,
    /// Its namespace; empty where its kind has none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// The status of one object, as far as we write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveStatus {
    /// The group and version by which it was read.
    pub api_version: Arc<str>,
    /// What tells it from an earlier object of the same name.
    pub uid: String,
    /// Its `resourceVersion`: the greater, the newer. 0 where it has none.
    pub revision: u64,
    /// `status.loadBalancer.ingress` as it is, whoever wrote it; null where there is none.
    pub ingress: Value,
    /// That list is ours: our field manager wrote it, or wrote the very same.
    pub ingress_ours: bool,
    /// The conditions that our field manager wrote.
    pub conditions: Vec<LiveCondition>,
    /// Our field manager has written something into the status that is still there.
    pub ours: bool,
}

/// A condition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCondition {
    /// `type`.
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// `reason`.
    pub reason: String,
    /// `message`.
    pub message: String,
    /// `lastTransitionTime`, in RFC 3339.
    pub since: String,
}

/// The status of every object that was read.
pub type LiveStatuses = Arc<BTreeMap<LiveKey, Arc<LiveStatus>>>;

/// Where the source puts what it sees. Clones are the same board.
#[derive(Clone, Debug)]
pub struct LiveBoard {
    statuses: watch::Sender<LiveStatuses>,
}

impl LiveKey {
    /// The key of `object` of this kind.
    #[must_use]
    pub fn of(kind: &str, object: &Value) -> Self {
        Self {
            kind: kind.into(),
            namespace: text(object, "/metadata/namespace").into(),
            name: text(object, "/metadata/name").into(),
        }
    }
}

impl LiveStatus {
    /// The status of an object as the API server tells it, `managedFields` and all.
    #[must_use]
    pub fn of(api_version: &str, object: &Value) -> Self {
        let mine = mine(object);
        let owned: BTreeSet<String> = mine.iter().flat_map(|fields| conditions(fields)).collect();
        let ingress = |fields: &&Map<String, Value>| {
            let balancer = fields.get("f:loadBalancer");
            balancer.is_some_and(|it| it.get("f:ingress").is_some())
        };
        let found = object.pointer("/status/loadBalancer/ingress").cloned();
        let all = object
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let conditions = all.into_iter().flatten().map(LiveCondition::of);
        Self {
            api_version: api_version.into(),
            uid: text(object, "/metadata/uid").to_owned(),
            revision: text(object, "/metadata/resourceVersion")
                .parse()
                .unwrap_or_default(),
            ingress: found
                .filter(|list| list.as_array().is_some_and(|list| !list.is_empty()))
                .unwrap_or_default(),
            ingress_ours: mine.iter().any(ingress),
            conditions: conditions
                .filter(|condition| owned.contains(&condition.kind))
                .collect(),
            ours: !mine.is_empty(),
        }
    }
}

impl LiveCondition {
    fn of(condition: &Value) -> Self {
        let field = |pointer| text(condition, pointer).to_owned();
        Self {
            kind: field("/type"),
            status: field("/status"),
            reason: field("/reason"),
            message: field("/message"),
            since: field("/lastTransitionTime"),
        }
    }
}

impl LiveBoard {
    /// An empty board, and what it publishes.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<LiveStatuses>) {
        let (statuses, seen) = watch::channel(LiveStatuses::default());
        (Self { statuses }, seen)
    }

    /// An object came or changed.
    pub fn put(&self, key: LiveKey, status: LiveStatus) {
        self.statuses.send_if_modified(|all| {
            let news = all.get(&key).is_none_or(|known| **known != status);
            if news {
                Arc::make_mut(all).insert(key, Arc::new(status));
            }
            news
        });
    }

    /// An object is gone.
    pub fn remove(&self, key: &LiveKey) {
        self.statuses.send_if_modified(|all| {
            all.contains_key(key) && Arc::make_mut(all).remove(key).is_some()
        });
    }

    /// These are all the objects of `kind`; none where the kind is gone.
    pub fn replace(&self, kind: &str, objects: impl IntoIterator<Item = (LiveKey, LiveStatus)>) {
        let objects = objects.into_iter();
        let objects: Vec<_> = objects
            .map(|(key, status)| (key, Arc::new(status)))
            .collect();
        self.statuses.send_modify(|all| {
            let all = Arc::make_mut(all);
            all.retain(|key, _| *key.kind != *kind);
            all.extend(objects);
        });
    }
}

/// What of the status our field manager owns (`fieldsV1` below `f:status`), entry by entry.
fn mine(object: &Value) -> Vec<&Map<String, Value>> {
    let entries = object.pointer("/metadata/managedFields");
    let entries = entries.and_then(Value::as_array).into_iter().flatten();
    entries
        .filter(|entry| text(entry, "/manager") == STATUS_MANAGER)
        .filter_map(|entry| entry.pointer("/fieldsV1/f:status")?.as_object())
        .collect()
}

/// The types of the conditions among these fields: keys like `k:{"type":"Ready"}`.
fn conditions(fields: &Map<String, Value>) -> Vec<String> {
    let keys = fields.get("f:conditions").and_then(Value::as_object);
    let keys = keys.into_iter().flat_map(Map::keys);
    keys.filter_map(|key| {
        let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
        Some(key.get("type")?.as_str()?.to_owned())
    })
    .collect()
}

/// The text at `pointer`; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let field = object.pointer(pointer).and_then(Value::as_str);
    field.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(manager: &str) -> Value {
        json!({
            "metadata": {
                "namespace": "default", "name": "web", "uid": "u1", "resourceVersion": "42",
                "managedFields": [
                    {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}},
                    {"manager": manager, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {
                        "f:loadBalancer": {"f:ingress": {}},
                        "f:conditions": {"k:{\"type\":\"landfall.dev/Announced\"}": {".": {}, "f:status": {}}},
                    }}},
                ],
            },
            "status": {
                "loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]},
                "conditions": [
                    {"type": "landfall.dev/Announced", "status": "True", "reason": "announced", "message": "m",
                     "lastTransitionTime": "2026-01-02T03:04:05Z"},
                    {"type": "other.dev/Ready", "status": "True", "reason": "r", "message": "",
                     "lastTransitionTime": "2026-01-02T03:04:05Z"},
                ],
            },
        })
    }

    #[test]
    fn only_what_our_field_manager_wrote_is_ours() {
        let ours = LiveStatus::of("v1", &service(STATUS_MANAGER));
        assert!(ours.ours && ours.ingress_ours);
        assert_eq!((ours.revision, ours.uid.as_str()), (42, "u1"));
        let kinds: Vec<&str> = ours.conditions.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, ["landfall.dev/Announced"]);
        let theirs = LiveStatus::of("v1", &service("cloud-controller-manager"));
        assert!(!theirs.ours && !theirs.ingress_ours && theirs.conditions.is_empty());
        assert_eq!(theirs.ingress, ours.ingress);
    }

    #[test]
    fn the_board_tells_of_what_came_changed_and_went_and_of_nothing_else() {
        let (board, mut seen) = LiveBoard::new();
        let object = service(STATUS_MANAGER);
        let key = LiveKey::of("Service", &object);
        let status = LiveStatus::of("v1", &object);
        board.put(key.clone(), status.clone());
        assert_eq!(*seen.borrow_and_update().clone()[&key], status);
        board.put(key.clone(), status.clone());
        assert!(
            !seen.has_changed().expect("open"),
            "the same again is no news"
        );
        let pool = LiveKey {
            kind: "LoadBalancerIPPool".into(),
            ..key.clone()
        };
        board.replace(
            "LoadBalancerIPPool",
            [(pool.clone(), LiveStatus::default())],
        );
        assert_eq!(seen.borrow_and_update().len(), 2);
        board.replace("Service", []);
        let left: Vec<LiveKey> = seen.borrow_and_update().keys().cloned().collect();
        assert_eq!(left, std::slice::from_ref(&pool));
        board.remove(&pool);
        assert!(seen.borrow_and_update().is_empty());
        board.remove(&pool);
        assert!(!seen.has_changed().expect("open"), "it was gone before");
    }
}
