//! `landfall crds`: the definitions of our kinds, to be given to `kubectl apply -f -`.

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::format;
use crate::objects;

/// Which definitions.
#[derive(Debug, Args)]
pub(super) struct CrdsFlags {
    /// Also print the kinds of another project that Landfall reads, for clusters without it
    #[arg(long, value_enum, value_name = "PROJECT")]
    compat: Option<Compat>,
}

/// A project whose kinds Landfall reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compat {
    /// `CiliumLoadBalancerIPPool` and `CiliumL2AnnouncementPolicy`
    Cilium,
}

/// Prints them as one YAML stream.
pub(super) fn run(flags: &CrdsFlags) -> anyhow::Result<Exit> {
    let mut text = String::new();
    for definition in objects::crds(flags.compat == Some(Compat::Cilium)) {
        text.push_str("---\n");
        text.push_str(&serde_norway::to_string(&definition)?);
    }
    format::write(&text)?;
    Ok(Exit::Done)
}
