//! `L2AnnouncementPolicy`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule;
use super::selector::LabelSelector;
use super::status::ObjectStatus;

/// Which Services are announced on the LAN, by which nodes and on which of their interfaces.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "landfall.dev",
    version = "v1alpha1",
    kind = "L2AnnouncementPolicy",
    plural = "l2announcementpolicies",
    shortname = "l2policy",
    category = "landfall",
    doc = "Which Services are announced on the LAN, by which nodes and on which interfaces.",
    derive = "PartialEq",
    status = "ObjectStatus",
    printcolumn = r#"{"name": "LoadBalancer IPs", "type": "boolean", "jsonPath": ".spec.loadBalancerIPs"}"#,
    printcolumn = r#"{"name": "External IPs", "type": "boolean", "jsonPath": ".spec.externalIPs"}"#,
    printcolumn = r#"{"name": "Interfaces", "type": "string", "jsonPath": ".spec.interfaces"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct L2AnnouncementPolicySpec {
    /// Which Services are announced; all where absent. Besides the Service's labels it sees
    /// io.kubernetes.service.name and io.kubernetes.service.namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LabelSelector")]
    pub service_selector: Option<LabelSelector>,
    /// Which nodes may announce; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LabelSelector")]
    pub node_selector: Option<LabelSelector>,
    /// Regular expressions of which one must match the interface's name; where absent or empty,
    /// those interfaces announce whose subnet holds the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("items" = {
            "type": "string", "maxLength": 256, "x-kubernetes-validations": rule::INTERFACE
        })
    )]
    pub interfaces: Vec<String>,
    /// Whether the addresses of spec.externalIPs are announced.
    #[serde(default, rename = "externalIPs")]
    pub external_ips: bool,
    /// Whether the addresses given by pools are announced.
    #[serde(default, rename = "loadBalancerIPs")]
    pub load_balancer_ips: bool,
}
