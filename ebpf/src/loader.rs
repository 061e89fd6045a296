//! Opens the data path: pinned maps are taken over, those of another layout too, missing ones made, and this build's programs
//! loaded on them.

use std::path::{Path, PathBuf};

use aya::maps::{Map, MapData, MapError};
use aya::programs::{Program, ProgramError, ProgramFd};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use landfall_ebpf_abi::layout::TEXT;
use landfall_ebpf_abi::map;

use crate::pin::Pins;
use crate::upgrade::{self, Predecessors};

/// The kernel programs, as the build made them.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/landfall-ebpf-programs"));

/// Sizes and places of the data path.
#[derive(Clone, Debug)]
pub struct Options {
    /// A mounted BPF file system.
    pub bpffs: PathBuf,
    /// Frontends: pairs of address and port, plus one for each address.
    pub max_frontends: u32,
    /// Endpoints, counted once for every frontend they serve.
    pub max_backends: u32,
    /// Rows of 256 slots for lookup tables.
    pub max_rows: u32,
    /// Tracked connections.
    pub max_connections: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bpffs: PathBuf::from("/sys/fs/bpf"),
            max_frontends: 65_536,
            max_backends: 262_144,
            max_rows: 65_536,
            max_connections: 262_144,
        }
    }
}

/// Why the data path could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The pins' directories could not be made.
    #[error(
        "{path} cannot hold pins; mount a BPF file system there (mount -t bpf bpf {path}) or set datapath.bpffs"
    )]
    Pins {
        /// The file system's directory.
        path: String,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The object or its maps were refused.
    #[error("the kernel refused the data path's maps; CAP_BPF and CAP_NET_ADMIN are needed")]
    Maps(#[source] Box<EbpfError>),
    /// A program was refused.
    #[error("the kernel refused program {name}")]
    Program {
        /// The program.
        name: String,
        /// The reason.
        #[source]
        source: Box<ProgramError>,
    },
}

/// The loaded data path.
pub struct Loaded {
    pub(crate) ebpf: Ebpf,
    pub(crate) pins: Pins,
    pub(crate) predecessors: Predecessors,
    options: Options,
}

impl Loaded {
    /// Loads the programs upon the maps pinned below `options.bpffs`, making those that are missing.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is attached yet, and what was attached before goes on.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let pins = Pins::new(&options.bpffs);
        let predecessors = Predecessors::find(&pins);
        pins.create().map_err(|source| OpenError::Pins {
            path: options.bpffs.display().to_string(),
            source,
        })?;
        predecessors.share(&pins);
        let ebpf = EbpfLoader::new()
            .default_map_pin_directory(pins.maps())
            .map_max_entries(map::FRONTENDS, options.max_frontends)
            .map_max_entries(map::BACKENDS, options.max_backends)
            .map_max_entries(map::SLOTS, options.max_rows)
            .map_max_entries(map::FLOWS, options.max_connections)
            .map_max_entries(map::REPLIES, options.max_connections)
            .load(OBJECT)
            .map_err(|error| OpenError::Maps(Box::new(error)))?;
        let mut loaded = Self {
            ebpf,
            pins,
            predecessors,
            options: options.clone(),
        };
        loaded.describe()?;
        loaded.load_programs()?;
        loaded.predecessors.carry(&loaded.pins);
        Ok(loaded)
    }

    /// Leaves a description of the maps beside them.
    fn describe(&mut self) -> Result<(), OpenError> {
        let text = upgrade::describe();
        let mut value = [0; TEXT];
        value[..text.len()].copy_from_slice(text.as_bytes());
        let mut layout: Array<[u8; TEXT]> = self.take(map::LAYOUT);
        let described = layout.set(0, value, 0);
        described.map_err(|error| OpenError::Maps(Box::new(error.into())))
    }

    fn load_programs(&mut self) -> Result<(), OpenError> {
        for (name, program) in self.ebpf.programs_mut() {
            let result = match program {
                Program::Xdp(xdp) => xdp.load(),
                Program::SchedClassifier(classifier) => classifier.load(),
                Program::CgroupSockAddr(socket) => socket.load(),
                other => unreachable!("the object has no program like {other:?}"),
            };
            result.map_err(|source| OpenError::Program {
                name: name.to_owned(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    /// A loaded program's descriptor, for those who call it from a program of their own, as benchmarks do.
    ///
    /// # Errors
    /// The object has no such program.
    pub fn program_fd(&self, name: &str) -> Result<&ProgramFd, ProgramError> {
        match self.ebpf.program(name) {
            Some(Program::Xdp(xdp)) => xdp.fd(),
            Some(Program::SchedClassifier(classifier)) => classifier.fd(),
            _ => Err(ProgramError::NotLoaded),
        }
    }

    /// The sizes it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where its things are pinned.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Takes a map out, typed.
    pub(crate) fn take<T>(&mut self, name: &str) -> T
    where
        T: TryFrom<Map, Error = MapError>,
    {
        let map = self
            .ebpf
            .take_map(name)
            .expect("each map is taken once, by its one owner");
        T::try_from(map)
            .unwrap_or_else(|error| panic!("map {name} has the type its programs give it: {error}"))
    }
}

/// A hash map of the data path.
pub(crate) type Hash<K, V> = aya::maps::HashMap<MapData, K, V>;
/// An array map of the data path.
pub(crate) type Array<V> = aya::maps::Array<MapData, V>;

/// Opens a pinned hash map to read it, as the command line does beside a running daemon.
///
/// # Errors
/// The map is not pinned there, or may not be read.
pub fn pinned_hash<K: Pod, V: Pod>(
    bpffs: &Path,
    name: &str,
) -> Result<aya::maps::HashMap<MapData, K, V>, MapError> {
    let data = MapData::from_pin(Pins::new(bpffs).maps().join(name))?;
    aya::maps::HashMap::try_from(Map::from_map_data(data)?)
}
