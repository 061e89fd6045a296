//! Objects as they arrive, trimmed, and as they are kept: compact JSON, so that thousands take little room.
//!
//! What is dropped on arrival is what the model has no use for and what changes without meaning: a Node's heartbeats, the
//! notes of controllers, who wrote what. Two states of an object with the same text are the same object to us.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::kind::WatchedKind;
use super::trim;
use crate::source::kubernetes_status::{LiveKey, LiveStatus, text};

/// Where an object is: its namespace, empty for kinds without, and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) namespace: Box<str>,
    pub(super) name: Box<str>,
}

impl Place {
    /// The place that an object says it has.
    pub(super) fn of(object: &Value) -> Self {
        Self {
            namespace: text(object, "/metadata/namespace").into(),
            name: text(object, "/metadata/name").into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name } = self;
        write!(f, "{namespace}/{name}")
    }
}

/// An object's trimmed JSON, shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(Arc<str>);

impl Text {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// An object as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) place: Place,
    pub(super) birth: Birth,
    pub(super) text: Text,
}

/// When an object was created, and what tells it from a later one of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Birth {
    /// In RFC 3339, as the API server writes it: in the order of time.
    created: Box<str>,
    uid: Box<str>,
}

impl Birth {
    fn of(object: &Value) -> Self {
        Self {
            created: text(object, "/metadata/creationTimestamp").into(),
            uid: text(object, "/metadata/uid").into(),
        }
    }
}

impl Seen {
    /// An object from its trimmed JSON; nothing where that is none.
    pub(super) fn from_text(text: Text) -> Option<Self> {
        let object: Value = serde_json::from_str(text.as_str()).ok()?;
        Some(Self {
            place: Place::of(&object),
            birth: Birth::of(&object),
            text,
        })
    }
}

/// An object as it arrives. Of a list, one at a time is here in its full size.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    /// The state of the cluster that it is from.
    pub(super) version: String,
    /// Its status, and who wrote it.
    status: LiveStatus,
    object: Value,
}

impl Arrived {
    pub(super) fn place(&self) -> Place {
        Place::of(&self.object)
    }

    /// What whoever writes its status needs to know of it.
    pub(super) fn live(&self, kind: WatchedKind, version: &str) -> (LiveKey, LiveStatus) {
        let status = LiveStatus {
            api_version: kind.api_version(version).into(),
            ..self.status.clone()
        };
        (LiveKey::of(kind.name(), &self.object), status)
    }

    /// The object as it is kept.
    pub(super) fn seen(self, kind: WatchedKind, version: &str) -> Seen {
        let (place, birth) = (self.place(), Birth::of(&self.object));
        let object = trim::to_kind(kind, &kind.api_version(version), self.object);
        let text = Text(object.to_string().into());
        Seen { place, birth, text }
    }
}

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let version = text(&object, "/metadata/resourceVersion").to_owned();
        let status = LiveStatus::of("", &object);
        trim::on_arrival(&mut object);
        Ok(Self {
            version,
            status,
            object,
        })
    }
}
