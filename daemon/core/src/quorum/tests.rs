//! Tests of the quorum: each rule by itself, and a whole cluster on a virtual clock.

mod cluster;
mod histories;
mod rig;
mod rules;
mod scenarios;
