//! The form of a lease record on disk: one line of JSON below a line with its checksum.
//!
//! `landfall-lease 1 <FNV-1a 64 of the JSON, hexadecimal>` and a newline, then the JSON. A file that was
//! cut short or damaged fails the checksum and is *torn*: its revision counts, its content does not.

use std::sync::Arc;
use std::time::Duration;

use landfall_core::election::{
    BootId, Cause, Content, Fence, Holder, Incarnation, NodeLease, Record, ServiceLease, Term,
};
use landfall_core::model::NodeName;
use serde::{Deserialize, Serialize};

const MAGIC: &str = "landfall-lease 1 ";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum Stored {
    Node {
        node: String,
        incarnation: String,
        boot: String,
        term: u64,
        renewals: u64,
        duration_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fenced_by: Option<StoredFence>,
        payload: String,
    },
    Service {
        holder: Option<StoredHolder>,
        leaving: bool,
        previous: Option<String>,
        cause: String,
        acquired_unix: u64,
        transitions: u64,
    },
    /// Removed: the number stays taken, so that a writer from before cannot bring the lease back.
    Removed,
}

#[derive(Serialize, Deserialize)]
struct StoredFence {
    node: String,
    incarnation: String,
}

#[derive(Serialize, Deserialize)]
struct StoredHolder {
    node: String,
    term: u64,
}

/// A record, or nothing for a lease that was removed, as the bytes of a file.
pub(super) fn encode(record: Option<&Record>) -> Vec<u8> {
    let stored = match record {
        None => Stored::Removed,
        Some(Record::Node(lease)) => Stored::Node {
            node: lease.node.to_string(),
            incarnation: format!("{:032x}", lease.incarnation.0),
            boot: format!("{:032x}", lease.boot.0),
            term: lease.term.0,
            renewals: lease.renewals,
            duration_ms: u64::try_from(lease.duration.as_millis()).unwrap_or(u64::MAX),
            fenced_by: lease.fenced_by.as_ref().map(|fence| StoredFence {
                node: fence.node.to_string(),
                incarnation: format!("{:032x}", fence.incarnation.0),
            }),
            payload: lease.payload.to_string(),
        },
        Some(Record::Service(lease)) => Stored::Service {
            holder: lease.holder.as_ref().map(|holder| StoredHolder {
                node: holder.node.to_string(),
                term: holder.term.0,
            }),
            leaving: lease.leaving,
            previous: lease.previous.as_ref().map(ToString::to_string),
            cause: lease.cause.as_str().to_owned(),
            acquired_unix: lease.acquired_unix,
            transitions: lease.transitions,
        },
    };
    let json = serde_json::to_string(&stored).expect("strings and numbers always have a JSON form");
    format!("{MAGIC}{:016x}\n{json}\n", fnv64(json.as_bytes())).into_bytes()
}

/// What the bytes of a file say; anything that is not whole is [`Content::Torn`].
pub(super) fn decode(bytes: &[u8]) -> Content {
    decode_whole(bytes).unwrap_or(Content::Torn)
}

fn decode_whole(bytes: &[u8]) -> Option<Content> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix(MAGIC)?;
    let (sum, json) = text.split_once('\n')?;
    let json = json.strip_suffix('\n')?;
    if u64::from_str_radix(sum, 16).ok()? != fnv64(json.as_bytes()) {
        return None;
    }
    let node = |name: String| NodeName::new(Arc::<str>::from(name));
    let hex = |text: &str| u128::from_str_radix(text, 16).ok();
    Some(match serde_json::from_str(json).ok()? {
        Stored::Removed => Content::Absent,
        Stored::Node {
            node: name,
            incarnation,
            boot,
            term,
            renewals,
            duration_ms,
            fenced_by,
            payload,
        } => {
            let fenced_by = match fenced_by {
                Some(fence) => Some(Fence {
                    node: node(fence.node),
                    incarnation: Incarnation(hex(&fence.incarnation)?),
                }),
                None => None,
            };
            Content::Record(Record::Node(NodeLease {
                node: node(name),
                incarnation: Incarnation(hex(&incarnation)?),
                boot: BootId(hex(&boot)?),
                term: Term(term),
                renewals,
                duration: Duration::from_millis(duration_ms),
                fenced_by,
                payload: payload.into(),
            }))
        }
        Stored::Service {
            holder,
            leaving,
            previous,
            cause,
            acquired_unix,
            transitions,
        } => {
            let causes = [
                Cause::First,
                Cause::Takeover,
                Cause::HandOver,
                Cause::Continued,
            ];
            Content::Record(Record::Service(ServiceLease {
                holder: holder.map(|holder| Holder {
                    node: node(holder.node),
                    term: Term(holder.term),
                }),
                leaving,
                previous: previous.map(node),
                cause: causes.into_iter().find(|known| known.as_str() == cause)?,
                acquired_unix,
                transitions,
            }))
        }
    })
}

/// FNV-1a, 64 bits: finds torn files; it is no defence against forgery.
fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Record {
        Record::Service(ServiceLease {
            holder: Some(Holder {
                node: NodeName::new("n1"),
                term: Term(7),
            }),
            leaving: true,
            previous: Some(NodeName::new("n2")),
            cause: Cause::HandOver,
            acquired_unix: 1_700_000_000,
            transitions: 3,
        })
    }

    fn node() -> Record {
        Record::Node(NodeLease {
            node: NodeName::new("n1"),
            incarnation: Incarnation(u128::MAX),
            boot: BootId(1),
            term: Term(7),
            renewals: 9,
            duration: Duration::from_secs(3),
            fenced_by: Some(Fence {
                node: NodeName::new("n2"),
                incarnation: Incarnation(5),
            }),
            payload: "{\"drain\":true}".into(),
        })
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for record in [service(), node()] {
            assert_eq!(decode(&encode(Some(&record))), Content::Record(record));
        }
        assert_eq!(decode(&encode(None)), Content::Absent);
    }

    #[test]
    fn a_file_cut_short_anywhere_or_with_any_byte_changed_is_torn() {
        let whole = encode(Some(&node()));
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), Content::Torn, "cut at {end}");
            let mut damaged = whole.clone();
            damaged[end] ^= 0x40;
            assert_eq!(decode(&damaged), Content::Torn, "changed at {end}");
        }
    }
}
