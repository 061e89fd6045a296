//! Between records and objects: what a `coordination.k8s.io/v1` Lease says to agents and to people.
//!
//! Agents read one annotation, which has the whole record in the form that files have. What `spec` says is for people:
//! `kubectl get leases` shows who holds what. Nothing is read back from it, so an edited `spec` misleads nobody but its
//! reader, and an edited annotation that is no record any more is [`Content::Torn`], which its holder writes again.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use landfall_core::election::{Content, LeaseKind, LeaseName, Record};

use super::error::ApiLeaseError;
use crate::effect::lease::codec;

/// Which leases are ours: those that are watched.
pub(super) const SELECTOR: &str = "app.kubernetes.io/managed-by=landfall,landfall.dev/lease";
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "landfall");
/// The label that names a lease's kind.
const KIND: &str = "landfall.dev/lease";
/// The annotation with the record.
pub(super) const RECORD: &str = "landfall.dev/record";

/// The API server's version of one object: what a write has to expect, and which object of that name it is.
///
/// The number is the revision of etcd at which the object was written. Kubernetes calls it comparable since 1.35
/// (KEP-5504), and servers that keep their objects in etcd have made it so ever since. The uid guards against a lease of
/// the same name that was deleted and made anew, and against making one: a PUT of a Lease that is gone creates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) revision: u64,
    pub(super) uid: String,
}

/// One lease as an object showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: LeaseName,
    pub(super) version: Version,
    pub(super) content: Content,
}

/// Reads an object; nothing where its name is not one of the election's.
///
/// # Errors
/// The object's version is not a number.
pub(super) fn read(object: Lease) -> Result<Option<Found>, ApiLeaseError> {
    let metadata = object.metadata;
    let name = metadata.name.as_deref().and_then(LeaseName::parse);
    // The allocator is elected by the Kubernetes crate for that, in a lease of its own form.
    let Some(name) = name.filter(|name| *name != LeaseName::allocator()) else {
        return Ok(None);
    };
    let version = Version {
        revision: revision(metadata.resource_version.as_deref().unwrap_or_default())?,
        uid: metadata.uid.unwrap_or_default(),
    };
    let text = metadata.annotations.and_then(|mut all| all.remove(RECORD));
    let content = text.as_deref().and_then(codec::from_json);
    let content = content.filter(|content| belongs(&name, content));
    Ok(Some(Found {
        content: content.unwrap_or(Content::Torn),
        name,
        version,
    }))
}

/// A resource version as a number.
///
/// # Errors
/// It is none.
pub(super) fn revision(text: &str) -> Result<u64, ApiLeaseError> {
    text.parse().map_err(|_| ApiLeaseError::Revision {
        text: text.to_owned(),
    })
}

/// Whether a record may stand under this name: one that was copied from another lease may not.
fn belongs(name: &LeaseName, content: &Content) -> bool {
    match content {
        Content::Record(Record::Node(lease)) => LeaseName::of_node(&lease.node) == *name,
        Content::Record(Record::Service(_)) => name.kind() == LeaseKind::Service,
        Content::Record(Record::Members(_)) => name.kind() == LeaseKind::Members,
        Content::Torn | Content::Absent => false,
    }
}

/// The object for a record. `replaced` is the version that it is to replace; nothing where it is new.
pub(super) fn write(
    name: &LeaseName,
    record: &Record,
    replaced: Option<&Version>,
    now: Timestamp,
) -> Lease {
    let kind = match name.kind() {
        LeaseKind::Node => "node",
        LeaseKind::Service => "service",
        LeaseKind::Members => "members",
    };
    let (managed, by) = MANAGED_BY;
    let labels = [(managed, by), (KIND, kind)];
    let annotations = [(RECORD, codec::to_json(Some(record)))];
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            uid: replaced.map(|version| version.uid.clone()),
            resource_version: replaced.map(|version| version.revision.to_string()),
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            annotations: Some(annotations.map(|(key, value)| (key.into(), value)).into()),
            ..ObjectMeta::default()
        },
        spec: Some(for_people(record, now)),
    }
}

/// What people are told. The record of members has no holder.
fn for_people(record: &Record, now: Timestamp) -> LeaseSpec {
    match record {
        Record::Node(lease) => LeaseSpec {
            // Nobody holds what a fence has ended.
            holder_identity: match lease.fenced_by {
                None => Some(lease.node.to_string()),
                Some(_) => None,
            },
            // Rounded up: zero is not allowed.
            lease_duration_seconds: Some(bounded(lease.duration.as_millis().div_ceil(1000)).max(1)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        },
        // Good for as long as its holder's node lease is, so without a duration and a renewal of its own.
        Record::Service(lease) => LeaseSpec {
            holder_identity: lease.holder.as_ref().map(|holder| holder.node.to_string()),
            acquire_time: i64::try_from(lease.acquired_unix)
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok())
                .map(MicroTime),
            lease_transitions: Some(bounded(lease.transitions)),
            ..LeaseSpec::default()
        },
        Record::Members(_) => LeaseSpec::default(),
    }
}

/// The number, or the greatest that fits.
fn bounded<N>(number: N) -> i32
where
    i32: TryFrom<N>,
{
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
