//! Network policies: who may talk to whom.
//!
//! [`evaluate()`] answers for one packet, slowly and straight from the objects; it is what `landfall policy trace` prints.

mod decision;
mod evaluate;
mod objects;

pub use self::decision::{Decider, Decision, PolicyRef, RuleRef, Transport, Verdict};
pub use self::evaluate::{Evaluation, Objects, Place, Trace, evaluate, trace};
pub use self::objects::{PolicyChange, PolicySettings};
