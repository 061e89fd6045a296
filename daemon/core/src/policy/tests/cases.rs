//! Sentences about policies. Each is asked of the evaluator and of the tables, which must agree.

mod addresses;
mod ports;
mod selectors;
mod tiers;
