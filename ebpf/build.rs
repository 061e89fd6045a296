//! Builds the kernel programs into `OUT_DIR`, from where `program.rs` includes them.
//!
//! They need a compiler with library sources: a rustup nightly that has `rust-src`, else the distribution's
//! (`rustc-web cargo-web rust-web-src` on Debian), and `bpf-linker`, which `packaging/install-build-tools` puts into `.tools`.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

const DISTRIBUTION: &str = "/usr";

fn main() -> Result<()> {
    let room = env::var("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let room = Path::new(&room);
    let programs = room.join("programs");
    println!("cargo:rerun-if-changed={}", room.join("abi/src").display());
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = room.join("../.tools/bin");
    let paths = std::iter::once(tools).chain(env::split_paths(&path));
    // SAFETY: a build script has one thread here.
    unsafe { env::set_var("PATH", env::join_paths(paths)?) };
    let toolchain = if nightly_has_sources() {
        Toolchain::Nightly
    } else {
        // SAFETY: as above.
        unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
        Toolchain::Custom(DISTRIBUTION)
    };
    let neighbour = env::var_os("CARGO_FEATURE_NEIGHBOUR_LAYOUT").map(|_| "neighbour-layout");
    let package = Package {
        name: "landfall-ebpf-programs",
        features: neighbour.as_slice(),
        root_dir: programs.to_str().context("the tree's path is UTF-8")?,
        ..Package::default()
    };
    aya_build::build_ebpf([package], toolchain)
}

fn nightly_has_sources() -> bool {
    let Ok(output) = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    output.status.success()
        && Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library")
            .is_dir()
}
