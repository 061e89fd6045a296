//! The socket task on real links: a node and a client, each in a network namespace, joined by a veth pair.
//!
//! Needs root and iproute2, and fails without. Every test makes its own namespaces on its own thread, which end with it;
//! none has a way out.

mod announcing;
mod answering;
mod interfaces;
mod lan;
