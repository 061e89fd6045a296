//! Server-side apply to a status, as far as it is used: `loadBalancer.ingress` is one value, `conditions` a map by type. Who
//! owns what is kept in `metadata.managedFields`.

use serde_json::{Map, Value, json};

use super::{Answer, Inner, Seen, failure, missing, ok, value_of};

impl Inner {
    pub(super) fn apply(&mut self, seen: &Seen) -> Answer {
        let path = seen.path.strip_suffix("/status");
        let path = path.expect("only the status is applied").to_owned();
        let manager = value_of(&seen.query, "fieldManager");
        assert!(!manager.is_empty(), "an apply names its field manager");
        let forced = seen.query.contains("force=true");
        let Some(mut object) = self.objects.get(&path).cloned() else {
            return missing();
        };
        let uid = &seen.body["metadata"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return failure(409, "Conflict", "the uid is another");
        }
        let wanted = parts(&seen.body);
        for (key, value) in &wanted {
            let foreign = owners(&object, key).any(|owner| owner != manager);
            if foreign && part(&object, key).as_ref() != Some(value) && !forced {
                let why = format!("Apply failed with 1 conflict: conflict with another over {key}");
                return failure(409, "Conflict", &why);
            }
        }
        let before = object.clone();
        let mine: Vec<String> = keys_of(&object, &manager);
        for key in mine.iter().filter(|key| !wanted.contains_key(*key)) {
            if owners(&object, key).all(|owner| owner == manager) {
                set(&mut object, key, None);
            }
        }
        for (key, value) in &wanted {
            set(&mut object, key, Some(value.clone()));
        }
        own(&mut object, &manager, wanted.keys());
        if object == before {
            return ok(object);
        }
        ok(self.write(&path, object, "MODIFIED"))
    }
}

/// What an apply says, by `ingress` and by the types of conditions.
fn parts(body: &Value) -> Map<String, Value> {
    let mut parts = Map::new();
    let ingress = &body["status"]["loadBalancer"]["ingress"];
    if !ingress.is_null() {
        parts.insert("ingress".to_owned(), ingress.clone());
    }
    for condition in body["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let kind = condition["type"].as_str().expect("a type");
        parts.insert(kind.to_owned(), condition.clone());
    }
    parts
}

fn part(object: &Value, key: &str) -> Option<Value> {
    parts(object).remove(key)
}

fn set(object: &mut Value, key: &str, value: Option<Value>) {
    if key == "ingress" {
        object["status"]["loadBalancer"] = value.map_or(json!({}), |it| json!({"ingress": it}));
        return;
    }
    let conditions = object["status"]["conditions"].take();
    let mut conditions = conditions.as_array().cloned().unwrap_or_default();
    conditions.retain(|it| it["type"] != key);
    conditions.extend(value);
    object["status"]["conditions"] = json!(conditions);
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    let fields = object["metadata"]["managedFields"].as_array();
    fields.into_iter().flatten()
}

/// The keys of what `manager` owns.
fn keys_of(object: &Value, manager: &str) -> Vec<String> {
    let entry = entries(object).find(|it| it["manager"] == manager);
    let Some(status) = entry.map(|it| &it["fieldsV1"]["f:status"]) else {
        return Vec::new();
    };
    let ingress = !status["f:loadBalancer"]["f:ingress"].is_null();
    let conditions = status["f:conditions"].as_object();
    let kinds = conditions.into_iter().flatten().filter_map(|(key, _)| {
        let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
        key["type"].as_str().map(str::to_owned)
    });
    ingress
        .then(|| "ingress".to_owned())
        .into_iter()
        .chain(kinds)
        .collect()
}

fn owners<'a>(object: &'a Value, key: &'a str) -> impl Iterator<Item = &'a str> {
    let managers = entries(object).filter_map(|it| it["manager"].as_str());
    managers.filter(move |manager| keys_of(object, manager).iter().any(|it| it == key))
}

fn own<'a>(object: &mut Value, manager: &str, keys: impl Iterator<Item = &'a String>) {
    let mut status = json!({});
    for key in keys {
        if key == "ingress" {
            status["f:loadBalancer"] = json!({"f:ingress": {}});
        } else {
            let name = format!("k:{}", json!({"type": key}));
            status["f:conditions"][name] = json!({".": {}});
        }
    }
    let mut all: Vec<Value> = entries(object).cloned().collect();
    all.retain(|it| it["manager"] != manager);
    if status != json!({}) {
        all.push(
            json!({"manager": manager, "operation": "Apply", "subresource": "status",
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": status}}),
        );
    }
    object["metadata"]["managedFields"] = json!(all);
}
