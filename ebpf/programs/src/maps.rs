//! The maps. Sizes given here are the defaults; the loader sets those of the settings.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use landfall_ebpf_abi::announce::{Announced, AnnouncedKey, Deadline};
use landfall_ebpf_abi::counter::COUNTERS as COUNTER_COUNT;
use landfall_ebpf_abi::flow::{Flow, FlowKey, Reply, ReplyKey};
use landfall_ebpf_abi::hash::FILTER_WORDS;
use landfall_ebpf_abi::layout::TEXT;
use landfall_ebpf_abi::node::{INTERFACE_SLOTS, Interface, MAX_NODES, Node, PeerKey};
use landfall_ebpf_abi::service::{Backend, Frontend, FrontendKey, SlotRow, SourceRange};
use landfall_ebpf_abi::socket::{SocketKey, SocketOrigin};

use crate::packet::Arriving;
use crate::reject::Answer;

#[map]
pub static FRONTENDS: HashMap<FrontendKey, Frontend> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);
#[map]
pub static FRONTEND_FILTER: Array<u64> = Array::pinned(FILTER_WORDS, 0);
#[map]
pub static SLOTS: Array<SlotRow> = Array::pinned(65_536, 0);
#[map]
pub static BACKENDS: Array<Backend> = Array::pinned(262_144, 0);
#[map]
pub static BACKEND_FILTER: Array<u64> = Array::pinned(FILTER_WORDS, 0);
#[map]
pub static NODES: Array<Node> = Array::pinned(MAX_NODES, 0);
#[map]
pub static PEERS: HashMap<PeerKey, u32> = HashMap::pinned(4_096, BPF_F_NO_PREALLOC);
#[map]
pub static PEER_FILTER: Array<u64> = Array::pinned(FILTER_WORDS, 0);
#[map]
pub static INTERFACES: Array<Interface> = Array::pinned(INTERFACE_SLOTS, 0);
#[map]
pub static SOURCE_RANGES: LpmTrie<SourceRange, u32> = LpmTrie::pinned(65_536, BPF_F_NO_PREALLOC);
#[map]
pub static FLOWS: HashMap<FlowKey, Flow> = HashMap::pinned(262_144, 0);
#[map]
pub static REPLIES: HashMap<ReplyKey, Reply> = HashMap::pinned(262_144, 0);
#[map]
pub static MOVED_FLOWS: HashMap<FlowKey, u32> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);
#[map]
pub static ANNOUNCED: HashMap<AnnouncedKey, Announced> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);
#[map]
pub static DEADLINE: Array<Deadline> = Array::pinned(1, 0);
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::pinned(COUNTER_COUNT, 0);
#[map]
pub static SOCKET_ORIGINS: LruHashMap<SocketKey, SocketOrigin> = LruHashMap::pinned(65_536, 0);
/// Written and read by user space alone.
#[map]
pub static LAYOUT: Array<[u8; TEXT]> = Array::pinned(1, 0);
/// Scratch, private to each load of the programs.
#[map]
pub static ANSWER: PerCpuArray<Answer> = PerCpuArray::with_max_entries(1, 0);
/// Scratch, private to each load of the programs.
#[map]
pub static ARRIVING: PerCpuArray<Arriving> = PerCpuArray::with_max_entries(1, 0);
