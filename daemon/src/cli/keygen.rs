//! `landfall keygen`: a new shared key.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;

use anyhow::Context as _;

use super::exit::Exit;
use super::format;

/// Octets of a key; it is printed as twice as many hexadecimal digits.
const LENGTH: usize = 32;

/// Prints 256 bits from the kernel's random number generator (random(4)), as one line of hexadecimal digits.
pub(super) fn run() -> anyhow::Result<Exit> {
    let mut octets = [0; LENGTH];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut octets))
        .context("no random numbers can be had from /dev/urandom")?;
    let mut line = String::with_capacity(2 * LENGTH + 1);
    for octet in octets {
        write!(line, "{octet:02x}").expect("writing to a string does not fail");
    }
    line.push('\n');
    format::write(&line)?;
    Ok(Exit::Done)
}
