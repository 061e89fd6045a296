//! What agents tell each other of moved flows, as octets: the payload of an Ethernet frame.
//!
//! ```text
//! kind (1) | version (1) | length (2) | from (8) | to (8) | incarnation (8) | heard (8)      36 octets
//! telling: generation (4) | number (4) | items ...
//! heard:   incarnation (8) | generation (4) | next (4)
//! tag (16), where the cluster has a key
//! ```
//!
//! Numbers are in network order. `length` is that of all before the tag, since Ethernet pads. `from` and `to` are the nodes'
//! identities ([`landfall_ebpf::maglev::identity`] of their names), `incarnation` is the sender's process, `heard` the
//! receiver's as the sender knows it: a frame recorded before either began is nobody's. The tag is that of
//! [`Key`](crate::effect::quorum::key::Key) over all before it.
//!
//! Items of kinds that a later version may add have their length in their second octet, and are passed over.

use landfall_ebpf::abi::flow::FlowKey;
use landfall_ebpf::abi::wire::{MOVED_HEARD, MOVED_TELLING};
use landfall_ebpf::abi::{Address, PortNumber};

use crate::effect::quorum::key::{Key, Secret, TAG_LEN};

const VERSION: u8 = 1;
const HEADER: usize = 36;

/// A process of an agent: nanoseconds of Unix time at its start, or more. A later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Process(pub u64);

/// What one process tells one other, from its beginning: a later one replaces it whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stream {
    /// Who tells.
    pub(super) process: Process,
    /// Counted up with each new beginning.
    pub(super) generation: u32,
}

/// The tables that a node goes by: a hash of all that node tables are made of, equal where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The teller keeps the flow, though the tables say otherwise.
    Keeps(FlowKey),
    /// It does not any more.
    Ended(FlowKey),
    /// The teller goes by these tables, and what came before covers them. `all` says that every node was seen to go by them
    /// before the teller looked: nothing can have reached it by older ones since.
    Tables {
        /// The tables.
        print: Fingerprint,
        /// See above.
        all: bool,
    },
}

/// What a frame is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Items, in frames numbered from 0 in each stream.
    Telling {
        /// Counts the teller's beginnings.
        generation: u32,
        /// The frame's number.
        number: u32,
        /// The items.
        items: Vec<Item>,
    },
    /// What was heard.
    Heard {
        /// The stream; that of greatest number the hearer knows.
        stream: Stream,
        /// The number of the frame that is to come next.
        next: u32,
    },
}

/// A frame's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The sender's identity.
    pub(super) from: u64,
    /// The receiver's.
    pub(super) to: u64,
    /// The sender's process.
    pub(super) process: Process,
    /// The receiver's process, as far as the sender knows; 0 where it does not.
    pub(super) heard: Process,
    /// The purpose.
    pub(super) body: Body,
}

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// Not of this exchange, or of another version.
    #[error("not a telling of this version")]
    Foreign,
    /// Its tag is wrong or missing.
    #[error("a wrong tag: another key, or forged")]
    Tag,
    /// It cannot be read.
    #[error("it cannot be read")]
    Malformed,
}

/// Seals messages, and checks seals. Without a key anybody on the LAN can tell anything.
#[derive(Clone, Debug, Default)]
pub struct Seal(Option<Key>);

impl Seal {
    /// The purpose that the cluster's secret makes its key for.
    const PURPOSE: &str = "moved flows";

    /// Of the cluster's secret, where it has one.
    pub fn of(secret: Option<&Secret>) -> Self {
        Self(secret.map(|secret| secret.key(Self::PURPOSE)))
    }

    /// Octets that it adds.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |_| TAG_LEN)
    }

    fn holds(&self, text: &[u8], tag: &[u8]) -> bool {
        let Some(key) = &self.0 else { return true };
        let tag = tag.first_chunk::<TAG_LEN>();
        tag.is_some_and(|tag| key.verifies(&[text], tag))
    }
}

/// Octets of a message with `items`, sealed.
pub(super) fn length(items: &[Item], seal: &Seal) -> usize {
    HEADER + 8 + items.iter().map(Item::length).sum::<usize>() + seal.len()
}

