//! Tells the linker, which generates the code, what the programs may ask of the CPU.

use std::env;

fn main() {
    // IP headers lie two octets beside alignment. Where CPU and kernel take whole words from there
    // (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS), reading octet by octet costs the paths dearly. On the
    // stack the verifier wants alignment all the same: what the compiler may store there at once has to lie on words.
    let host = env::var("CARGO_CFG_BPF_TARGET_ARCH").unwrap_or_default();
    if matches!(host.as_str(), "x86_64" | "aarch64") {
        println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
