//! What users see, one scenario each.

mod allocation;
mod refusals;
mod sharing;
mod stability;
mod support;
