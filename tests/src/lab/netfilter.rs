//! Hosts with a firewall of their own, as real nodes have.

use anyhow::Result;

use super::node::Node;

/// What a node's netfilter and routing checks are to do, beside accepting everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Netfilter {
    /// `rp_filter=1`: packets must come in where their source would be routed out.
    pub strict_reverse_path: bool,
    /// Drop what connection tracking calls invalid, on every hook.
    pub drop_invalid: bool,
    /// A FORWARD chain that drops all but established connections and new ones to these ports.
    pub forward_only_to: Option<Vec<u16>>,
}

impl Node {
    /// Puts a firewall in place, instead of an earlier one.
    ///
    /// # Errors
    /// When `nft` is not installed or refuses it.
    pub fn set_netfilter(&self, firewall: &Netfilter) -> Result<()> {
        let strict = if firewall.strict_reverse_path {
            "1"
        } else {
            "0"
        };
        // The stricter of `all` and the interface's own counts; new interfaces copy `default`.
        for scope in ["all", "default"] {
            self.host()
                .sysctl(&format!("ipv4/conf/{scope}/rp_filter"), strict)?;
        }
        self.host().feed("nft -f -", &rules(firewall))
    }
}

/// The firewall as `nft` reads it, replacing an earlier one.
fn rules(firewall: &Netfilter) -> String {
    let invalid = if firewall.drop_invalid {
        "ct state invalid counter drop"
    } else {
        ""
    };
    let (policy, allowed) = match &firewall.forward_only_to {
        None => ("accept", String::new()),
        Some(ports) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let ports = ports.join(", ");
            let allowed = format!(
                "ct state established,related accept\n    \
                 icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept\n    \
                 th dport {{ {ports} }} ct state new accept\n    counter"
            );
            ("drop", allowed)
        }
    };
    let mut text = String::from("table inet lab {}\ndelete table inet lab\ntable inet lab {\n");
    for hook in ["prerouting", "input", "forward", "output", "postrouting"] {
        let (policy, allowed) = if hook == "forward" {
            (policy, allowed.as_str())
        } else {
            ("accept", "")
        };
        text.push_str(&format!(
            "  chain {hook} {{\n    type filter hook {hook} priority 0; policy {policy};\n    \
             {invalid}\n    {allowed}\n  }}\n"
        ));
    }
    text.push_str("}\n");
    text
}
