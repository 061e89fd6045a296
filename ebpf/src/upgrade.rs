//! Taking over from an agent whose maps have another layout.
//!
//! The way is walked by [`Loaded`](crate::loader::Loaded), and no packet is lost on it (`docs/decisions/0008-upgrades.md`):
//!
//! 1. maps that both layouts have alike are shared: the predecessor's are pinned here too;
//! 2. entries of the others are carried over, field by field, by the description that each layout pins beside its maps;
//! 3. this build's programs are attached. At tc they stand beside the predecessor's, so that what one does not know the other
//!    does; where only one can be, a link is updated in place;
//! 4. what the predecessor's programs have begun meanwhile is carried over, they are detached, and its pins go.
//!
//! It is the same way in both directions, and can be walked again from the start whenever an agent dies on it.

mod conversion;
mod description;
mod first;
mod retire;

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use landfall_ebpf_abi::flow::Mark;
use landfall_ebpf_abi::map;
use tracing::{info, warn};

use crate::attach;
use crate::link;
use crate::pin::Pins;
use crate::raw::{Put, RawMap};

use conversion::Conversion;
use description::{Description, MapDescription};

pub use retire::Served;

/// The text that describes this build's layout.
pub(crate) fn describe() -> String {
    Description::own().render()
}

/// Layouts with pins beside this build's.
pub(crate) struct Predecessors {
    found: Vec<Predecessor>,
}

struct Predecessor {
    pins: Pins,
    description: Option<Description>,
    /// By map and key, what was carried: a hash of the value it was made of.
    carried: HashMap<(&'static str, u64), u64>,
}

/// What became of the entries that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    carried: u64,
    /// Entries that found no room.
    left: u64,
}

