//! The compiler against the evaluator, and both against sentences.

mod cases;
mod cost;
mod equivalence;
mod fixtures;
mod order;
mod random;
mod world;
