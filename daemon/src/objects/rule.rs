//! CEL rules of our schemas: what the API server refuses before an agent sees it.
//!
//! Their messages are the agent's own words, without the field, which the server puts in front. What
//! CEL cannot say in reasonable cost (IPv6 ranges backwards, blocks or pools that overlap) the agent
//! finds. Sources: Kubernetes' documentation, "Common Expression Language in Kubernetes"; `isIP`,
//! `ip`, `isCIDR`, `cidr` are of Kubernetes 1.30, `format` of 1.31.

use serde::Serialize;

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    /// The expression; true where all is well.
    rule: &'static str,
    /// What is wrong, and what to write instead.
    message: &'static str,
    /// The field of the object that is at fault, where the rule is the whole object's.
    #[serde(skip_serializing_if = "Option::is_none")]
    field_path: Option<&'static str>,
}

const fn rule(rule: &'static str, message: &'static str) -> Rule {
    Rule {
        rule,
        message,
        field_path: None,
    }
}

const fn rule_of(field: &'static str, rule: &'static str, message: &'static str) -> Rule {
    Rule {
        rule,
        message,
        field_path: Some(field),
    }
}

/// A piece of a pool: which fields go together.
pub(super) const BLOCK: [Rule; 5] = [
    rule(
        "has(self.cidr) || has(self.start) || has(self.stop)",
        "the block is empty; write cidr, or start and stop, or start alone for a single address",
    ),
    rule_of(
        ".cidr",
        "!has(self.cidr) || !(has(self.start) || has(self.stop))",
        "stands beside start or stop; keep cidr alone, or make two blocks of them",
    ),
    rule_of(
        ".start",
        "!has(self.stop) || has(self.start) || has(self.cidr)",
        "is missing beside stop; write both",
    ),
    rule_of(
        ".stop",
        "!(has(self.start) && has(self.stop) && isIP(self.start) && isIP(self.stop)) \
         || ip(self.start).family() == ip(self.stop).family()",
        "is of another family than start; give each family a block of its own",
    ),
    // CEL's addresses have no order: IPv4's are compared as numbers.
    rule_of(
        ".stop",
        "!(has(self.start) && has(self.stop) && isIP(self.start) && isIP(self.stop)) \
         || ip(self.start).family() != 4 || ip(self.stop).family() != 4 \
         || [[self.start, self.stop].map(a, a.split('.')).map(a, int(a[0]) * 16777216 \
         + int(a[1]) * 65536 + int(a[2]) * 256 + int(a[3]))].all(n, n[0] <= n[1])",
        "comes before start; swap them",
    ),
];

/// A CIDR of a pool.
pub(super) const CIDR: [Rule; 3] = [
    rule(
        "self.contains('/')",
        "has no prefix length; write address/prefix such as 192.168.1.0/24, or use start for a \
         single address",
    ),
    rule(
        "!self.contains('/') || isCIDR(self)",
        "is no address and prefix length; write for example 192.168.1.0/24 or 2001:db8::/64",
    ),
    rule(
        "!isCIDR(self) || ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'ff00::/8'].all(u, \
         !cidr(u).containsIP(cidr(self).ip()) && !cidr(self).containsIP(cidr(u).ip()))",
        UNUSABLE,
    ),
];

/// The first or last address of a range.
pub(super) const ADDRESS: [Rule; 2] = [
    rule(
        "isIP(self)",
        "is no IP address; write for example 192.168.1.10 or 2001:db8::10",
    ),
    rule(
        "!isIP(self) || ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'ff00::/8'].all(u, \
         !cidr(u).containsIP(self))",
        UNUSABLE,
    ),
];

const UNUSABLE: &str = "reaches into loopback, multicast or reserved addresses; write unicast \
                        addresses of the clients' LAN";

/// `allowFirstLastIPs`. A rule in place of an enum: printed as YAML, an enum's bare words would be
/// booleans to kubectl.
pub(super) const CHOICE: [Rule; 1] = [rule(
    "self == 'Yes' || self == 'No'",
    "is unknown; write \"Yes\" or \"No\", with the quotes",
)];

/// `matchLabels`.
pub(super) const LABELS: [Rule; 2] = [
    rule(
        "self.all(k, !format.qualifiedName().validate(k).hasValue())",
        KEY_REMEDY,
    ),
    rule(
        "self.all(k, !format.labelValue().validate(self[k]).hasValue())",
        VALUE_REMEDY,
    ),
];

/// The key of a requirement.
pub(super) const KEY: [Rule; 1] = [rule(
    "!format.qualifiedName().validate(self).hasValue()",
    KEY_REMEDY,
)];

/// The values of a requirement.
pub(super) const VALUES: [Rule; 1] = [rule(
    "self.all(v, !format.labelValue().validate(v).hasValue())",
    VALUE_REMEDY,
)];

const KEY_REMEDY: &str = "holds what is no label key; write an optional DNS prefix and a slash, then at \
                          most 63 letters, digits, '-', '_' or '.', a letter or digit at both ends";
const VALUE_REMEDY: &str = "holds what is no label value; write at most 63 letters, digits, '-', '_' or \
                            '.', a letter or digit at both ends";

/// Operator and values of a requirement.
pub(super) const REQUIREMENT: [Rule; 2] = [
    rule_of(
        ".values",
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
        "has none beside In or NotIn; list at least one value",
    ),
    rule_of(
        ".values",
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) \
         || self.values.size() == 0",
        "stands beside Exists or DoesNotExist, which take none; remove it, or write In or NotIn",
    ),
];

/// A regular expression for interfaces. Whatever it matches, the rule holds; one that cannot be read
/// fails the evaluation, and the server puts the reason in front of the message.
pub(super) const INTERFACE: [Rule; 1] = [rule(
    "''.matches(self) ? true : true",
    "write a regular expression such as ^ens[0-9]+",
)];
