//! Names of leases.
//!
//! A lease's name is an object name in Kubernetes and the stem of a file name in the file store, so it
//! is a DNS subdomain (RFC 1123) with labels of at most 63 characters, and at most 220 in all:
//! Kubernetes stops at 253, but a file name (255 bytes) has to hold the revision as well. A name that
//! does not fit, or holds characters that may not be there, is shortened and gets a hash of the
//! original, so two originals never meet in one name.

use std::fmt;
use std::sync::Arc;

use crate::model::NodeName;

const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 220;
/// `-` and a 128-bit hash in hexadecimal digits.
const SUFFIX_LEN: usize = 33;
const NODE_PREFIX: &str = "landfall-node-";
const SERVICE_PREFIX: &str = "landfall-l2-";
const ALLOCATOR: &str = "landfall-allocator";
const MEMBERS: &str = "landfall-members";

/// What a lease is about, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    /// A node's own lease.
    Node,
    /// The lease of an announced service, or of services that share an IP.
    Service,
    /// The record of the members.
    Members,
}

/// The name of a lease: legal as an object name and as the stem of a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName(Arc<str>);

impl LeaseName {
    /// The lease of `node`: `landfall-node-<node>`.
    #[must_use]
    pub fn of_node(node: &NodeName) -> Self {
        Self(legal(NODE_PREFIX, &node.as_str().split('.').collect::<Vec<_>>()).into())
    }

    /// The lease of a service: `landfall-l2-<namespace>.<service>`. Neither part may hold a dot in
    /// Kubernetes, so the one between them keeps `a-b/c` and `a/b-c` apart.
    #[must_use]
    pub fn of_service(namespace: &str, service: &str) -> Self {
        Self(legal(SERVICE_PREFIX, &[namespace, service]).into())
    }

    /// The lease of the node that allocates addresses.
    #[must_use]
    pub fn allocator() -> Self {
        Self(ALLOCATOR.into())
    }

    /// The record of the members.
    #[must_use]
    pub fn members() -> Self {
        Self(MEMBERS.into())
    }

    /// The name `text` read back from a store, or nothing where it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let prefixed = text.starts_with(NODE_PREFIX) || text.starts_with(SERVICE_PREFIX);
        let ours = prefixed || text == ALLOCATOR || text == MEMBERS;
        let fits = text.len() <= NAME_MAX && text.split('.').all(is_label);
        (ours && fits).then(|| Self(text.into()))
    }

    /// Whether addresses go with the lease: it counts towards a node's share of the VIPs. The allocator's does not.
    #[must_use]
    pub fn carries_addresses(&self) -> bool {
        self.0.starts_with(SERVICE_PREFIX)
    }

    /// What the lease is about.
    #[must_use]
    pub fn kind(&self) -> LeaseKind {
        if self.0.starts_with(NODE_PREFIX) {
            LeaseKind::Node
        } else if &*self.0 == MEMBERS {
            LeaseKind::Members
        } else {
            LeaseKind::Service
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty()
        && label.len() <= LABEL_MAX
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn legal(prefix: &str, parts: &[&str]) -> String {
    // A part with a dot of its own (never so in Kubernetes) must not pass for two parts.
    let plain = format!("{prefix}{}", parts.join("."));
    let whole = parts.iter().all(|part| !part.contains('.'));
    if whole && plain.len() <= NAME_MAX && plain.split('.').all(is_label) {
        return plain;
    }
    let labels: Vec<String> = plain
        .split('.')
        .map(|label| {
            let kept = label.chars().map(|c| c.to_ascii_lowercase());
            let kept: String = kept
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .take(LABEL_MAX)
                .collect();
            kept.trim_matches('-').to_owned()
        })
        .filter(|label| !label.is_empty())
        .collect();
    let mut short = labels.join(".");
    short.truncate(NAME_MAX - SUFFIX_LEN);
    // The suffix belongs to the last label, which must still fit with it.
    let mut stem = short.trim_end_matches(['-', '.']);
    let last = stem.rfind('.').map_or(0, |dot| dot + 1);
    stem = stem[..stem.len().min(last + LABEL_MAX - SUFFIX_LEN)].trim_end_matches('-');
    // Of a name without a single legal character only the prefix is left, and less than that.
    let stem = if stem.starts_with(prefix) {
        stem
    } else {
        prefix.trim_end_matches('-')
    };
    format!("{stem}-{:032x}", fnv128(parts))
}

/// FNV-1a, 128 bits (draft-eastlake-fnv), over the parts and their lengths.
fn fnv128(parts: &[&str]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_are_those_of_the_design() {
        assert_eq!(
            LeaseName::of_service("default", "web").as_str(),
            "landfall-l2-default.web"
        );
        assert_eq!(
            LeaseName::of_node(&NodeName::new("n1")).as_str(),
            "landfall-node-n1"
        );
        assert_eq!(
            LeaseName::of_node(&NodeName::new("n1.lan")).as_str(),
            "landfall-node-n1.lan"
        );
    }

    #[test]
    fn a_dash_never_makes_two_services_share_a_lease() {
        assert_ne!(
            LeaseName::of_service("a-b", "c"),
            LeaseName::of_service("a", "b-c")
        );
        assert_ne!(
            LeaseName::of_service("a.b", "c"),
            LeaseName::of_service("a", "b.c")
        );
    }

    #[test]
    fn long_names_differ_although_their_beginnings_are_equal() {
        let (one, other) = ("x".repeat(253) + "1", "x".repeat(253) + "2");
        let (one, other) = (
            LeaseName::of_node(&NodeName::new(one)),
            LeaseName::of_node(&NodeName::new(other)),
        );
        assert_ne!(one, other);
        assert!(one.as_str().len() <= NAME_MAX);
    }

    proptest! {
        #[test]
        fn every_name_is_legal_and_can_be_read_back(
            namespace in "\\PC{0,80}", service in "[a-zA-Z0-9_.-]{0,300}",
        ) {
            for name in [LeaseName::of_service(&namespace, &service), LeaseName::of_node(&NodeName::new(service.as_str()))] {
                prop_assert_eq!(LeaseName::parse(name.as_str()), Some(name.clone()), "{}", name);
            }
        }

        #[test]
        fn different_services_have_different_leases(
            a in "[a-b.-]{1,6}", b in "[a-b.-]{1,6}", c in "[a-b.-]{1,6}", d in "[a-b.-]{1,6}",
        ) {
            prop_assume!((&a, &b) != (&c, &d));
            prop_assert_ne!(LeaseName::of_service(&a, &b), LeaseName::of_service(&c, &d));
        }
    }
}
