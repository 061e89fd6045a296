//! A file's bytes, or the API server's objects, to converted ones: the road through `document`, `decode` and `convert`.
//!
//! Pure; shared by the manifest directory, the Kubernetes source and `landfall check`.

use landfall_core::model::{NodeName, ObjectError, ObjectName, ObjectRef, Severity};

use serde_json::Value;

use super::class::ClassPolicy;
use super::complaint::{Complaints, Converted};
use super::convert::{self, Context, StatusWriter};
use super::decode::{self, Item, Kind, Raw};
use super::document::{self, SyntaxError};
use super::object::{Object, ObjectKey};
use super::overlap::Placed;
use crate::kubernetes::STATUS_MANAGER;

/// One object, as it was read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// File, document, and place in a list; or its path in the API.
    pub(super) origin: String,
    /// What it says it is.
    pub(super) object: ObjectRef,
    /// Its key, where kind and name could be read; it may be refused all the same.
    pub(super) key: Option<ObjectKey>,
    /// What became of it; an unknown kind is no object and no error.
    pub(super) converted: Option<Object>,
    /// The field by which a Service asks for addresses; else empty.
    pub(super) request_field: String,
    /// Errors and warnings.
    pub(super) complaints: Vec<ObjectError>,
}

impl Reading {
    /// The object with what complaints need, unless it was refused.
    pub(super) fn placed(&self) -> Option<Placed<'_>> {
        Some(Placed {
            origin: &self.origin,
            reference: &self.object,
            object: self.converted.as_ref()?,
            request_field: &self.request_field,
        })
    }
}

/// Reads the objects of a file. `first_seen` tells when an object was first seen, for those whose
/// metadata says nothing of it.
///
/// # Errors
/// The file as a whole cannot be read; nothing of it counts.
pub(super) fn objects(
    file: &str,
    bytes: &[u8],
    class: ClassPolicy,
    first_seen: &dyn Fn(&ObjectKey) -> u64,
) -> Result<Vec<Reading>, Box<ObjectError>> {
    let documents = document::documents(bytes).map_err(|error| Box::new(syntax(file, error)))?;
    Ok(documents
        .into_iter()
        .flat_map(|document| decode::items(file, document))
        .map(|item| reading(item, class, StatusWriter::Anyone, first_seen))
        .collect())
}

/// A complaint about a whole file or directory.
pub(super) fn whole(
    origin: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> ObjectError {
    ObjectError {
        origin: origin.to_owned(),
        object: ObjectRef {
            kind: String::new(),
            name: String::new(),
        },
        field: String::new(),
        problem: problem.into(),
        remedy: remedy.into(),
        severity: Severity::Error,
    }
}

fn syntax(file: &str, error: SyntaxError) -> ObjectError {
    match error.document {
        None => whole(file, error.problem, error.remedy),
        Some(number) => whole(
            &format!("{file}, document {number}"),
            error.problem,
            error.remedy,
        ),
    }
}

/// Reads an object as the API server has it; `path` is where.
pub(super) fn served(path: String, value: Value, class: ClassPolicy) -> Reading {
    let item = Item {
        origin: path,
        value,
    };
    let status = StatusWriter::Manager(STATUS_MANAGER);
    // The API server stamps every object.
    reading(item, class, status, &|_| 0)
}

fn reading(
    item: Item,
    class: ClassPolicy,
    status: StatusWriter,
    first_seen: &dyn Fn(&ObjectKey) -> u64,
) -> Reading {
    let object = item.object();
    let Item { origin, value } = item;
    let mut complaints = Complaints::new(&origin, object.clone());
    let kind = decode::kind(&value, class.cilium, &mut complaints);
    let key = kind.and_then(|kind| key(kind, &object));
    let raw = kind.and_then(|kind| decode::decode(kind, value, &mut complaints));
    let Some(raw) = raw else {
        let complaints = complaints.into_list();
        let request_field = String::new();
        return Reading {
            origin,
            object,
            key,
            converted: None,
            request_field,
            complaints,
        };
    };
    let request_field = match &raw {
        Raw::Service(service) => convert::request_field(service),
        _ => String::new(),
    };
    let first_seen = key.as_ref().map_or(0, first_seen);
    let context = Context {
        origin: &origin,
        kind: &object.kind,
        first_seen,
        class,
        status,
    };
    let converted = convert(&raw, &context);
    let mut list = complaints.into_list();
    list.extend(converted.complaints);
    Reading {
        origin,
        object,
        key,
        converted: converted.object,
        request_field,
        complaints: list,
    }
}

fn key(kind: Kind, object: &ObjectRef) -> Option<ObjectKey> {
    if object.name.is_empty() {
        return None;
    }
    let name = object.name.as_str();
    let namespaced = || {
        let (namespace, name) = name.split_once('/')?;
        Some(ObjectName::new(namespace, name))
    };
    Some(match kind {
        Kind::Service => ObjectKey::Service(namespaced()?),
        Kind::EndpointSlice => ObjectKey::EndpointSlice(namespaced()?),
        Kind::Pod => ObjectKey::Pod(namespaced()?),
        Kind::Node => ObjectKey::Node(NodeName::new(name)),
        Kind::Namespace => ObjectKey::Namespace(name.into()),
        Kind::Pool => ObjectKey::Pool(name.to_owned()),
        Kind::Policy => ObjectKey::Policy(name.to_owned()),
    })
}

fn convert(raw: &Raw, context: &Context<'_>) -> Converted<Object> {
    match raw {
        Raw::Service(it) => lift(convert::service(it, context), |it| {
            Object::Service(Box::new(it))
        }),
        Raw::EndpointSlice(it) => lift(convert::endpoint_slice(it, context), Object::EndpointSlice),
        Raw::Pod(it) => lift(convert::pod(it, context), |it| Object::Pod(Box::new(it))),
        Raw::Node(it) => lift(convert::node(it, context), Object::Node),
        Raw::Namespace(it) => lift(convert::namespace(it, context), Object::Namespace),
        Raw::Pool(it) => lift(convert::pool(it, context), Object::Pool),
        Raw::Policy(it) => lift(convert::policy(it, context), Object::Policy),
    }
}

fn lift<T>(converted: Converted<T>, wrap: impl FnOnce(T) -> Object) -> Converted<Object> {
    Converted {
        object: converted.object.map(wrap),
        complaints: converted.complaints,
    }
}
