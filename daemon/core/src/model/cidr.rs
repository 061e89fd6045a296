//! Address prefixes of either family.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::IpFamily;

/// An address prefix, its host bits cleared. Ordered so that a prefix comes right before those inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix_len: u8,
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no CIDR such as 10.0.0.0/8 or fd00::/8")]
pub struct CidrError(pub String);

impl Cidr {
    /// The prefix of `prefix_len` bits that `address` is in; nothing where the family has fewer bits.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        (prefix_len <= width(address)).then(|| Self {
            address: masked(address, prefix_len),
            prefix_len,
        })
    }

    /// The prefix of this one address.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix_len: width(address),
        }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits are given, at most 32 or 128.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Its family.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(self.address)
    }

    /// Whether `address` is in it. An IPv4 address is in no IPv6 prefix, nor the other way round.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && masked(address, self.prefix_len) == self.address
    }

    /// Whether every address of `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix_len <= other.prefix_len && self.contains(other.address)
    }
}

/// Bits of an address of this family.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix_len: u8) -> IpAddr {
    let spare = u32::from(width(address).saturating_sub(prefix_len));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(spare).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(spare).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let parse = || {
            let (address, prefix_len) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix_len.parse().ok()?)
        };
        parse().ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cleared_in_both_families() {
        assert_eq!(cidr("10.1.2.3/8"), cidr("10.0.0.0/8"));
        assert_eq!(cidr("fd00::1/64").to_string(), "fd00::/64");
        assert_eq!(cidr("10.1.2.3/0").to_string(), "0.0.0.0/0");
        assert_eq!(cidr("fd00::1/0").to_string(), "::/0");
    }

    #[test]
    fn a_prefix_holds_its_addresses_and_none_of_the_other_family() {
        let ten = cidr("10.0.0.0/8");
        assert!(ten.contains("10.255.255.255".parse().unwrap()));
        assert!(!ten.contains("11.0.0.0".parse().unwrap()));
        assert!(!cidr("::/0").contains("10.0.0.1".parse().unwrap()));
        assert!(!cidr("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(cidr("0.0.0.0/0").covers(&ten) && ten.covers(&cidr("10.1.0.0/16")));
        assert!(!cidr("10.1.0.0/16").covers(&ten));
    }

    #[test]
    fn prefixes_are_ordered_from_outside_in() {
        let mut all = [
            "::/0",
            "10.1.0.0/16",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "10.0.0.0/16",
        ]
        .map(cidr);
        all.sort();
        let sorted = all.map(|prefix| prefix.to_string());
        assert_eq!(
            sorted,
            [
                "0.0.0.0/0",
                "10.0.0.0/8",
                "10.0.0.0/16",
                "10.1.0.0/16",
                "::/0"
            ]
        );
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8", "10.0.0.0/"] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError(text.to_owned())));
        }
    }
}