impl Predecessors {
    /// Looks for them; those with links first, as they are in force. Maps of this layout that nothing is attached on while
    /// another one's are in force are left over and would be mistaken for younger: they go.
    pub(crate) fn find(own: &Pins) -> Self {
        let mut others = own.others();
        others.sort_by_key(|pins| pins.link_names().is_empty());
        let in_force = others
            .first()
            .is_some_and(|pins| !pins.link_names().is_empty());
        if in_force
            && own.link_names().is_empty()
            && let Err(error) = own.remove()
        {
            warn!(%error, "maps that an agent with this layout left were not removed");
        }
        let found = others.into_iter().map(Predecessor::new);
        Self {
            found: found.collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Pins their maps here too that are alike and that this layout does not have yet. To be called before any is made.
    pub(crate) fn share(&self, own: &Pins) {
        for predecessor in &self.found {
            predecessor.share(own);
        }
    }

    /// Carries over what is new since the last time, in maps that are not shared.
    pub(crate) fn carry(&mut self, own: &Pins) {
        for predecessor in &mut self.found {
            let tally = predecessor.carry(own);
            let layout = predecessor.pins.layout();
            if tally.carried > 0 {
                info!(
                    layout,
                    entries = tally.carried,
                    "connections carried over from another layout"
                );
            }
            if tally.left > 0 {
                warn!(
                    layout,
                    entries = tally.left,
                    "no room for all connections of another layout; raise datapath.max_connections"
                );
            }
        }
    }

    /// Moves the pin of a link here, unless this layout has one of that name.
    pub(crate) fn hand_over(&self, own: &Pins, name: &str) -> io::Result<()> {
        let here = own.links().join(name);
        let theirs = self.found.iter().map(|found| found.pins.links().join(name));
        match theirs.into_iter().find(|there| there.exists()) {
            Some(there) if !here.exists() => fs::rename(there, here),
            _ => Ok(()),
        }
    }

    /// Whether any of their links is on an interface.
    pub(crate) fn has_links_on(&self, ifindex: u32) -> bool {
        let prefix = attach::link_name(ifindex, "");
        let names = self.found.iter().flat_map(|found| found.pins.link_names());
        names.into_iter().any(|name| name.starts_with(&prefix))
    }

    /// Detaches those of their links that `which` names.
    pub(crate) fn detach(&self, which: impl Fn(&str) -> bool) {
        for predecessor in &self.found {
            for name in predecessor.pins.link_names() {
                if !which(&name) {
                    continue;
                }
                if let Err(error) = link::detach(&predecessor.pins.links().join(&name)) {
                    warn!(name, %error, "a link of another layout was not removed");
                }
            }
        }
    }

    /// Removes all their pins. Those that could not be are found again by the next agent.
    pub(crate) fn remove(&mut self) {
        for predecessor in self.found.drain(..) {
            let layout = predecessor.pins.layout();
            match predecessor.pins.remove() {
                Ok(_) => info!(layout, "took over from an agent with another layout"),
                Err(error) => warn!(layout, %error, "pins of another layout were not removed"),
            }
        }
    }
}

impl Predecessor {
    fn new(pins: Pins) -> Self {
        let described = RawMap::open(&pins.maps().join(map::LAYOUT)).ok();
        let text = described.and_then(|layout| layout.get(&0_u32.to_ne_bytes()).ok().flatten());
        let description = match text {
            Some(text) => Some(Description::parse(&text)),
            None => (pins.layout() == first::NAME).then(first::description),
        };
        if description.is_none() {
            warn!(
                layout = pins.layout(),
                "another layout does not describe itself; connections that it knows may be lost"
            );
        }
        Self {
            pins,
            description,
            carried: HashMap::new(),
        }
    }

    fn share(&self, own: &Pins) {
        for (name, ours, theirs) in self.common() {
            let (here, there) = (own.maps().join(name), self.pins.maps().join(name));
            if ours != theirs || here.exists() {
                continue;
            }
            let shared = RawMap::open(&there).map_err(io::Error::other);
            let shared = shared.and_then(|map| map.pin(&here).map_err(io::Error::other));
            if let Err(error) = shared {
                warn!(name, %error, "a map of another layout cannot be shared; it begins empty");
            }
        }
    }

    /// Maps that both have, described.
    fn common(&self) -> Vec<(&'static str, MapDescription, MapDescription)> {
        let mut own = Description::own();
        let theirs = self.description.iter().flat_map(|found| &found.maps);
        let theirs: HashMap<&String, &MapDescription> = theirs.collect();
        let common = map::ALL.into_iter().filter_map(|name| {
            let theirs = theirs.get(&name.to_owned())?;
            Some((name, own.maps.remove(name)?, (*theirs).clone()))
        });
        common.collect()
    }

    fn carry(&mut self, own: &Pins) -> Tally {
        let mut sum = Tally::default();
        // Flows before answers, as in the maps' order: an answer without its flow would be taken for left over.
        for (name, ours, theirs) in self.common() {
            if ours == theirs {
                continue;
            }
            match self.carry_map(own, name, &ours, &theirs) {
                Ok(tally) => {
                    sum.carried += tally.carried;
                    sum.left += tally.left;
                }
                Err(error) => {
                    warn!(name, %error, "a map of another layout was not carried over");
                }
            }
        }
        sum
    }

    fn carry_map(
        &mut self,
        own: &Pins,
        name: &'static str,
        ours: &MapDescription,
        theirs: &MapDescription,
    ) -> io::Result<Tally> {
        let of_first = self.pins.layout() == first::NAME;
        let made: &[&str] = if of_first { &first::MADE } else { &[] };
        let conversion = Conversion::between(theirs, ours, made).map_err(io::Error::other)?;
        let open = |pins: &Pins, lens: (usize, usize)| {
            let map = RawMap::open(&pins.maps().join(name)).map_err(io::Error::other)?;
            if (map.key_len, map.value_len) != lens || !map.is_hash {
                let problem = format!("{}: not a hash map as its layout says", pins.layout());
                return Err(io::Error::other(problem));
            }
            Ok(map)
        };
        let (from, to) = (
            open(&self.pins, conversion.takes())?,
            open(own, conversion.gives())?,
        );
        let mark = ours.value.fields.get("mark").map(|(offset, _)| *offset);
        let mut tally = Tally::default();
        let mut failure = None;
        from.for_each(|key, value| {
            let (place, print) = ((name, print(key)), print(value));
            let before = self.carried.get(&place).copied();
            if before == Some(print) {
                // Nothing was heard of it since, on the other side. What has gone here since has gone for good.
                return;
            }
            let (key, mut converted) = conversion.entry(key, value);
            if of_first && let Some(at) = mark {
                put_mark(&mut converted, at, first::mark(name, value));
            }
            match carry_entry(&to, &key, converted, mark) {
                Ok(()) => {
                    self.carried.insert(place, print);
                    tally.carried += u64::from(before.is_none());
                }
                Err(error) if error.raw_os_error() == Some(libc::E2BIG) => tally.left += 1,
                Err(error) => failure = Some(error),
            }
        })?;
        failure.map_or(Ok(tally), Err)
    }
}

/// Writes an entry. One that is here already stays, as this build's programs go by it; but what its flow has said to the
/// other side's programs counts here too.
fn carry_entry(to: &RawMap, key: &[u8], mut value: Vec<u8>, mark: Option<usize>) -> io::Result<()> {
    let Some(held) = to.get(key)? else {
        return match to.put(key, &value, Put::New) {
            // Begun in this instant.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        };
    };
    let Some(at) = mark else { return Ok(()) };
    let (here, there) = (get_mark(&held, at), get_mark(&value, at));
    put_mark(&mut value, at, here);
    if value != held {
        // Another flow of the same ends.
        return Ok(());
    }
    let joined = here.join(there);
    if joined == here {
        return Ok(());
    }
    put_mark(&mut value, at, joined);
    match to.put(key, &value, Put::Again) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn get_mark(value: &[u8], at: usize) -> Mark {
    let octets = value[at..at + size_of::<Mark>()].try_into();
    Mark(u32::from_ne_bytes(octets.expect("a mark is a word")))
}

fn put_mark(value: &mut [u8], at: usize, mark: Mark) {
    value[at..at + size_of::<Mark>()].copy_from_slice(&mark.0.to_ne_bytes());
}

fn print(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    hasher.finish()
}
