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
    format::write(&text(flags.compat == Some(Compat::Cilium))?)?;
    Ok(Exit::Done)
}

fn text(compat_cilium: bool) -> Result<String, serde_norway::Error> {
    let mut text = String::new();
    for definition in objects::crds(compat_cilium) {
        text.push_str("---\n");
        text.push_str(&serde_norway::to_string(&definition)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::text;

    fn shipped(path: &str) -> String {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::read_to_string(tree.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn the_definitions_that_are_shipped_are_those_printed() {
        // `make crds` writes them all.
        let (own, all) = (text(false).unwrap(), text(true).unwrap());
        let twins = all.strip_prefix(&own).expect("ours come first");
        assert_eq!(shipped("packaging/kubernetes/crds.yaml"), own);
        assert_eq!(shipped("packaging/helm/landfall/files/crds.yaml"), own);
        assert_eq!(
            shipped("packaging/helm/landfall/files/crds-cilium.yaml"),
            twins
        );
        let manifest = shipped("packaging/kubernetes/landfall.yaml");
        assert!(
            manifest.ends_with(&own),
            "landfall.yaml ends with other definitions than `landfall crds` prints"
        );
    }
}
