//! The one door to the kernel's deadline.
//!
//! The quorum's thread pushes the deadline for the term it holds grants for; the election's thread shuts the door when the
//! node has to fall silent, and opens it for the next term. A deadline that was on its way when the door was shut finds it
//! shut. Whoever owns the door changes the kernel's deadline in the same step as the door.

use crate::election::{Moment, Term};

/// The door, shut at first. What the kernel was told by an earlier process stands until it passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Door {
    open_for: Option<Term>,
    pushed: Option<Moment>,
}

impl Door {
    /// Lets deadlines for `term` through.
    pub fn open(&mut self, term: Term) {
        self.open_for = Some(term);
    }

    /// Lets nothing through any more. The kernel is to be silenced with it.
    pub fn shut(&mut self) {
        *self = Self::default();
    }

    /// Whether the kernel is to be told that the node may answer in `term` until `until`, or not at all.
    pub fn push(&mut self, term: Term, until: Option<Moment>) -> bool {
        let open = self.open_for == Some(term);
        if open {
            self.pushed = until;
        }
        open
    }

    /// The deadline in force, as far as this process knows.
    #[must_use]
    pub fn pushed(&self) -> Option<Moment> {
        self.pushed
    }
}
