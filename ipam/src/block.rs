//! Blocks of a pool, as users write them: a CIDR, `start` and `stop`, or a single `start`.
//!
//! Owns parsing and the question which addresses of a block may be handed out. Fed by the text of
//! `spec.blocks`; feeds [`crate::Pool`].
//!
//! A CIDR with host bits set (`192.168.1.200/28`) stands for the network it lies in
//! (`192.168.1.192/28`), as in Cilium, so that existing YAML means the same here. Users have been
//! caught by that, so [`Block::host_bits`] tells it and a caller can warn.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use crate::range::{AddressRange, Family, bits_of};

/// Whether the first and the last address of a CIDR may be handed out (`allowFirstLastIPs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FirstLast {
    /// They may; the default, as in Cilium's v2 API.
    #[default]
    Allowed,
    /// They may not, except in a /31, /32, /127 or /128, which would otherwise have none.
    Reserved,
}

/// How a block was written; decides what `allowFirstLastIPs` means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Cidr { prefix: u8, written: IpAddr },
    Range,
}

/// One contiguous piece of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    range: AddressRange,
    form: Form,
}

impl Block {
    /// Reads a block from the fields of one entry of `spec.blocks`.
    ///
    /// # Errors
    /// Says which field is wrong and what to write instead.
    pub fn parse(
        cidr: Option<&str>,
        start: Option<&str>,
        stop: Option<&str>,
    ) -> Result<Self, BlockError> {
        match (cidr, start, stop) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(BlockError::CidrAndRange),
            (Some(cidr), None, None) => Self::from_cidr(cidr),
            (None, Some(start), None) => Self::from_range(start, start),
            (None, Some(start), Some(stop)) => Self::from_range(start, stop),
            (None, None, Some(_)) => Err(BlockError::StopAlone),
            (None, None, None) => Err(BlockError::Empty),
        }
    }

    /// Reads `address/prefix`; host bits are masked away.
    ///
    /// # Errors
    /// The text is no address, or the prefix is missing, no number, or longer than the address.
    pub fn from_cidr(cidr: &str) -> Result<Self, BlockError> {
        let text = cidr.trim();
        let Some((address, prefix)) = text.split_once('/') else {
            return Err(BlockError::NoPrefix {
                value: text.to_owned(),
            });
        };
        let written: IpAddr = address.parse().map_err(|_| BlockError::NotCidr {
            value: text.to_owned(),
        })?;
        let family = Family::of(written);
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BlockError::NotCidr {
                value: text.to_owned(),
            });
        }
        let prefix = match prefix.parse::<u8>() {
            Ok(prefix) if prefix <= family.bits() => prefix,
            _ => {
                return Err(BlockError::PrefixTooLong {
                    value: text.to_owned(),
                    family,
                });
            }
        };
        let host = family.max().checked_shr(u32::from(prefix)).unwrap_or(0);
        let first = bits_of(written) & !host;
        let range = AddressRange::new(family, first, first | host);
        Ok(Self {
            range,
            form: Form::Cidr { prefix, written },
        })
    }

    /// Reads the inclusive range from `start` to `stop`.
    ///
    /// # Errors
    /// One of them is no address, they are of two families, or `stop` comes before `start`.
    pub fn from_range(start: &str, stop: &str) -> Result<Self, BlockError> {
        let address = |field: &'static str, value: &str| {
            let value = value.trim();
            value.parse::<IpAddr>().map_err(|_| BlockError::NotAddress {
                field,
                value: value.to_owned(),
            })
        };
        let (start, stop) = (address("start", start)?, address("stop", stop)?);
        let family = Family::of(start);
        if Family::of(stop) != family {
            return Err(BlockError::MixedFamilies { start, stop });
        }
        if stop < start {
            return Err(BlockError::StopBeforeStart { start, stop });
        }
        let range = AddressRange::new(family, bits_of(start), bits_of(stop));
        Ok(Self {
            range,
            form: Form::Range,
        })
    }

    /// Every address of the block, the reserved ones too; overlap is judged by this.
    pub const fn range(&self) -> AddressRange {
        self.range
    }

    /// The addresses that may be handed out.
    pub fn usable(&self, first_last: FirstLast) -> AddressRange {
        let (first, last) = self.range.bounds();
        match (first_last, self.form) {
            (FirstLast::Reserved, Form::Cidr { prefix, .. })
                if prefix + 1 < self.range.family().bits() =>
            {
                AddressRange::new(self.range.family(), first + 1, last - 1)
            }
            _ => self.range,
        }
    }

    /// The address as it was written, when the block is a CIDR whose host bits were not zero and
    /// therefore begins below it; worth a warning.
    pub fn host_bits(&self) -> Option<IpAddr> {
        match self.form {
            Form::Cidr { written, .. } if written != self.range.first() => Some(written),
            _ => None,
        }
    }
}

