//! Tests of the election: a whole cluster on a virtual clock.

mod cluster;
mod histories;
mod scenarios;
