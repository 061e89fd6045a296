//! Where the API server has an object: its path, from its kind.

use anyhow::{Context, Result};
use serde_json::Value;

/// Kinds without a namespace, among those that scenarios write.
const OF_THE_CLUSTER: [&str; 11] = [
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "FlowSchema",
    "L2AnnouncementPolicy",
    "LoadBalancerIPPool",
    "Namespace",
    "Node",
    "PriorityLevelConfiguration",
];

/// An object's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    path: String,
    name: String,
}

impl Resource {
    /// The place of an object, by its `apiVersion`, `kind` and `metadata`; the namespace is `default`
    /// unless it names one.
    ///
    /// # Errors
    /// When it lacks one of them.
    pub fn of(object: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let version = text(&object["apiVersion"]).context("an object without apiVersion")?;
        let kind = text(&object["kind"]).context("an object without kind")?;
        let metadata = &object["metadata"];
        let name = text(&metadata["name"]).with_context(|| format!("a {kind} without a name"))?;
        let namespace = text(&metadata["namespace"]);
        let namespace = namespace.as_deref().unwrap_or("default");
        Ok(Self::new(&version, &kind, namespace, &name))
    }

    /// The place of an object; the namespace is let be for a kind without.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let (root, plural) = (root(api_version), plural(kind));
        let path = if OF_THE_CLUSTER.contains(&kind) {
            format!("{root}/{plural}")
        } else {
            format!("{root}/namespaces/{namespace}/{plural}")
        };
        Self {
            path,
            name: name.to_owned(),
        }
    }

    /// A Service of the namespace `default`.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::new("v1", "Service", "default", name)
    }

    /// A Pod of the namespace `default`.
    #[must_use]
    pub fn pod(name: &str) -> Self {
        Self::new("v1", "Pod", "default", name)
    }

    /// The path of all objects of a kind.
    pub(super) fn collection(api_version: &str, kind: &str) -> String {
        format!("{}/{}", root(api_version), plural(kind))
    }

    /// The path of its like, in its namespace.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.path, self.name)
    }
}

/// The core group has a place of its own.
fn root(api_version: &str) -> String {
    let root = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    format!("/{root}/{api_version}")
}

/// English as Kubernetes' own kinds and ours need it.
fn plural(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if lower.ends_with('s') => format!("{lower}es"),
        None => format!("{lower}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_where_the_server_has_them() {
        let place = |object: Value| Resource::of(&object).unwrap().to_string();
        let named = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
        assert_eq!(
            place(named("v1", "Service")),
            "/api/v1/namespaces/default/services/a"
        );
        assert_eq!(
            place(named("cilium.io/v2alpha1", "CiliumL2AnnouncementPolicy")),
            "/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies/a"
        );
        let mut lease = named("coordination.k8s.io/v1", "Lease");
        lease["metadata"]["namespace"] = json!("b");
        assert_eq!(
            place(lease),
            "/apis/coordination.k8s.io/v1/namespaces/b/leases/a"
        );
        assert!(Resource::of(&json!({"kind": "Service"})).is_err());
    }
}
