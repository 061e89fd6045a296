//! What users ask for by annotation, in Landfall's words and in those they bring along.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::addresses::listed;
use super::metadata::is_label;
use crate::source::complaint::Complaints;

/// Addresses asked for; the first that is there counts.
const IPS: [&str; 5] = [
    "landfall.dev/ips",
    "lbipam.cilium.io/ips",
    "io.cilium/lb-ipam-ips",
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
];
/// The pool asked for.
const POOL: [&str; 3] = [
    "landfall.dev/pool",
    "metallb.io/address-pool",
    "metallb.universe.tf/address-pool",
];
/// The sharing key, with the annotation that names the namespaces to share with. MetalLB knows no
/// such consent: its key is good across namespaces.
const SHARING: [(&str, Option<&str>); 5] = [
    (
        "landfall.dev/sharing-key",
        Some("landfall.dev/sharing-cross-namespace"),
    ),
    (
        "lbipam.cilium.io/sharing-key",
        Some("lbipam.cilium.io/sharing-cross-namespace"),
    ),
    (
        "io.cilium/lb-ipam-sharing-key",
        Some("io.cilium/lb-ipam-sharing-cross-namespace"),
    ),
    ("metallb.io/allow-shared-ip", None),
    ("metallb.universe.tf/allow-shared-ip", None),
];

type Annotations = BTreeMap<String, String>;

/// The field path of an annotation.
pub(super) fn field(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}

/// The first of `names` that is there and not empty.
fn first<'a>(
    annotations: &'a Annotations,
    names: &[&'static str],
) -> Option<(&'static str, &'a str)> {
    names.iter().find_map(|name| {
        let value = annotations.get(*name)?.trim();
        (!value.is_empty()).then_some((*name, value))
    })
}

/// The fields that ask for addresses, with what they say; the first one is heard.
fn wishes<'a>(annotations: &'a Annotations, spec: &'a ServiceSpec) -> Vec<(String, &'a str)> {
    IPS.iter()
        .filter_map(|name| Some((field(name), annotations.get(*name)?.as_str())))
        .chain(
            spec.load_balancer_ip
                .as_deref()
                .map(|ip| ("spec.loadBalancerIP".to_owned(), ip)),
        )
        .filter(|(_, text)| !text.trim().is_empty())
        .collect()
}

/// The field by which a Service asks for addresses; empty where it asks for none.
pub(in crate::source) fn request_field(service: &Service) -> String {
    let none = Annotations::new();
    let annotations = service.metadata.annotations.as_ref().unwrap_or(&none);
    let wishes = service
        .spec
        .as_ref()
        .map(|spec| wishes(annotations, spec))
        .unwrap_or_default();
    wishes
        .into_iter()
        .next()
        .map(|(field, _)| field)
        .unwrap_or_default()
}

/// The addresses asked for, and the field that asks.
pub(super) fn requested_ips(
    annotations: &Annotations,
    spec: &ServiceSpec,
    complaints: &mut Complaints,
) -> (String, Vec<IpAddr>) {
    let mut wishes: Vec<_> = wishes(annotations, spec)
        .into_iter()
        .map(|(field, text)| {
            let addresses = listed(&field, text, complaints);
            (field, addresses)
        })
        .collect();
    if wishes.is_empty() {
        return (String::new(), Vec::new());
    }
    let (field, addresses) = wishes.remove(0);
    for (other, differing) in wishes
        .into_iter()
        .filter(|(_, listed)| *listed != addresses)
    {
        complaints.warning(
            other,
            format!(
                "asks for {} and is not heard, as {field} asks too",
                join(&differing)
            ),
            "keep one of the two",
        );
    }
    (field, addresses)
}

fn join(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        "nothing".to_owned()
    } else {
        texts.join(", ")
    }
}

/// The pool asked for.
pub(super) fn requested_pool(annotations: &Annotations) -> Option<String> {
    first(annotations, &POOL).map(|(_, name)| name.to_owned())
}

/// The sharing key and the namespaces to share with.
pub(super) fn sharing(
    annotations: &Annotations,
    complaints: &mut Complaints,
) -> (Option<String>, Vec<String>) {
    let names = SHARING.map(|(name, _)| name);
    let Some((name, key)) = first(annotations, &names) else {
        return (None, Vec::new());
    };
    let consent = SHARING
        .iter()
        .find(|(candidate, _)| *candidate == name)
        .and_then(|(_, c)| *c);
    let namespaces = match consent {
        None => vec!["*".to_owned()],
        Some(consent) => annotations
            .get(consent)
            .map(|list| namespaces(consent, list, complaints))
            .unwrap_or_default(),
    };
    (Some(key.to_owned()), namespaces)
}

fn namespaces(name: &str, list: &str, complaints: &mut Complaints) -> Vec<String> {
    let mut namespaces = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if part == "*" || is_label(part) {
            namespaces.push(part.to_owned());
        } else {
            complaints.error(
                field(name),
                format!("`{part}` is no namespace"),
                "write namespaces separated by commas, or * for all",
            );
        }
    }
    namespaces
}
