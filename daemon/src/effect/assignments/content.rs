//! The record as stores keep it: its JSON with a checksum, as a text, or deflated where an object's size is limited.

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use landfall_core::model::AssignmentRecord;

/// No record is larger than this once inflated, in bytes: what says otherwise was not written by an agent.
const INFLATED_MOST: u64 = 64 << 20;

/// The record with its checksum in the first line.
pub(super) fn to_text(record: &AssignmentRecord) -> String {
    let json = json(record);
    format!("{:016x}\n{json}\n", checksum(json.as_bytes()))
}

/// The record in a text that is whole.
pub(super) fn from_text(text: &str) -> Option<AssignmentRecord> {
    let (sum, json) = text.split_once('\n')?;
    let json = json.strip_suffix('\n')?;
    (u64::from_str_radix(sum, 16).ok()? == checksum(json.as_bytes()))
        .then(|| serde_json::from_str(json).ok())?
}

/// A record as an object has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// The deflated JSON (RFC 1951).
    pub(super) record: Vec<u8>,
    /// The checksum of the JSON.
    pub(super) checksum: String,
}

/// The record for an object.
pub(super) fn pack(record: &AssignmentRecord) -> Packed {
    let json = json(record);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let record = encoder
        .write_all(json.as_bytes())
        .and_then(|()| encoder.finish())
        .expect("writing into memory does not fail");
    Packed {
        record,
        checksum: format!("{:016x}", checksum(json.as_bytes())),
    }
}

/// The record of an object that is whole.
///
/// # Errors
/// It is not, in words that go on "the record …".
pub(super) fn unpack(packed: &[u8], sum: &str) -> Result<AssignmentRecord, String> {
    let inflated = inflate(packed).map_err(|error| format!("cannot be inflated: {error}"))?;
    if u64::from_str_radix(sum, 16) != Ok(checksum(&inflated)) {
        return Err("does not match its checksum".to_owned());
    }
    serde_json::from_slice(&inflated).map_err(|error| format!("is no record: {error}"))
}

fn inflate(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    let mut decoder = DeflateDecoder::new(packed).take(INFLATED_MOST);
    decoder.read_to_end(&mut inflated)?;
    Ok(inflated)
}

fn json(record: &AssignmentRecord) -> String {
    serde_json::to_string(record).expect("plain data has a JSON form")
}

/// FNV-1a, 64 bits: against torn records, not against malice.
fn checksum(bytes: &[u8]) -> u64 {
    landfall_ebpf::maglev::identity(bytes)
}
