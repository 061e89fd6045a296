//! The lab, its scenarios and benchmarks.