impl Item {
    /// Its octets.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Keeps(key) | Self::Ended(key) if key.client.is_v4() => 14,
            Self::Keeps(_) | Self::Ended(_) => 38,
            Self::Tables { .. } => 9,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Keeps(key) => write_flow(out, 0x10, key),
            Self::Ended(key) => write_flow(out, 0x20, key),
            Self::Tables { print, all } => {
                out.push(0x30 | u8::from(*all));
                out.extend_from_slice(&print.0.to_be_bytes());
            }
        }
    }

    /// The next item, unless it is of a kind that a later version has.
    fn read(from: &mut Reader<'_>) -> Result<Option<Self>, CodecError> {
        let kind = from.array::<1>()?[0];
        match (kind >> 4, kind & 0xf) {
            (1, family) => read_flow(from, family).map(Self::Keeps).map(Some),
            (2, family) => read_flow(from, family).map(Self::Ended).map(Some),
            (3, all) if all < 2 => Ok(Some(Self::Tables {
                print: Fingerprint(u64::from_be_bytes(from.array()?)),
                all: all == 1,
            })),
            (4.., _) => {
                let length = from.array::<1>()?[0];
                from.skip(length.into()).map(|()| None)
            }
            _ => Err(CodecError::Malformed),
        }
    }
}

fn write_flow(out: &mut Vec<u8>, kind: u8, key: &FlowKey) {
    let v4 = key.client.is_v4();
    out.push(kind | if v4 { 4 } else { 6 });
    let skip = if v4 { 12 } else { 0 };
    out.extend_from_slice(&key.client.octets()[skip..]);
    out.extend_from_slice(&key.frontend.octets()[skip..]);
    out.extend_from_slice(&key.client_port.get().to_be_bytes());
    out.extend_from_slice(&key.frontend_port.get().to_be_bytes());
    out.push(key.protocol);
}

