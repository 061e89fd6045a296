//! One server-side apply to the status of one object.

use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::difference::Application;
use crate::kubernetes::STATUS_MANAGER;
use crate::source::kubernetes_status::{LiveKey, LiveStatus};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How the server begins to say which other manager has which field.
const CONFLICT: &str = "Apply failed with ";

/// How an apply ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The object's status is this now.
    Written(LiveStatus),
    /// The object is gone, or was made anew.
    Gone,
    /// Something that is to be said is another field manager's, who says otherwise.
    Conflict(String),
    /// The server will not have it.
    Refused(String),
    /// The server cannot be reached, is busy, or allows nothing at present.
    Away(String),
}

impl Outcome {
    /// Every word that [`Outcome::as_str`] has.
    pub(super) const ALL: [&str; 5] = ["written", "gone", "conflict", "refused", "away"];

    /// The outcome as one word.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Written(_) => "written",
            Self::Gone => "gone",
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
            Self::Away(_) => "away",
        }
    }
}

/// Applies; without force, so that what another manager wrote stays.
pub(super) async fn apply(
    client: Client,
    key: &LiveKey,
    api_version: &str,
    application: &Application,
) -> Outcome {
    let request = Request::new(collection(key, api_version));
    let params = PatchParams::apply(STATUS_MANAGER);
    let patch = Patch::Apply(&application.body);
    let request = request.patch_subresource("status", &key.name, &params, &patch);
    let request = match request {
        Ok(request) => request,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    match tokio::time::timeout(ANSWER, client.request::<Value>(request)).await {
        Ok(Ok(object)) => Outcome::Written(LiveStatus::of(api_version, &object)),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            404 | 410 => Outcome::Gone,
            409 if status.message.starts_with(CONFLICT) => {
                Outcome::Conflict(status.message.clone())
            }
            // The uid is of an object that is no more.
            409 => Outcome::Gone,
            // So the server says of an object that was made anew.
            422 if status.message.contains("metadata.uid") => Outcome::Gone,
            // What may be written of one Service may be of all; other kinds may be forbidden by themselves.
            403 if !key.namespace.is_empty() => Outcome::Away(status.message.clone()),
            401 | 429 | 500.. => Outcome::Away(status.message.clone()),
            _ => Outcome::Refused(status.message.clone()),
        },
        Ok(Err(error)) => Outcome::Away(error.to_string()),
        Err(_) => Outcome::Away(format!("no answer within {ANSWER:?}")),
    }
}

/// The path of all objects of a kind in a namespace.
fn collection(key: &LiveKey, api_version: &str) -> String {
    let kind = key.kind.to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    let group = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    match &*key.namespace {
        "" => format!("/{group}/{api_version}/{plural}"),
        namespace => format!("/{group}/{api_version}/namespaces/{namespace}/{plural}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_where_the_api_server_has_them() {
        let path = |api_version: &str, kind: &str, namespace: &str| {
            let key = LiveKey {
                kind: kind.into(),
                namespace: namespace.into(),
                name: "x".into(),
            };
            collection(&key, api_version)
        };
        let own = "landfall.dev/v1alpha1";
        assert_eq!(path("v1", "Service", "a"), "/api/v1/namespaces/a/services");
        assert_eq!(
            path(own, "LoadBalancerIPPool", ""),
            "/apis/landfall.dev/v1alpha1/loadbalancerippools"
        );
        assert_eq!(
            path("cilium.io/v2", "CiliumL2AnnouncementPolicy", ""),
            "/apis/cilium.io/v2/ciliuml2announcementpolicies"
        );
    }
}
