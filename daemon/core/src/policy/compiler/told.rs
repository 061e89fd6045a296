//! What a compiler tells of its tables.

use crate::policy::decision::{Decider, Decision, RuleRef};
use crate::policy::table::{Found, PolicyTables, SetId};

use super::Compiler;

impl Compiler {
    /// The tables as they now are to be, for a kernel whose maps are not known.
    pub fn tables(&self) -> PolicyTables {
        let mut tables = PolicyTables {
            pods: self.verdicts.clone(),
            peers: self.peers.clone(),
            ..PolicyTables::default()
        };
        for (id, set) in &self.sets {
            for operation in set.compiled.operations(*id, true) {
                tables.apply(operation);
            }
        }
        tables
    }

    /// What was found in the tables, in words.
    pub fn explain(&self, found: Found) -> Decision {
        match found {
            Found::Default => Decision::accept(Decider::Default),
            Found::Itself => Decision::accept(Decider::Itself),
            Found::OwnNode => Decision::accept(Decider::OwnNode),
            Found::Isolation(_) => Decision::deny(Decider::Isolation),
            Found::Rule(verdict, set, rank) => Decision {
                verdict,
                by: self
                    .rule(set, rank)
                    .map_or(Decider::Default, |rule| Decider::Rule(rule.clone())),
            },
        }
    }

    /// A rule by its rank in a set.
    pub fn rule(&self, set: SetId, rank: u32) -> Option<&RuleRef> {
        let rule = self.sets.get(&set)?.compiled.rules.get(rank as usize);
        rule.map(|rule| &rule.reference)
    }
}
