//! What an identity may do, as the rules of its roles say, against what it asked for.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::audit::Call;
use super::client::Client;

/// One thing that a rule allows: each rule is taken apart into all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The role that has the rule.
    pub role: String,
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// The namespace, where the role is bound in one only.
    pub namespace: Option<String>,
    /// The object's name, where the rule names objects.
    pub name: Option<String>,
}

impl Permission {
    /// Whether a call needs just this.
    #[must_use]
    pub fn allows(&self, call: &Call) -> bool {
        let here = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|w| w == is);
        (&self.verb, &self.group, &self.resource) == (&call.verb, &call.group, &call.resource)
            && here(&self.namespace, &call.namespace)
            && here(&self.name, &call.name)
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            role,
            verb,
            group,
            resource,
            ..
        } = self;
        write!(f, "role {role}: {verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// A rule of a role.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Rule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// Everything that roles allow a service account by name, those of all accounts left out.
///
/// # Errors
/// When roles cannot be listed, or a binding names one that is not there.
pub fn permissions(client: &Client, namespace: &str, account: &str) -> Result<Vec<Permission>> {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let mut permissions = Vec::new();
    let roles: Vec<Value> = ["ClusterRole", "Role"]
        .into_iter()
        .map(|kind| client.list(RBAC, kind).map(|roles| (kind, roles)))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flat_map(|(kind, roles)| {
            // Items of a list do not say their kind.
            roles.into_iter().map(move |mut role| {
                role["kind"] = kind.into();
                role
            })
        })
        .collect();
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        for binding in client.list(RBAC, kind)? {
            let subjects = binding["subjects"].as_array();
            let bound = subjects.into_iter().flatten().any(|subject| {
                subject["kind"] == "ServiceAccount"
                    && subject["namespace"] == namespace
                    && subject["name"] == account
            });
            if !bound {
                continue;
            }
            let within = binding["metadata"]["namespace"].as_str();
            let wanted = &binding["roleRef"];
            let role = roles.iter().find(|role| {
                role["kind"] == wanted["kind"]
                    && role["metadata"]["name"] == wanted["name"]
                    && (wanted["kind"] == "ClusterRole"
                        || role["metadata"]["namespace"].as_str() == within)
            });
            let role = role.with_context(|| format!("no role {wanted}"))?;
            expand(role, within, &mut permissions)?;
        }
    }
    permissions.sort();
    Ok(permissions)
}

fn expand(role: &Value, within: Option<&str>, into: &mut Vec<Permission>) -> Result<()> {
    let name = role["metadata"]["name"].as_str().context("a role's name")?;
    let rules: Vec<Rule> = serde_json::from_value(role["rules"].clone())?;
    for rule in rules {
        let names: Vec<Option<String>> = if rule.resource_names.is_empty() {
            vec![None]
        } else {
            rule.resource_names.into_iter().map(Some).collect()
        };
        for verb in &rule.verbs {
            for group in &rule.api_groups {
                for resource in &rule.resources {
                    into.extend(names.iter().map(|object| Permission {
                        role: name.to_owned(),
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        namespace: within.map(ToOwned::to_owned),
                        name: object.clone(),
                    }));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_allows_each_of_its_verbs_on_each_of_its_resources_by_each_name() {
        let role = json!({
            "metadata": {"name": "r"},
            "rules": [{
                "verbs": ["get", "update"], "apiGroups": [""],
                "resources": ["secrets"], "resourceNames": ["key"],
            }],
        });
        let mut all = Vec::new();
        expand(&role, Some("ns"), &mut all).unwrap();
        assert_eq!(all.len(), 2);
        let call = |verb: &str, namespace: &str, name: &str| Call {
            verb: verb.to_owned(),
            group: String::new(),
            resource: "secrets".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let may = |call: Call| all.iter().any(|one| one.allows(&call));
        assert!(may(call("get", "ns", "key")));
        assert!(!may(call("delete", "ns", "key")));
        assert!(!may(call("get", "other", "key")));
        assert!(!may(call("get", "ns", "other")));
    }
}
