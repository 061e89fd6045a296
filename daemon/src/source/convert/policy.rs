//! Announcement policies.

use landfall_core::model::L2AnnouncementPolicy;
use regex::{Regex, RegexBuilder};

use super::metadata::{NameForm, shortened};
use super::{Context, metadata, selector};
use crate::objects;
use crate::source::complaint::{Complaints, Converted};

/// Bytes a compiled expression may take; a name of 15 bytes needs no more.
const REGEX_LIMIT: usize = 1 << 20;

/// Converts an announcement policy, own or Cilium's.
pub fn policy(
    object: &objects::L2AnnouncementPolicy,
    context: &Context<'_>,
) -> Converted<L2AnnouncementPolicy> {
    let mut found = metadata::complaints(&object.metadata, false, context);
    let name = metadata::name(&object.metadata, NameForm::Subdomain, &mut found);
    let spec = &object.spec;
    let mut select = |field: &str, written: &Option<objects::LabelSelector>| {
        written
            .as_ref()
            .and_then(|it| selector::selector(field, it, &mut found))
    };
    let service_selector = select("spec.serviceSelector", &spec.service_selector);
    let node_selector = select("spec.nodeSelector", &spec.node_selector);
    let interfaces = interfaces(&spec.interfaces, &mut found);
    if !spec.external_ips && !spec.load_balancer_ips {
        found.warning(
            "spec.loadBalancerIPs",
            "is false like externalIPs, so that nothing is announced",
            "set one of them to true",
        );
    }
    let policy = name.map(|name| L2AnnouncementPolicy {
        name: (*name).to_owned(),
        service_selector,
        node_selector,
        interfaces,
        external_ips: spec.external_ips,
        load_balancer_ips: spec.load_balancer_ips,
    });
    found.finish(policy)
}

fn interfaces(patterns: &[String], found: &mut Complaints) -> Vec<Regex> {
    let mut compiled = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        match RegexBuilder::new(pattern).size_limit(REGEX_LIMIT).build() {
            Ok(regex) => compiled.push(regex),
            Err(error) => {
                // The first lines draw a picture of the place; the last one says what it is.
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim();
                let reason = reason
                    .strip_prefix("error: ")
                    .unwrap_or(reason)
                    .trim_end_matches('.');
                let pattern = shortened(pattern);
                found.error(
                    format!("spec.interfaces[{index}]"),
                    format!("`{pattern}` is no regular expression: {reason}"),
                    "write one such as ^ens[0-9]+",
                );
            }
        }
    }
    compiled
}
