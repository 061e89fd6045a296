//! Tests of the election: a whole cluster on a virtual clock.

mod allocator;
mod bequests;
mod cluster;
mod dark;
mod histories;
mod payload;
mod scenarios;
mod view;
