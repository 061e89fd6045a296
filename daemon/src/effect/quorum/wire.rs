//! Heartbeats on the wire: a header, a tag, and the message in postcard's form.
//!
//! ```text
//! 0       2         3          4           20
//! | "LF"  | version | reserved | tag (16)  | body ...
//! ```
//!
//! The tag is an HMAC over header and body. What follows a body that is understood is let be, so that a later version can
//! add to it; one that changes it counts the version up, and speaks the old one to whoever does.

use std::collections::BTreeSet;
use std::time::Duration;

use landfall_core::election::{Incarnation, Term};
use landfall_core::model::NodeName;
use landfall_core::quorum::message::{Body, Message, MessageId, Serial, Verdict};
use landfall_core::quorum::record::{Epoch, MemberRecord};
use serde::{Deserialize, Serialize};

use super::key::{Key, TAG_LEN};

/// The version of the form.
const VERSION: u8 = 1;
const MAGIC: [u8; 2] = *b"LF";
const HEADER_LEN: usize = 4;
/// Where the body starts.
const BODY_AT: usize = HEADER_LEN + TAG_LEN;

/// Why a datagram is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It does not begin as ours do.
    #[error("not a heartbeat")]
    Foreign,
    /// It is of a version this build does not know.
    #[error("heartbeat of version {0}, which this build does not know")]
    Version(u8),
    /// Its tag was made with another key, or it was changed on its way.
    #[error("heartbeat with a wrong tag: another key, or forged")]
    Tag,
    /// Its body cannot be read.
    #[error("heartbeat that cannot be read")]
    Body,
}

#[derive(Serialize, Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    from: &'a str,
    id: Id,
    epoch: u64,
    term: Option<u64>,
    entitled: bool,
    body: FrameBody,
    verdicts: Vec<(&'a str, Option<u64>)>,
    record: Option<FrameRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Id {
    incarnation: u128,
    serial: u64,
}

#[derive(Serialize, Deserialize)]
enum FrameBody {
    Heartbeat { heard: Option<Id> },
    Answer { to: Id, granted_us: Option<u32> },
    News,
}

#[derive(Serialize, Deserialize)]
struct FrameRecord<'a> {
    epoch: u64,
    #[serde(borrow)]
    members: Vec<&'a str>,
    previous: Option<Vec<&'a str>>,
}

impl From<MessageId> for Id {
    fn from(id: MessageId) -> Self {
        Self {
            incarnation: id.incarnation.0,
            serial: id.serial.0,
        }
    }
}

impl From<Id> for MessageId {
    fn from(id: Id) -> Self {
        Self {
            incarnation: Incarnation(id.incarnation),
            serial: Serial(id.serial),
        }
    }
}

/// The datagram for `message`.
#[must_use]
pub fn encode(message: &Message, key: &Key) -> Vec<u8> {
    let names = |nodes: &'_ BTreeSet<NodeName>| -> Vec<String> {
        nodes.iter().map(|node| node.as_str().to_owned()).collect()
    };
    let record = message.record.as_ref().map(|record| {
        (
            record.epoch.0,
            names(&record.members),
            record.previous.as_ref().map(names),
        )
    });
    let frame = Frame {
        from: message.from.as_str(),
        id: message.id.into(),
        epoch: message.epoch.0,
        term: message.term.map(|term| term.0),
        entitled: message.entitled,
        body: match message.body {
            Body::Heartbeat { heard } => FrameBody::Heartbeat {
                heard: heard.map(Id::from),
            },
            Body::Answer { to, granted } => FrameBody::Answer {
                to: to.into(),
                granted_us: granted.map(|span| u32::try_from(span.as_micros()).unwrap_or(u32::MAX)),
            },
            Body::News => FrameBody::News,
        },
        verdicts: message
            .verdicts
            .iter()
            .map(|(node, verdict)| {
                let refused = match verdict {
                    Verdict::Silent => None,
                    Verdict::Refused(term) => Some(term.0),
                };
                (node.as_str(), refused)
            })
            .collect(),
        record: record
            .as_ref()
            .map(|(epoch, members, previous)| FrameRecord {
                epoch: *epoch,
                members: members.iter().map(String::as_str).collect(),
                previous: previous
                    .as_ref()
                    .map(|previous| previous.iter().map(String::as_str).collect()),
            }),
    };
    let mut datagram = Vec::with_capacity(256);
    datagram.extend_from_slice(&MAGIC);
    datagram.extend_from_slice(&[VERSION, 0]);
    datagram.extend_from_slice(&[0; TAG_LEN]);
    let mut datagram = postcard::to_extend(&frame, datagram).expect("plain data has a form");
    let tag = key.tag(&[&datagram[..HEADER_LEN], &datagram[BODY_AT..]]);
    datagram[HEADER_LEN..BODY_AT].copy_from_slice(&tag);
    datagram
}

