//! Builds the kernel programs into `OUT_DIR` for `include_bytes_aligned!`.
fn main() {}
