//! The form of a lease record: one line of JSON, in files below a line with its checksum.
//!
//! In a file: `landfall-lease 1 <FNV-1a 64 of the JSON, hexadecimal>` and a newline, then the JSON. A file that was
//! cut short or damaged fails the checksum and is *torn*: its revision counts, its content does not. An object of
//! the API server carries the JSON alone: what is sent there comes whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use landfall_core::election::{
    Bequest, Bequests, BootId, Cause, Content, Fence, Holder, Incarnation, LeaseName, NodeLease,
    Record, ServiceLease, Term,
};
use landfall_core::model::NodeName;
use landfall_core::quorum::record::{Epoch, GroundKind, MemberRecord, Members, ground_of};
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
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bequests: Vec<StoredBequests>,
        payload: String,
    },
    // What files of earlier versions have besides is ignored.
    Service {
        holder: Option<StoredHolder>,
        previous: Option<String>,
        cause: String,
        acquired_unix: u64,
        transitions: u64,
    },
    Members {
        epoch: u64,
        members: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Vec<String>>,
        /// What the members stand on; for readers, it follows from their number.
        ground: String,
    },
    /// Removed: the number stays taken, so that a writer from before cannot bring the lease back.
    Removed,
}

#[derive(Serialize, Deserialize)]
struct StoredFence {
    node: String,
    incarnation: String,
}

/// All that went to one heir for one cause: hundreds of VIPs of one node at a time.
#[derive(Serialize, Deserialize)]
struct StoredBequests {
    heir: Option<StoredHolder>,
    cause: String,
    /// Lease names and transitions.
    vips: Vec<(String, u64)>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct StoredHolder {
    node: String,
    term: u64,
}

/// A record, or nothing for a lease that was removed, as the bytes of a file.
pub(super) fn encode(record: Option<&Record>) -> Vec<u8> {
    let json = to_json(record);
    format!("{MAGIC}{:016x}\n{json}\n", fnv64(json.as_bytes())).into_bytes()
}

/// A record, or nothing for a lease that was removed, as one line of JSON.
pub(super) fn to_json(record: Option<&Record>) -> String {
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
            bequests: store_bequests(&lease.bequests),
            payload: lease.payload.to_string(),
        },
        Some(Record::Service(lease)) => Stored::Service {
            holder: lease.holder.as_ref().map(StoredHolder::from),
            previous: lease.previous.as_ref().map(ToString::to_string),
            cause: lease.cause.as_str().to_owned(),
            acquired_unix: lease.acquired_unix,
            transitions: lease.transitions,
        },
        Some(Record::Members(record)) => Stored::Members {
            epoch: record.epoch.0,
            members: names(&record.members),
            previous: record.previous.as_ref().map(names),
            ground: match ground_of(&record.members) {
                GroundKind::Lease => "lease",
                GroundKind::Quorum => "quorum",
            }
            .to_owned(),
        },
    };
    serde_json::to_string(&stored).expect("strings and numbers always have a JSON form")
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
    from_json(json)
}

/// What a line of JSON says; nothing where it is not the form of a lease.
pub(super) fn from_json(json: &str) -> Option<Content> {
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
            bequests,
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
                bequests: Arc::new(read_bequests(bequests)?),
                payload: payload.into(),
            }))
        }
        Stored::Service {
            holder,
            previous,
            cause,
            acquired_unix,
            transitions,
        } => Content::Record(Record::Service(ServiceLease {
            holder: holder.map(Holder::from),
            previous: previous.map(node),
            cause: read_cause(&cause),
            acquired_unix,
            transitions,
        })),
        Stored::Members {
            epoch,
            members,
            previous,
            ground: _,
        } => {
            let read = |names: Vec<String>| names.into_iter().map(node).collect();
            Content::Record(Record::Members(MemberRecord {
                epoch: Epoch(epoch),
                members: read(members),
                previous: previous.map(read),
            }))
        }
    })
}

fn node(name: String) -> NodeName {
    NodeName::new(Arc::<str>::from(name))
}

fn names(members: &Members) -> Vec<String> {
    members.iter().map(ToString::to_string).collect()
}

/// A cause. One that a later version tells of is read as the most harmless: a node's whole lease hangs on it.
fn read_cause(text: &str) -> Cause {
    let known = Cause::ALL.into_iter();
    let mut known = known.filter(|cause| cause.as_str() == text);
    known.next().unwrap_or(Cause::HandOver)
}

impl From<&Holder> for StoredHolder {
    fn from(holder: &Holder) -> Self {
        Self {
            node: holder.node.to_string(),
            term: holder.term.0,
        }
    }
}

impl From<StoredHolder> for Holder {
    fn from(holder: StoredHolder) -> Self {
        Self {
            node: node(holder.node),
            term: Term(holder.term),
        }
    }
}