/// The message in `datagram`.
///
/// # Errors
/// It is none of ours, of another version, not authentic, or cannot be read.
pub fn decode(datagram: &[u8], key: &Key) -> Result<Message, WireError> {
    let header = datagram.get(..HEADER_LEN).ok_or(WireError::Foreign)?;
    if header[..2] != MAGIC {
        return Err(WireError::Foreign);
    }
    if header[2] != VERSION {
        return Err(WireError::Version(header[2]));
    }
    let tag: &[u8; TAG_LEN] = datagram
        .get(HEADER_LEN..BODY_AT)
        .and_then(|tag| tag.try_into().ok())
        .ok_or(WireError::Foreign)?;
    let body = &datagram[BODY_AT..];
    if !key.verifies(&[header, body], tag) {
        return Err(WireError::Tag);
    }
    let (frame, _later): (Frame<'_>, _) =
        postcard::take_from_bytes(body).map_err(|_| WireError::Body)?;
    let names = |names: Vec<&str>| names.into_iter().map(NodeName::new).collect();
    Ok(Message {
        from: NodeName::new(frame.from),
        id: frame.id.into(),
        epoch: Epoch(frame.epoch),
        term: frame.term.map(Term),
        entitled: frame.entitled,
        body: match frame.body {
            FrameBody::Heartbeat { heard } => Body::Heartbeat {
                heard: heard.map(MessageId::from),
            },
            FrameBody::Answer { to, granted_us } => Body::Answer {
                to: to.into(),
                granted: granted_us.map(|span| Duration::from_micros(span.into())),
            },
            FrameBody::News => Body::News,
        },
        verdicts: frame
            .verdicts
            .into_iter()
            .map(|(node, refused)| {
                let verdict = refused.map_or(Verdict::Silent, |term| Verdict::Refused(Term(term)));
                (NodeName::new(node), verdict)
            })
            .collect(),
        record: frame.record.map(|record| MemberRecord {
            epoch: Epoch(record.epoch),
            members: names(record.members),
            previous: record.previous.map(names),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::key::Secret;
    use super::*;

    fn key() -> Key {
        Secret::of("0123456789abcdef0123456789abcdef").key("heartbeat")
    }

    fn message(body: Body) -> Message {
        let id = MessageId {
            incarnation: Incarnation(u128::MAX - 5),
            serial: Serial(77),
        };
        Message {
            from: NodeName::new("node1"),
            id,
            epoch: Epoch(9),
            term: Some(Term(1_790_000_000)),
            entitled: true,
            body,
            verdicts: vec![
                (NodeName::new("node2"), Verdict::Silent),
                (NodeName::new("node3"), Verdict::Refused(Term(4))),
            ],
            record: Some(MemberRecord {
                epoch: Epoch(9),
                members: ["node1", "node2"].into_iter().map(NodeName::new).collect(),
                previous: Some([NodeName::new("node1")].into()),
            }),
        }
    }

    #[test]
    fn every_kind_of_message_survives_the_wire() {
        let id = message(Body::News).id;
        let bodies = [
            Body::News,
            Body::Heartbeat { heard: None },
            Body::Heartbeat { heard: Some(id) },
            Body::Answer {
                to: id,
                granted: None,
            },
            Body::Answer {
                to: id,
                granted: Some(Duration::from_millis(300)),
            },
        ];
        for body in bodies {
            let sent = message(body);
            assert_eq!(decode(&encode(&sent, &key()), &key()), Ok(sent));
        }
    }

    #[test]
    fn one_changed_octet_anywhere_is_refused() {
        let datagram = encode(&message(Body::News), &key());
        for index in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[index] ^= 1;
            assert!(decode(&changed, &key()).is_err(), "octet {index}");
        }
        for len in 0..datagram.len() {
            assert!(decode(&datagram[..len], &key()).is_err(), "{len} octets");
        }
    }

    #[test]
    fn a_plain_heartbeat_is_small() {
        let mut plain = message(Body::Heartbeat {
            heard: Some(message(Body::News).id),
        });
        plain.verdicts.clear();
        plain.record = None;
        let datagram = encode(&plain, &key());
        assert!(datagram.len() <= 90, "{} octets", datagram.len());
    }

    #[test]
    fn what_a_later_version_adds_behind_is_let_be() {
        let sent = message(Body::News);
        let mut whole = encode(&sent, &key());
        whole.extend_from_slice(b"said besides");
        let tag = key().tag(&[&whole[..HEADER_LEN], &whole[BODY_AT..]]);
        whole[HEADER_LEN..BODY_AT].copy_from_slice(&tag);
        assert_eq!(decode(&whole, &key()), Ok(sent));
    }

    #[test]
    fn another_key_and_another_version_are_told_apart() {
        let mut datagram = encode(&message(Body::News), &key());
        let other = Secret::of("0123456789abcdef0123456789abcdee").key("heartbeat");
        assert_eq!(decode(&datagram, &other), Err(WireError::Tag));
        datagram[2] = 2;
        assert_eq!(decode(&datagram, &key()), Err(WireError::Version(2)));
        assert_eq!(decode(b"XY", &key()), Err(WireError::Foreign));
    }
}
