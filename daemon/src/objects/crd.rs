//! The CRDs that `landfall crds` prints.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use super::policy::L2AnnouncementPolicy;
use super::pool::LoadBalancerIPPool;
use super::schema::{self, Twin};
use super::{CILIUM_GROUP, CILIUM_VERSIONS};

const CILIUM_POOL: Twin = Twin {
    group: CILIUM_GROUP,
    versions: &CILIUM_VERSIONS,
    kind: "CiliumLoadBalancerIPPool",
    plural: "ciliumloadbalancerippools",
    short_name: "ippools",
};

const CILIUM_POLICY: Twin = Twin {
    group: CILIUM_GROUP,
    versions: &CILIUM_VERSIONS,
    kind: "CiliumL2AnnouncementPolicy",
    plural: "ciliuml2announcementpolicies",
    short_name: "l2announcement",
};

/// The CRDs of Landfall's kinds and, with `compat_cilium`, of Cilium's kinds that it reads. The
/// latter are for clusters without Cilium, which installs its own.
pub fn crds(compat_cilium: bool) -> Vec<CustomResourceDefinition> {
    let mut own = [LoadBalancerIPPool::crd(), L2AnnouncementPolicy::crd()];
    own.iter_mut().for_each(schema::join_lines);
    let twins = if compat_cilium {
        vec![CILIUM_POOL.of(&own[0]), CILIUM_POLICY.of(&own[1])]
    } else {
        Vec::new()
    };
    own.into_iter().chain(twins).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

    use super::*;

    /// Rules of a selector: its labels, a requirement, its key, its values.
    const RULES_OF_SELECTOR: usize = 2 + 2 + 1 + 1;
    /// Rules of a pool: a block, its three fields, the choice of first and last addresses.
    const RULES_OF_POOL: usize = 5 + 3 + 2 + 2 + 1 + RULES_OF_SELECTOR;
    /// Rules of a policy: an interface's expression.
    const RULES_OF_POLICY: usize = 1 + 2 * RULES_OF_SELECTOR;

    fn every_schema(
        props: &JSONSchemaProps,
        path: &str,
        visit: &mut impl FnMut(&JSONSchemaProps, &str),
    ) {
        visit(props, path);
        for (name, inner) in props.properties.iter().flatten() {
            every_schema(inner, &format!("{path}.{name}"), visit);
        }
        if let Some(items) = &props.items {
            let items = serde_json::to_value(items).unwrap();
            let items: JSONSchemaProps = serde_json::from_value(items).unwrap();
            every_schema(&items, &format!("{path}[]"), visit);
        }
    }

    #[test]
    fn every_field_is_documented_and_every_schema_is_structural() {
        for crd in crds(true) {
            for version in &crd.spec.versions {
                let schema = version
                    .schema
                    .as_ref()
                    .unwrap()
                    .open_api_v3_schema
                    .as_ref()
                    .unwrap();
                let properties = schema.properties.as_ref().unwrap();
                for part in ["spec", "status"] {
                    every_schema(&properties[part], part, &mut |props, path| {
                        assert!(
                            path.ends_with("[]") || props.description.is_some() || path == "status",
                            "{} {path} has no description",
                            crd.spec.names.kind
                        );
                        let description = props.description.as_deref().unwrap_or_default();
                        assert!(!description.contains('\n'), "{path}: {description}");
                        assert!(props.type_.is_some(), "{path} has no type");
                        assert!(
                            props.properties.is_none() || props.additional_properties.is_none(),
                            "{path} has both properties and additionalProperties"
                        );
                    });
                }
            }
        }
    }

    #[test]
    fn pools_print_the_columns_that_users_of_cilium_know() {
        for crd in crds(true)
            .iter()
            .filter(|crd| crd.spec.names.kind.ends_with("Pool"))
        {
            for version in &crd.spec.versions {
                let columns: Vec<_> = version
                    .additional_printer_columns
                    .iter()
                    .flatten()
                    .map(|column| column.name.to_uppercase())
                    .collect();
                assert_eq!(columns, ["DISABLED", "CONFLICTING", "IPS AVAILABLE", "AGE"]);
                assert!(version.subresources.as_ref().unwrap().status.is_some());
            }
        }
    }

    #[test]
    fn every_rule_says_what_to_write() {
        let mut rules = 0;
        for crd in crds(true) {
            for version in &crd.spec.versions {
                let schema = version.schema.as_ref().unwrap();
                let schema = schema.open_api_v3_schema.as_ref().unwrap();
                every_schema(schema, "", &mut |props, path| {
                    for rule in props.x_kubernetes_validations.iter().flatten() {
                        rules += 1;
                        let message = rule.message.as_deref().unwrap_or_default();
                        let remedies = ["write", "keep", "give", "swap", "list", "remove"];
                        assert!(
                            remedies.iter().any(|verb| message.contains(verb)),
                            "{path}: {message}"
                        );
                    }
                });
            }
        }
        // Those of `rule`, in two kinds, one of them with two selectors, and twins in two versions.
        assert_eq!(rules, 3 * (RULES_OF_POOL + RULES_OF_POLICY));
    }

    #[test]
    fn absent_and_null_are_the_same_to_the_server() {
        for crd in crds(true) {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap();
            let schema = schema.open_api_v3_schema.as_ref().unwrap();
            let spec = &schema.properties.as_ref().unwrap()["spec"];
            // A null where none is allowed is dropped before rules are asked; where it is, `has` is true of it.
            every_schema(spec, "spec", &mut |props, path| {
                assert_ne!(props.nullable, Some(true), "{path}");
            });
        }
    }

    #[test]
    fn printed_as_yaml_no_word_is_a_boolean_to_parsers_of_yaml_1_1() {
        for crd in crds(true) {
            let yaml = serde_norway::to_string(&crd).unwrap();
            for line in yaml.lines() {
                let bare = line
                    .rsplit([' ', ':'])
                    .next()
                    .unwrap_or_default()
                    .to_lowercase();
                let wordlike = matches!(bare.as_str(), "yes" | "no" | "on" | "off" | "y" | "n");
                let value = line.trim_start().trim_start_matches("- ");
                assert!(!(wordlike && value.eq_ignore_ascii_case(&bare)), "{line}");
            }
            assert!(yaml.contains("'Yes'") || crd.spec.names.kind.contains("Policy"));
        }
    }

    #[test]
    fn cilium_twins_are_served_in_both_versions_and_stored_in_the_newer() {
        let crds = crds(true);
        let names: Vec<_> = crds
            .iter()
            .map(|crd| crd.metadata.name.as_deref().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "loadbalancerippools.landfall.dev",
                "l2announcementpolicies.landfall.dev",
                "ciliumloadbalancerippools.cilium.io",
                "ciliuml2announcementpolicies.cilium.io",
            ]
        );
        for crd in &crds[2..] {
            let versions: Vec<_> = crd
                .spec
                .versions
                .iter()
                .map(|v| (v.name.as_str(), v.served, v.storage))
                .collect();
            assert_eq!(versions, [("v2alpha1", true, false), ("v2", true, true)]);
        }
        let json = serde_json::to_string(&crds[2]).unwrap();
        assert!(json.contains("cilium.io/PoolConflict"), "{json}");
    }

    #[test]
    fn without_compatibility_only_the_own_group_is_printed() {
        assert!(
            crds(false)
                .iter()
                .all(|crd| crd.spec.group == "landfall.dev")
        );
    }
}