fn store_bequests(bequests: &Bequests) -> Vec<StoredBequests> {
    let mut stored: Vec<StoredBequests> = Vec::new();
    for (vip, transition, bequest) in bequests.iter() {
        let heir = bequest.heir.as_ref().map(StoredHolder::from);
        let cause = bequest.cause.as_str();
        let alike = stored
            .iter_mut()
            .find(|group| group.heir == heir && group.cause == cause);
        let entry = (vip.as_str().to_owned(), transition);
        match alike {
            Some(group) => group.vips.push(entry),
            None => stored.push(StoredBequests {
                heir,
                cause: cause.to_owned(),
                vips: vec![entry],
            }),
        }
    }
    stored
}

fn read_bequests(stored: Vec<StoredBequests>) -> Option<Bequests> {
    let mut entries = Vec::new();
    for group in stored {
        let bequest = Bequest {
            heir: group.heir.map(Holder::from),
            cause: read_cause(&group.cause),
        };
        for (vip, transition) in group.vips {
            entries.push((LeaseName::parse(&vip)?, transition, bequest.clone()));
        }
    }
    Some(entries.into_iter().collect())
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
            bequests: Arc::new(bequests()),
            payload: "{\"drain\":true}".into(),
        })
    }

    fn bequests() -> Bequests {
        let to = |heir: Option<&'static str>, cause| Bequest {
            heir: heir.map(|heir| Holder {
                node: NodeName::new(heir),
                term: Term(4),
            }),
            cause,
        };
        let entries = [
            ("one", 3, to(Some("n2"), Cause::Takeover)),
            ("two", 0, to(Some("n3"), Cause::Takeover)),
            ("three", 1, to(Some("n2"), Cause::Takeover)),
            ("three", 7, to(Some("n2"), Cause::HandOver)),
            ("four", 2, to(None, Cause::HandOver)),
        ];
        let named = entries.map(|(vip, transition, bequest)| {
            (LeaseName::of_service("default", vip), transition, bequest)
        });
        named.into_iter().collect()
    }

    fn members() -> [Record; 2] {
        let named = |names: &[&'static str]| -> Members {
            names.iter().copied().map(NodeName::new).collect()
        };
        let settled = MemberRecord {
            epoch: Epoch(4),
            members: named(&["n1", "n2", "n3"]),
            previous: None,
        };
        let joint = MemberRecord {
            previous: Some(named(&["n1", "n2"])),
            ..settled.clone()
        };
        [settled, joint].map(Record::Members)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let [settled, joint] = members();
        for record in [service(), node(), settled, joint] {
            assert_eq!(decode(&encode(Some(&record))), Content::Record(record));
        }
        assert_eq!(decode(&encode(None)), Content::Absent);
    }

    #[test]
    fn the_record_of_members_tells_readers_the_ground() {
        let [settled, _] = members();
        let text = String::from_utf8(encode(Some(&settled))).expect("it is text");
        assert!(text.contains(r#""ground":"quorum""#), "{text}");
    }

    #[test]
    fn what_went_to_one_heir_is_told_together() {
        let one = Bequest {
            heir: Some(Holder {
                node: NodeName::new("n2"),
                term: Term(1_700_000_000),
            }),
            cause: Cause::Takeover,
        };
        let vips = (0..10_000).map(|index| {
            let vip = LeaseName::of_service("default", &format!("web-{index}"));
            (vip, 3, one.clone())
        });
        let Record::Node(mut lease) = node() else {
            panic!("a node's lease")
        };
        lease.bequests = Arc::new(vips.collect());
        let bytes = encode(Some(&Record::Node(lease)));
        assert!(bytes.len() < 512 * 1024, "{} bytes", bytes.len());
    }

    #[test]
    fn a_service_lease_of_an_earlier_version_is_read_without_its_mark() {
        let json = r#"{"kind":"service","holder":{"node":"n1","term":7},"leaving":true,"previous":"n2","cause":"handover","acquired_unix":1700000000,"transitions":3}"#;
        let text = format!("{MAGIC}{:016x}\n{json}\n", fnv64(json.as_bytes()));
        assert_eq!(decode(text.as_bytes()), Content::Record(service()));
    }

    #[test]
    fn what_a_later_version_says_besides_is_let_be() {
        for (record, of_later) in [
            (
                node(),
                vec![(r#"{"kind""#, r#"{"mood":{"good":true},"kind""#)],
            ),
            (
                service(),
                vec![
                    (r#"{"kind""#, r#"{"mood":[1,2],"kind""#),
                    (r#""node":"n1""#, r#""node":"n1","shift":3"#),
                    (r#""cause":"handover""#, r#""cause":"migration""#),
                ],
            ),
            (
                members()[1].clone(),
                vec![(r#"{"kind""#, r#"{"mood":4,"kind""#)],
            ),
        ] {
            let text = String::from_utf8(encode(Some(&record))).expect("it is text");
            let mut json = text
                .split_once('\n')
                .expect("two lines")
                .1
                .trim_end()
                .to_owned();
            for (before, after) in of_later {
                assert!(json.contains(before), "{json}");
                json = json.replacen(before, after, 1);
            }
            let text = format!("{MAGIC}{:016x}\n{json}\n", fnv64(json.as_bytes()));
            assert_eq!(decode(text.as_bytes()), Content::Record(record));
        }
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
