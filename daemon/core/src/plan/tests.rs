//! The planners together: step by step is the same as all at once, and fast enough.

mod equivalence;
mod scale;
