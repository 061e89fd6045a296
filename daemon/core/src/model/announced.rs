//! What the announce effect tells of the addresses this node answers for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use super::{LinkIndex, MacAddress};
use crate::election::LeaseName;

/// Everything this node announces or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReport {
    /// VIPs by interface.
    pub vips: Vec<AnnouncedVip>,
    /// What this node could not prove, and leaves to others.
    pub unproved: Vec<Unproved>,
    /// What failed.
    pub problems: BTreeSet<String>,
}

/// One VIP on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedVip {
    /// The address.
    pub ip: IpAddr,
    /// Its lease.
    pub lease: LeaseName,
    /// The interface.
    pub index: LinkIndex,
    /// Its name.
    pub interface: String,
    /// `kernel`, `socket`, or `none`.
    pub responder: &'static str,
    /// Where it stands.
    pub state: VipState,
    /// Since when it stands there.
    pub since: SystemTime,
}

/// Something for which peers do not hear this node answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproved {
    /// On which interface.
    pub index: LinkIndex,
    /// Its name.
    pub interface: String,
    /// For which address; nothing where it is all of them.
    pub ip: Option<IpAddr>,
}

/// Where a VIP stands on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipState {
    /// Asked for, to find out whether another machine has it.
    Probing,
    /// Announced and answered for.
    Announcing,
    /// Not announced: this other machine has it.
    Conflict(MacAddress),
}
