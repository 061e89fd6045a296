//! Frames that get lost on their way through the switch, though every carrier is up: in one
//! direction only, or between two parts of the LAN.
//!
//! Every frame from one port to another, ARP and unknown EtherTypes too, passes the bridge's own
//! netfilter hook, where a set of pairs of ports says which do not.

use std::fmt::Write as _;

use anyhow::Result;

use super::switch::{Lan, Switch};

/// A table of what is lost, made anew each time: one transaction, one instant.
const TABLE: &str = "lost";

/// Another, for what keeps machines from the control plane alone, whatever else is lost.
const ESTRANGED: &str = "estranged";

/// A direction in which nothing arrives any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deaf {
    /// What the machine sends is lost; it hears everything.
    Unheard,
    /// What is sent to the machine is lost; it is heard.
    Unhearing,
}

impl Switch {
    /// Loses every frame from a machine in `from` to one in `to` on a LAN, and no others.
    ///
    /// # Errors
    /// When `nft` is not installed or refuses.
    pub fn lose(&self, lan: Lan, pairs: &[(&str, &str)]) -> Result<()> {
        self.lose_by(TABLE, lan, pairs)
    }

    /// Loses every frame between a machine and these others on the first LAN, whatever else is lost
    /// or healed; without others, nothing any more.
    ///
    /// # Errors
    /// When `nft` is not installed or refuses.
    pub fn estrange(&self, machine: &str, others: &[&str]) -> Result<()> {
        let there = others.iter().map(|other| (machine, *other));
        let back = others.iter().map(|other| (*other, machine));
        let pairs: Vec<(&str, &str)> = there.chain(back).collect();
        self.lose_by(ESTRANGED, Lan::First, &pairs)
    }

    fn lose_by(&self, table: &str, lan: Lan, pairs: &[(&str, &str)]) -> Result<()> {
        let mut elements = String::new();
        for (from, to) in pairs {
            let comma = if elements.is_empty() { "" } else { ", " };
            write!(
                elements,
                "{comma}\"{}\" . \"{}\"",
                lan.port(from),
                lan.port(to)
            )?;
        }
        let elements = if pairs.is_empty() {
            String::new()
        } else {
            format!("elements = {{ {elements} }}; ")
        };
        self.host().feed(
            "nft -f -",
            &format!(
                "table bridge {table}\ndelete table bridge {table}\ntable bridge {table} {{\n\
                 set pairs {{ type ifname . ifname; {elements}}}\n\
                 chain forward {{ type filter hook forward priority 0; \
                 iifname . oifname @pairs drop; }}\n}}\n"
            ),
        )
    }

    /// Splits the first LAN: no frame passes between a machine of `one` and a machine of `other`.
    ///
    /// # Errors
    /// When `nft` is not installed or refuses.
    pub fn partition(&self, one: &[&str], other: &[&str]) -> Result<()> {
        let mut pairs = Vec::new();
        for a in one {
            for b in other {
                pairs.extend([(*a, *b), (*b, *a)]);
            }
        }
        self.lose(Lan::First, &pairs)
    }

    /// Loses everything that a machine sends to, or is sent by, `others` on the first LAN.
    ///
    /// # Errors
    /// When `nft` is not installed or refuses.
    pub fn deafen(&self, machine: &str, direction: Deaf, others: &[&str]) -> Result<()> {
        let pair = |other: &&'_ str| match direction {
            Deaf::Unheard => (machine.to_owned(), (*other).to_owned()),
            Deaf::Unhearing => ((*other).to_owned(), machine.to_owned()),
        };
        let pairs: Vec<(String, String)> = others.iter().map(pair).collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (&**a, &**b)).collect();
        self.lose(Lan::First, &pairs)
    }

    /// Loses nothing any more.
    ///
    /// # Errors
    /// When `nft` is not installed or refuses.
    pub fn heal(&self) -> Result<()> {
        let none = format!("table bridge {TABLE}\ndelete table bridge {TABLE}\n");
        self.host().feed("nft -f -", &none)
    }
}
