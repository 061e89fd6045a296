//! Addresses and lists of them in any field.

use std::net::IpAddr;

use landfall_core::model::IpFamily;
use landfall_ipam::Block;

use super::metadata::shortened;
use crate::source::complaint::Complaints;

/// An address, whatever it is for.
pub(super) fn address(field: &str, text: &str, complaints: &mut Complaints) -> Option<IpAddr> {
    let parsed = text.trim().parse().ok();
    if parsed.is_none() {
        complaints.error(
            field,
            format!("`{}` is no IP address", shortened(text)),
            "write for example 192.168.1.10 or 2001:db8::10",
        );
    }
    parsed
}

/// An address that clients on the LAN could send to.
pub(super) fn unicast(field: &str, text: &str, complaints: &mut Complaints) -> Option<IpAddr> {
    let address = address(field, text, complaints)?;
    let why = match address {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address mapped to IPv6",
        _ => return Some(address),
    };
    let problem = format!("{address} is {why}");
    complaints.error(
        field,
        problem,
        "write a unicast address of the clients' LAN",
    );
    None
}

/// Addresses separated by commas, each once.
pub(super) fn listed(field: &str, text: &str, complaints: &mut Complaints) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if let Some(address) = unicast(field, part, complaints)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses
}

/// Client ranges in CIDR notation.
pub(super) fn ranges<'a>(
    field: impl Fn(usize) -> String,
    texts: impl Iterator<Item = &'a str>,
    complaints: &mut Complaints,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (index, text) in texts.enumerate() {
        match Block::parse(Some(text), None, None) {
            Ok(block) => blocks.push(block),
            Err(error) => {
                let text = error.to_string();
                // The field is the list's entry, not the `cidr` of a pool's block.
                let text = text
                    .split_once(": ")
                    .map_or(text.as_str(), |(_, rest)| rest);
                complaints.error_text("", &format!("{}: {text}", field(index)));
            }
        }
    }
    blocks
}

/// The families of `addresses`, each once, in their order.
pub(super) fn families(addresses: &[IpAddr]) -> Vec<IpFamily> {
    let mut families = Vec::new();
    for family in addresses.iter().copied().map(IpFamily::of) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}
