//! Tests of whole nodes among each other: a cluster on a virtual clock.

mod cluster;
mod death;
mod histories;