fn read_flow(from: &mut Reader<'_>, family: u8) -> Result<FlowKey, CodecError> {
    let mut address = || -> Result<Address, CodecError> {
        let address: std::net::IpAddr = match family {
            4 => from.array::<4>()?.into(),
            6 => from.array::<16>()?.into(),
            _ => return Err(CodecError::Malformed),
        };
        Ok(Address::from(address))
    };
    let (client, frontend) = (address()?, address()?);
    Ok(FlowKey {
        client,
        frontend,
        client_port: PortNumber::new(u16::from_be_bytes(from.array()?)),
        frontend_port: PortNumber::new(u16::from_be_bytes(from.array()?)),
        protocol: from.array::<1>()?[0],
        zero: [0; 3],
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(CodecError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn skip(&mut self, octets: usize) -> Result<(), CodecError> {
        self.0 = self.0.get(octets..).ok_or(CodecError::Malformed)?;
        Ok(())
    }
}

impl Message {
    /// Its octets, sealed.
    pub(super) fn encode(&self, seal: &Seal) -> Vec<u8> {
        let kind = match self.body {
            Body::Telling { .. } => MOVED_TELLING,
            Body::Heard { .. } => MOVED_HEARD,
        };
        let mut out = vec![kind, VERSION, 0, 0];
        for word in [self.from, self.to, self.process.0, self.heard.0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        match &self.body {
            Body::Telling {
                generation,
                number,
                items,
            } => {
                out.extend_from_slice(&generation.to_be_bytes());
                out.extend_from_slice(&number.to_be_bytes());
                items.iter().for_each(|item| item.write(&mut out));
            }
            Body::Heard { stream, next } => {
                out.extend_from_slice(&stream.process.0.to_be_bytes());
                out.extend_from_slice(&stream.generation.to_be_bytes());
                out.extend_from_slice(&next.to_be_bytes());
            }
        }
        let length = u16::try_from(out.len()).expect("frames are no longer than an MTU");
        out[2..4].copy_from_slice(&length.to_be_bytes());
        if let Some(key) = &seal.0 {
            let tag = key.tag(&[&out]);
            out.extend_from_slice(&tag);
        }
        out
    }

    /// Reads what [`encode`](Message::encode) made, padded or not.
    ///
    /// # Errors
    /// [`CodecError`]
    pub(super) fn decode(payload: &[u8], seal: &Seal) -> Result<Self, CodecError> {
        let mut head = Reader(payload);
        let [kind, version] = head.array()?;
        if version != VERSION || ![MOVED_TELLING, MOVED_HEARD].contains(&kind) {
            return Err(CodecError::Foreign);
        }
        let length = usize::from(u16::from_be_bytes(head.array()?));
        if length < HEADER || length > payload.len() {
            return Err(CodecError::Malformed);
        }
        let (text, tag) = payload.split_at(length);
        if !seal.holds(text, tag) {
            return Err(CodecError::Tag);
        }
        let mut rest = Reader(&text[4..]);
        let mut word = || rest.array().map(u64::from_be_bytes);
        let (from, to, process, heard) = (word()?, word()?, Process(word()?), Process(word()?));
        let body = if kind == MOVED_HEARD {
            let process = Process(u64::from_be_bytes(rest.array()?));
            let generation = u32::from_be_bytes(rest.array()?);
            Body::Heard {
                stream: Stream {
                    process,
                    generation,
                },
                next: u32::from_be_bytes(rest.array()?),
            }
        } else {
            let generation = u32::from_be_bytes(rest.array()?);
            let number = u32::from_be_bytes(rest.array()?);
            let mut items = Vec::new();
            while !rest.0.is_empty() {
                items.extend(Item::read(&mut rest)?);
            }
            Body::Telling {
                generation,
                number,
                items,
            }
        };
        Ok(Self {
            from,
            to,
            process,
            heard,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(secret: &str) -> Seal {
        Seal::of(Some(&Secret::of(secret)))
    }

    fn flow() -> impl Strategy<Value = FlowKey> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(|octets| (octets.into(), octets.into())),
            any::<([u8; 16], [u8; 16])>().prop_map(|(mut one, mut two)| {
                (one[0], two[0]) = (0xfd, 0xfd);
                (one.into(), two.into())
            }),
        ];
        (address, any::<(u16, u16, u8)>()).prop_map(
            |((client, frontend), (client_port, frontend_port, protocol)): (
                (std::net::IpAddr, std::net::IpAddr),
                _,
            )| FlowKey {
                client: client.into(),
                frontend: frontend.into(),
                client_port: PortNumber::new(client_port),
                frontend_port: PortNumber::new(frontend_port),
                protocol,
                zero: [0; 3],
            },
        )
    }

    fn item() -> impl Strategy<Value = Item> {
        prop_oneof![
            flow().prop_map(Item::Keeps),
            flow().prop_map(Item::Ended),
            any::<(u64, bool)>().prop_map(|(print, all)| Item::Tables {
                print: Fingerprint(print),
                all
            }),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        let body = prop_oneof![
            (any::<(u32, u32)>(), prop::collection::vec(item(), 0..20)).prop_map(
                |((generation, number), items)| Body::Telling {
                    generation,
                    number,
                    items
                }
            ),
            any::<(u64, u32, u32)>().prop_map(|(process, generation, next)| Body::Heard {
                stream: Stream {
                    process: Process(process),
                    generation
                },
                next
            }),
        ];
        (any::<[u64; 4]>(), body).prop_map(|([from, to, process, heard], body)| Message {
            from,
            to,
            process: Process(process),
            heard: Process(heard),
            body,
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_though_the_wire_pads_it(message in message(), pad in 0_usize..60) {
            for seal in [Seal::default(), sealed("of the cluster")] {
                let mut octets = message.encode(&seal);
                if let Body::Telling { items, .. } = &message.body {
                    prop_assert_eq!(octets.len(), length(items, &seal));
                }
                octets.resize(octets.len() + pad, 0);
                prop_assert_eq!(Message::decode(&octets, &seal), Ok(message.clone()));
            }
        }

        #[test]
        fn a_change_of_any_octet_is_noticed(message in message(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let seal = sealed("of the cluster");
            let mut octets = message.encode(&seal);
            let at = at.index(octets.len());
            octets[at] ^= 1 << bit;
            prop_assert!(Message::decode(&octets, &seal).is_err());
            prop_assert!(Message::decode(&octets, &sealed("another")).is_err());
        }

        #[test]
        fn items_of_a_later_version_are_passed_over(
            message in message(), kind in 0x40_u8.., besides in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let seal = Seal::default();
            let mut octets = message.encode(&seal);
            octets.extend([kind, besides.len() as u8]);
            octets.extend(besides);
            let length = octets.len() as u16;
            octets[2..4].copy_from_slice(&length.to_be_bytes());
            prop_assert_eq!(Message::decode(&octets, &seal), Ok(message));
        }

        #[test]
        fn arbitrary_octets_are_refused_or_read_and_never_a_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::decode(&octets, &Seal::default());
        }
    }
}
