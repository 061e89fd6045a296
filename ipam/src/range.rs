//! Address families and inclusive address ranges.
//!
//! Owns the arithmetic on addresses: every address is a family and a number of 128 bits, so that a
//! range as large as `::/0` is two integers and is never enumerated. Fed by [`crate::Block`]; feeds
//! the interval sets of the allocator.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP family, in the order in which Kubernetes names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`. An IPv4-mapped IPv6 address is IPv6.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The other family.
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// Bits of an address: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The highest address as a number.
    pub(crate) const fn max(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }

    /// The address with the number `bits`.
    pub(crate) fn address(self, bits: u128) -> IpAddr {
        match self {
            Self::V4 => {
                let bits = u32::try_from(bits).expect("IPv4 numbers stay below 2^32");
                IpAddr::V4(Ipv4Addr::from_bits(bits))
            }
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }
}

impl fmt::Display for Family {
    /// `IPv4` or `IPv6`, as in `spec.ipFamilies`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The number of `address` within its family.
pub(crate) fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// One value per family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerFamily<T> {
    v4: T,
    v6: T,
}

impl<T> std::ops::Index<Family> for PerFamily<T> {
    type Output = T;

    fn index(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl<T> std::ops::IndexMut<Family> for PerFamily<T> {
    fn index_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// An inclusive, never empty range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    family: Family,
    first: u128,
    last: u128,
}

impl AddressRange {
    /// The range of the numbers `first..=last`, which must be in order and within the family.
    pub(crate) fn new(family: Family, first: u128, last: u128) -> Self {
        debug_assert!(first <= last && last <= family.max());
        Self {
            family,
            first,
            last,
        }
    }

    /// The family of every address in the range.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        self.family.address(self.first)
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        self.family.address(self.last)
    }

    /// How many addresses there are; 2^128, which `::/0` has, saturates to `u128::MAX`.
    pub const fn len(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Always false: a range has at least one address.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether `address` lies in the range; an address of the other family never does.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family && (self.first..=self.last).contains(&bits_of(address))
    }

    /// Whether an address lies in both ranges.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }

    /// The lowest and the highest address as numbers.
    pub(crate) const fn bounds(&self) -> (u128, u128) {
        (self.first, self.last)
    }
}

impl fmt::Display for AddressRange {
    /// `first-last`, or the address alone when there is only one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first())
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}
