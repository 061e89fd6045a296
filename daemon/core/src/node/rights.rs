//! What gives this node its right to answer, as the election's side deals with it: the seam to the quorum.

use crate::election::ground::Ground;
use crate::election::{Content, LeaseTable, Moment, Outcome, Revision, Term};
use crate::model::NodeName;

/// The other end of the election's [`Ground`]. Called on the election's thread; must not block.
pub trait Rights {
    /// The ground the election stands on.
    type Ground: Ground;

    /// The ground at the start: no right.
    fn ground(&self) -> Self::Ground;

    /// Brings the ground up to date, before the election decides.
    fn refresh(&mut self, ground: &mut Self::Ground);

    /// Takes over what the election has come to.
    fn follow(&mut self, ground: &mut Self::Ground, term: Option<Term>, table: &LeaseTable);

    /// The ground's deadline has moved on to `until`.
    fn push(&mut self, until: Moment);

    /// Nothing may be answered from now on. In force when this returns.
    fn silence(&mut self);

    /// The store holds this record of members.
    fn record_seen(&mut self, revision: Option<Revision>, content: &Content);

    /// The write of the record has ended.
    fn write_ended(&mut self, outcome: Outcome);

    /// The store is to be read afresh, and what is found to be told under this number.
    fn survey(&mut self, number: u64, now: Moment);

    /// Everything that was in the store at `as_of` is in `table`.
    fn synced(&mut self, as_of: Moment, table: &LeaseTable);

    /// Whether all that is in the store was seen a short while ago.
    fn store_readable(&mut self, readable: bool);

    /// When `node` was last heard, where this ground hears nodes.
    fn last_heard(&self, ground: &Self::Ground, node: &NodeName) -> Option<Moment>;

    /// This node leaves for good. Whether there is anything to wait for.
    fn leave(&mut self) -> bool;

    /// Why this node, `me`, may not run at all beside those that the record names.
    fn refusal(&self, me: &NodeName) -> Option<String>;
}
