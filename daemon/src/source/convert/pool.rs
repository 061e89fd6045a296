//! Pools.

use landfall_ipam::{Block, Created, FirstLast, Pool};

use super::metadata::NameForm;
use super::{Context, metadata, selector};
use crate::objects::{Choice, LoadBalancerIPPool};
use crate::source::complaint::{Complaints, Converted};

/// What no client can send a packet to, with its name. A pool must not reach into it.
const UNUSABLE: [(&str, &str); 6] = [
    ("0.0.0.0/8", "this network, RFC 1122"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved, RFC 1112"),
    ("::/127", "unspecified and loopback, RFC 4291"),
    ("ff00::/8", "multicast, RFC 4291"),
];

/// Converts a pool, own or Cilium's.
pub fn pool(object: &LoadBalancerIPPool, context: &Context<'_>) -> Converted<Pool> {
    let mut found = metadata::complaints(&object.metadata, false, context);
    let converted = convert(object, context, &mut found);
    found.finish(converted)
}

fn convert(
    object: &LoadBalancerIPPool,
    context: &Context<'_>,
    found: &mut Complaints,
) -> Option<Pool> {
    let name = metadata::name(&object.metadata, NameForm::Subdomain, found);
    let spec = &object.spec;
    let blocks = blocks(object, found);
    if spec.blocks.is_empty() {
        found.warning(
            "spec.blocks",
            "is empty",
            "add a block such as - cidr: 10.10.200.0/29",
        );
    }
    let selector = spec
        .service_selector
        .as_ref()
        .and_then(|it| selector::selector("spec.serviceSelector", it, found));
    // Indexes in the error are those of `spec.blocks` only if all blocks could be read.
    if found.fatal() {
        return None;
    }
    let created = Created(metadata::created(&object.metadata, context));
    let first_last = match spec.allow_first_last_ips {
        Some(Choice::No) => FirstLast::Reserved,
        Some(Choice::Yes) | None => FirstLast::Allowed,
    };
    match Pool::new(&name?, created, blocks, first_last) {
        Ok(pool) => Some(pool.with_selector(selector).with_disabled(spec.disabled)),
        Err(error) => {
            found.error_text("", &error.to_string());
            None
        }
    }
}

fn blocks(object: &LoadBalancerIPPool, found: &mut Complaints) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (index, entry) in object.spec.blocks.iter().enumerate() {
        let field = format!("spec.blocks[{index}]");
        let (cidr, start, stop) = (
            entry.cidr.as_deref(),
            entry.start.as_deref(),
            entry.stop.as_deref(),
        );
        match Block::parse(cidr, start, stop) {
            Ok(block) => {
                examine(&field, &block, found);
                blocks.push(block);
            }
            Err(error) => found.error_text(&field, &error.to_string()),
        }
    }
    blocks
}

fn examine(field: &str, block: &Block, found: &mut Complaints) {
    if let Some(written) = block.host_bits() {
        found.warning(
            format!("{field}.cidr"),
            format!("begins at {}, not at {written}", block.range().first()),
            format!("write {block}, or start and stop"),
        );
    }
    for (cidr, what) in UNUSABLE {
        let unusable = Block::from_cidr(cidr).expect("the table holds CIDRs");
        if unusable.range().overlaps(&block.range()) {
            found.error(
                field,
                format!("{block} reaches into {cidr} ({what})"),
                "write unicast addresses of the clients' LAN",
            );
        }
    }
}
