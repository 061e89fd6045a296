//! `LoadBalancerIPPool`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule;
use super::selector::LabelSelector;
use super::status::ObjectStatus;

/// Addresses that may be given to LoadBalancer Services.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "landfall.dev",
    version = "v1alpha1",
    kind = "LoadBalancerIPPool",
    plural = "loadbalancerippools",
    shortname = "lbpool",
    category = "landfall",
    doc = "Addresses that may be given to LoadBalancer Services.",
    derive = "PartialEq",
    status = "ObjectStatus",
    printcolumn = r#"{"name": "Disabled", "type": "boolean", "jsonPath": ".spec.disabled"}"#,
    printcolumn = r#"{"name": "Conflicting", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"PoolConflict\")].status"}"#,
    printcolumn = r#"{"name": "IPs Available", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"IPsAvailable\")].message"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct LoadBalancerIPPoolSpec {
    /// Pieces the pool consists of, IPv4 and IPv6 as they come. They must not overlap.
    #[schemars(length(max = 1024))]
    pub blocks: Vec<PoolBlock>,
    /// Whether the first and the last address of each CIDR may be given; they may unless this says
    /// "No". Has no effect on a /31, /32, /127, /128, nor on start and stop.
    #[serde(
        default,
        rename = "allowFirstLastIPs",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(
        with = "String",
        length(max = 8),
        extend("x-kubernetes-validations" = rule::CHOICE)
    )]
    pub allow_first_last_ips: Option<Choice>,
    /// Which Services may have addresses of the pool; all where absent. Besides the Service's
    /// labels it sees io.kubernetes.service.name and io.kubernetes.service.namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LabelSelector")]
    pub service_selector: Option<LabelSelector>,
    /// Whether nothing new is given from the pool. What was given stays.
    #[serde(default)]
    pub disabled: bool,
}

/// A piece of a pool: a CIDR, a range from start to stop, or start alone for a single address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rule::BLOCK))]
pub struct PoolBlock {
    /// Address and prefix length, such as 10.10.200.0/29 or 2001:db8::/64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(max = 64),
        extend("x-kubernetes-validations" = rule::CIDR)
    )]
    pub cidr: Option<String>,
    /// The first address of a range, or its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(max = 64),
        extend("x-kubernetes-validations" = rule::ADDRESS)
    )]
    pub start: Option<String>,
    /// The last address of a range, itself included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        with = "String",
        length(max = 64),
        extend("x-kubernetes-validations" = rule::ADDRESS)
    )]
    pub stop: Option<String>,
}

/// `"Yes"` or `"No"`; quoted, as YAML 1.1 takes the bare words for booleans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// It is so.
    Yes,
    /// It is not so.
    No,
}
