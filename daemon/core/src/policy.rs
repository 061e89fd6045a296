//! Network policies: who may talk to whom, decided twice over.
//!
//! [`Compiler`] is told of objects one by one and keeps the tables that kernel programs look verdicts up in ([`PolicyTables`]
//! is what the kernel then holds). [`evaluate()`] answers the same question slowly, straight from the objects; it shares
//! nothing with the compiler but the model and the words of [`Decision`], so that each checks the other, and it is what
//! `landfall policy trace` prints. Both are pure.
//!
//! Decision 12 says why the tables have the shape they have.

mod compiler;
mod decision;
mod evaluate;
mod objects;
mod table;
#[cfg(test)]
mod tests;

pub use self::compiler::{Compiler, Delta, Touched};
pub use self::decision::{Decider, Decision, PolicyRef, RuleRef, Transport, Verdict};
pub use self::evaluate::{Evaluation, Objects, Place, Trace, evaluate, trace};
pub use self::objects::{PolicyChange, PolicySettings};
pub use self::table::{
    Found, NetworkClass, NetworkKey, Operation, Peer, PeerId, PodVerdicts, PolicyTables,
    PortPrefix, SetHead, SetId, TierWord, VerdictKey, Words,
};
