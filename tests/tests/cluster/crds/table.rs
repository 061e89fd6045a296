//! Objects that the definitions refuse, and some that only look as if.

/// A wrong object: what is written below `spec`, the field that is named, and what the message says
/// of the problem and of the remedy.
pub(super) struct Wrong {
    pub(super) kind: Kind,
    pub(super) spec: &'static str,
    pub(super) field: &'static str,
    pub(super) says: [&'static str; 2],
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Pool,
    Policy,
    CiliumPool,
    CiliumPolicy,
}

impl Kind {
    /// The lines that an object begins with.
    pub(super) fn head(self) -> &'static str {
        match self {
            Self::Pool => "apiVersion: landfall.dev/v1alpha1\nkind: LoadBalancerIPPool",
            Self::Policy => "apiVersion: landfall.dev/v1alpha1\nkind: L2AnnouncementPolicy",
            Self::CiliumPool => "apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool",
            Self::CiliumPolicy => {
                "apiVersion: cilium.io/v2alpha1\nkind: CiliumL2AnnouncementPolicy"
            }
        }
    }
}

const fn pool(spec: &'static str, field: &'static str, says: [&'static str; 2]) -> Wrong {
    Wrong {
        kind: Kind::Pool,
        spec,
        field,
        says,
    }
}

const fn policy(spec: &'static str, field: &'static str, says: [&'static str; 2]) -> Wrong {
    Wrong {
        kind: Kind::Policy,
        spec,
        field,
        says,
    }
}

const fn of(kind: Kind, wrong: Wrong) -> Wrong {
    Wrong { kind, ..wrong }
}

const CIDR: [&str; 2] = [
    "is no address and prefix length",
    "write for example 192.168.1.0/24",
];
const ADDRESS: [&str; 2] = ["is no IP address", "write for example 192.168.1.10"];
const UNUSABLE: [&str; 2] = [
    "reaches into loopback, multicast or reserved",
    "write unicast addresses",
];
const KEY: [&str; 2] = ["no label key", "at most 63 letters"];
const VALUE: [&str; 2] = ["no label value", "at most 63 letters"];
const FAMILIES: [&str; 2] = [
    "is of another family than start",
    "give each family a block of its own",
];
const BACKWARDS: [&str; 2] = ["comes before start", "swap them"];
const BESIDE: [&str; 2] = ["stands beside start or stop", "make two blocks of them"];

pub(super) const WRONG: [Wrong; 40] = [
    pool("{}", "spec.blocks", ["Required value", ""]),
    pool("{blocks: {}}", "spec.blocks", ["must be of type array", ""]),
    pool(
        "{blocks: [{}]}",
        "spec.blocks[0]",
        ["the block is empty", "write cidr, or start and stop"],
    ),
    pool(
        "{blocks: [{cidr: 10.0.0.0/24, start: 10.0.0.1}]}",
        "spec.blocks[0].cidr",
        BESIDE,
    ),
    pool(
        "{blocks: [{cidr: 10.0.0.0/24, stop: 10.0.0.9}]}",
        "spec.blocks[0].cidr",
        BESIDE,
    ),
    pool(
        "{blocks: [{stop: 10.0.0.9}]}",
        "spec.blocks[0].start",
        ["is missing beside stop", "write both"],
    ),
    pool(
        "{blocks: [{cidr: 10.0.0.0/24}, {cidr: 10.1.0.0}]}",
        "spec.blocks[1].cidr",
        [
            "has no prefix length",
            "write address/prefix such as 192.168.1.0/24",
        ],
    ),
    pool(
        "{blocks: [{cidr: 10.0.0.0/33}]}",
        "spec.blocks[0].cidr",
        CIDR,
    ),
    pool(
        "{blocks: [{cidr: 10.0.0.256/24}]}",
        "spec.blocks[0].cidr",
        CIDR,
    ),
    pool("{blocks: [{cidr: 'lan/24'}]}", "spec.blocks[0].cidr", CIDR),
    pool(
        "{blocks: [{cidr: 'fd00:::/64'}]}",
        "spec.blocks[0].cidr",
        CIDR,
    ),
    pool(
        "{blocks: [{cidr: 127.0.1.0/24}]}",
        "spec.blocks[0].cidr",
        UNUSABLE,
    ),
    pool(
        "{blocks: [{cidr: 224.0.0.0/24}]}",
        "spec.blocks[0].cidr",
        UNUSABLE,
    ),
    pool(
        "{blocks: [{cidr: 0.0.0.0/0}]}",
        "spec.blocks[0].cidr",
        UNUSABLE,
    ),
    pool(
        "{blocks: [{cidr: 'ff02::/64'}]}",
        "spec.blocks[0].cidr",
        UNUSABLE,
    ),
    pool(
        "{blocks: [{start: 10.0.0.300}]}",
        "spec.blocks[0].start",
        ADDRESS,
    ),
    pool(
        "{blocks: [{start: 10.0.0.1, stop: end}]}",
        "spec.blocks[0].stop",
        ADDRESS,
    ),
    pool(
        "{blocks: [{start: 10.0.0.0/24}]}",
        "spec.blocks[0].start",
        ADDRESS,
    ),
    pool(
        "{blocks: [{start: 255.255.255.255}]}",
        "spec.blocks[0].start",
        UNUSABLE,
    ),
    pool(
        "{blocks: [{start: '::1'}]}",
        "spec.blocks[0].start",
        UNUSABLE,
    ),
    pool(
        "{blocks: [{start: 10.0.0.1, stop: 'fd00::1'}]}",
        "spec.blocks[0].stop",
        FAMILIES,
    ),
    pool(
        "{blocks: [{start: 10.0.0.9, stop: 10.0.0.1}]}",
        "spec.blocks[0].stop",
        BACKWARDS,
    ),
    pool(
        "{blocks: [{start: 10.1.0.0, stop: 10.0.255.255}]}",
        "spec.blocks[0].stop",
        BACKWARDS,
    ),
    pool(
        "{blocks: [{cidr: 10}]}",
        "spec.blocks[0].cidr",
        ["must be of type string", ""],
    ),
    pool(
        "{blocks: [], allowFirstLastIPs: 'Never'}",
        "spec.allowFirstLastIPs",
        ["is unknown", "write \"Yes\" or \"No\", with the quotes"],
    ),
    pool(
        "{blocks: [], allowFirstLastIPs: true}",
        "spec.allowFirstLastIPs",
        ["must be of type string", ""],
    ),
    pool(
        "{blocks: [], disabled: maybe}",
        "spec.disabled",
        ["must be of type boolean", ""],
    ),
    pool(
        "{blocks: [], cidrs: [10.0.0.0/24]}",
        "spec.cidrs",
        ["unknown field", ""],
    ),
    pool(
        "{blocks: [{cdir: 10.0.0.0/24}]}",
        "spec.blocks[0].cdir",
        ["unknown field", ""],
    ),
    pool(
        "{blocks: [], serviceSelector: {matchLabels: {color: 'dark blue'}}}",
        "spec.serviceSelector.matchLabels",
        VALUE,
    ),
    pool(
        "{blocks: [], serviceSelector: {matchLabels: {'-color': blue}}}",
        "spec.serviceSelector.matchLabels",
        KEY,
    ),
    pool(
        "{blocks: [], serviceSelector: {matchExpressions: [{key: color, operator: Is, values: [blue]}]}}",
        "spec.serviceSelector.matchExpressions[0].operator",
        ["Unsupported value", "\"DoesNotExist\""],
    ),
    pool(
        "{blocks: [], serviceSelector: {matchExpressions: [{key: color, operator: In}]}}",
        "spec.serviceSelector.matchExpressions[0].values",
        ["has none beside In or NotIn", "list at least one value"],
    ),
    pool(
        "{blocks: [], serviceSelector: {matchExpressions: [{key: color, operator: Exists, values: [blue]}]}}",
        "spec.serviceSelector.matchExpressions[0].values",
        [
            "stands beside Exists or DoesNotExist",
            "remove it, or write In or NotIn",
        ],
    ),
    pool(
        "{blocks: [], serviceSelector: {matchExpressions: [{key: 'a b', operator: Exists}]}}",
        "spec.serviceSelector.matchExpressions[0].key",
        KEY,
    ),
    policy(
        "{loadBalancerIPs: true, interfaces: ['^ens[0-9+']}",
        "spec.interfaces[0]",
        [
            "error parsing regexp",
            "write a regular expression such as ^ens[0-9]+",
        ],
    ),
    policy(
        "{loadBalancerIPs: 1}",
        "spec.loadBalancerIPs",
        ["must be of type boolean", ""],
    ),
    policy(
        "{nodeSelector: {matchExpressions: [{key: rack, operator: NotIn, values: ['a/b']}]}}",
        "spec.nodeSelector.matchExpressions[0].values",
        VALUE,
    ),
    of(
        Kind::CiliumPool,
        pool(
            "{blocks: [{cidr: 10.0.0.0}]}",
            "spec.blocks[0].cidr",
            ["has no prefix length", "write"],
        ),
    ),
    of(
        Kind::CiliumPolicy,
        policy(
            "{interfaces: ['(']}",
            "spec.interfaces[0]",
            ["error parsing regexp", "write"],
        ),
    ),
];

/// What is odd, and right.
pub(super) const RIGHT: [(Kind, &str); 8] = [
    (Kind::Pool, "{blocks: []}"),
    (
        Kind::Pool,
        "{blocks: [{cidr: 10.0.0.7/24}, {cidr: 'fd00::/64'}, {start: 10.2.0.1}]}",
    ),
    (
        Kind::Pool,
        "{blocks: [{start: 9.255.255.255, stop: 10.0.0.0}, {start: 10.0.0.3, stop: 10.0.0.3}]}",
    ),
    (
        Kind::Pool,
        "{blocks: [{start: 'fd00::1', stop: 'fd00::ffff'}], allowFirstLastIPs: 'No', disabled: true}",
    ),
    (
        Kind::Pool,
        "{blocks: [{cidr: 10.3.0.0/32, start: null}], serviceSelector: null}",
    ),
    (Kind::Policy, "{}"),
    (
        Kind::Policy,
        "{interfaces: ['^eth[0-9]+$', 'ens.*'], nodeSelector: {matchLabels: {example.org/rack: ''}}}",
    ),
    (Kind::CiliumPool, "{blocks: [{cidr: 10.4.0.0/29}]}"),
];