impl fmt::Display for Block {
    /// The CIDR, or `start-stop`, or the single address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Cidr { prefix, .. } => write!(f, "{}/{prefix}", self.range.first()),
            Form::Range => self.range.fmt(f),
        }
    }
}

/// Why an entry of `spec.blocks` is no block. The text begins with the field at fault, relative to
/// the entry, and ends with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// None of the fields is there.
    Empty,
    /// `cidr` stands beside `start` or `stop`.
    CidrAndRange,
    /// `stop` without `start`.
    StopAlone,
    /// `cidr` has no `/prefix`.
    NoPrefix {
        /// What was written.
        value: String,
    },
    /// `cidr` is no address and prefix.
    NotCidr {
        /// What was written.
        value: String,
    },
    /// The prefix of `cidr` is longer than the address.
    PrefixTooLong {
        /// What was written.
        value: String,
        /// The family of its address.
        family: Family,
    },
    /// `start` or `stop` is no IP address.
    NotAddress {
        /// `start` or `stop`.
        field: &'static str,
        /// What was written.
        value: String,
    },
    /// `start` is of one family and `stop` of the other.
    MixedFamilies {
        /// The value of `start`.
        start: IpAddr,
        /// The value of `stop`.
        stop: IpAddr,
    },
    /// `stop` is lower than `start`.
    StopBeforeStart {
        /// The value of `start`.
        start: IpAddr,
        /// The value of `stop`.
        stop: IpAddr,
    },
}

impl BlockError {
    /// The field at fault, relative to the entry of `spec.blocks`.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Empty
            | Self::CidrAndRange
            | Self::NoPrefix { .. }
            | Self::NotCidr { .. }
            | Self::PrefixTooLong { .. } => "cidr",
            Self::StopAlone => "start",
            Self::NotAddress { field, .. } => field,
            Self::MixedFamilies { .. } | Self::StopBeforeStart { .. } => "stop",
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "cidr: the block is empty; write cidr, or start and stop, or start alone for a \
                 single address",
            ),
            Self::CidrAndRange => f.write_str(
                "cidr: stands beside start or stop; keep cidr alone, or make two blocks of them",
            ),
            Self::StopAlone => f.write_str("start: is missing beside stop; write both"),
            Self::NoPrefix { value } => write!(
                f,
                "cidr: \"{value}\" has no prefix length; write address/prefix such as \
                 192.168.1.0/24, or use start for a single address"
            ),
            Self::NotCidr { value } => write!(
                f,
                "cidr: \"{value}\" is no address and prefix length; write for example \
                 192.168.1.0/24 or 2001:db8::/64"
            ),
            Self::PrefixTooLong { value, family } => write!(
                f,
                "cidr: the prefix length of \"{value}\" is too long; {family} allows at most /{}",
                family.bits()
            ),
            Self::NotAddress { field, value } => write!(
                f,
                "{field}: \"{value}\" is no IP address; write for example 192.168.1.10 or \
                 2001:db8::10"
            ),
            Self::MixedFamilies { start, stop } => write!(
                f,
                "stop: {stop} and start {start} are of different families; give each family a \
                 block of its own"
            ),
            Self::StopBeforeStart { start, stop } => {
                write!(f, "stop: {stop} comes before start {start}; swap them")
            }
        }
    }
}

impl Error for BlockError {}

#[cfg(test)]
mod tests;
