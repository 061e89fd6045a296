//! Short ways to say pools, services and what became of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use landfall_ipam::{
    Allocator, Block, Created, FirstLast, LabelSelector, Outcome, Pool, Protocol, ServiceId,
    ServicePort, ServiceRequest,
};

/// A block from `address/prefix`, `start-stop` or a single address.
pub(crate) fn block(text: &str) -> Block {
    let block = match text.split_once('-') {
        Some((start, stop)) => Block::from_range(start, stop),
        None if text.contains('/') => Block::from_cidr(text),
        None => Block::from_range(text, text),
    };
    block.expect("the block is right")
}

/// A pool for everyone.
pub(crate) fn pool(name: &str, created: u64, blocks: &[&str]) -> Pool {
    let blocks = blocks.iter().map(|text| block(text)).collect();
    Pool::new(name, Created(created), blocks, FirstLast::Allowed).expect("the pool is right")
}

/// A selector for the label `key` with `value`.
pub(crate) fn selecting(key: &str, value: &str) -> Option<LabelSelector> {
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    Some(LabelSelector::new(labels, Vec::new()).expect("the selector is right"))
}

/// The id of the service `name` in the namespace `default`.
pub(crate) fn id(name: &str) -> ServiceId {
    ServiceId::new("default", name)
}

/// A plain service with port 80/TCP.
pub(crate) fn service(name: &str, created: u64) -> ServiceRequest {
    let mut request = ServiceRequest::new(id(name), Created(created));
    request.ports = [tcp(80)].into();
    request
}

/// A service with the sharing key `key` and one port.
pub(crate) fn sharer(name: &str, created: u64, port: u16) -> ServiceRequest {
    let mut request = service(name, created);
    request.sharing_key = Some("key".to_owned());
    request.ports = [tcp(port)].into();
    request
}

/// A TCP port.
pub(crate) fn tcp(number: u16) -> ServicePort {
    ServicePort {
        protocol: Protocol::Tcp,
        number,
    }
}

/// An address from its text.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("the address is right")
}

/// A started allocator with `pools`.
pub(crate) fn allocator(pools: Vec<Pool>) -> Allocator {
    let mut allocator = Allocator::new();
    allocator.set_pools(pools).expect("names are unique");
    allocator.start();
    allocator
}

/// What became of the service `name`.
pub(crate) fn outcome<'a>(allocator: &'a Allocator, name: &str) -> &'a Outcome {
    allocator.outcome(&id(name)).expect("the service is known")
}

/// The addresses of the service `name`, joined by commas.
pub(crate) fn has(allocator: &Allocator, name: &str) -> String {
    let addresses = outcome(allocator, name).addresses().iter();
    addresses
        .map(|assigned| assigned.address.to_string())
        .collect::<Vec<_>>()
        .join(",")
}
