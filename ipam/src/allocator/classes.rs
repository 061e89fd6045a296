//! Classes of pools: those with the same service selector.
//!
//! Owns the index from a service to the pools that are for it. It asks each distinct selector at
//! most once, and only those whose anchor label the service carries; and it knows which pools of a
//! class can give an address right now. Fed by the table of pools; feeds allocation and queues.

use std::collections::{BTreeMap, BTreeSet};

use crate::pool::PoolOrder;
use crate::range::{Family, PerFamily};
use crate::request::ServiceRequest;
use crate::selector::LabelSelector;

/// Names a class; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassId(u64);

#[derive(Clone, Debug)]
struct Class {
    selector: Option<LabelSelector>,
    members: BTreeSet<PoolOrder>,
    /// Members that are enabled, without conflict, and have a free address.
    open: PerFamily<BTreeSet<PoolOrder>>,
}

/// All classes.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    classes: BTreeMap<ClassId, Class>,
    by_selector: BTreeMap<Option<LabelSelector>, ClassId>,
    /// Anchor key, then value, to the classes anchored there.
    anchored: BTreeMap<String, BTreeMap<String, BTreeSet<ClassId>>>,
    unanchored: BTreeSet<ClassId>,
    next: u64,
}

impl Classes {
    /// Makes the pool a member of the class of `selector`.
    pub(super) fn join(&mut self, selector: Option<&LabelSelector>, pool: PoolOrder) -> ClassId {
        let selector = selector.cloned();
        let id = match self.by_selector.get(&selector) {
            Some(&id) => id,
            None => self.create(selector),
        };
        if let Some(class) = self.classes.get_mut(&id) {
            class.members.insert(pool);
        }
        id
    }

    /// Takes the pool out of its class; a class without members is gone.
    pub(super) fn leave(&mut self, id: ClassId, pool: &PoolOrder) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        class.members.remove(pool);
        for family in Family::ALL {
            class.open[family].remove(pool);
        }
        if class.members.is_empty()
            && let Some(class) = self.classes.remove(&id)
        {
            self.index(class.selector.as_ref(), id, false);
            self.by_selector.remove(&class.selector);
        }
    }

    /// Notes whether the pool can give an address of `family`.
    pub(super) fn set_open(&mut self, id: ClassId, pool: &PoolOrder, family: Family, open: bool) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        let pools = &mut class.open[family];
        if !open {
            pools.remove(pool);
        } else if !pools.contains(pool) {
            pools.insert(pool.clone());
        }
    }

    /// Whether some pool of the class can give an address of `family`.
    pub(super) fn is_open(&self, id: ClassId, family: Family) -> bool {
        self.first_open(id, family).is_some()
    }

    /// The oldest pool of the class that can give an address of `family`.
    pub(super) fn first_open(&self, id: ClassId, family: Family) -> Option<&PoolOrder> {
        self.classes.get(&id)?.open[family].first()
    }

    /// The classes whose selector matches the service.
    pub(super) fn admitting<'a>(
        &'a self,
        request: &'a ServiceRequest,
    ) -> impl Iterator<Item = ClassId> + 'a {
        use crate::selector::Labelled;
        let anchored = self.anchored.iter().filter_map(move |(key, values)| {
            request.label(key).and_then(|value| values.get(value))
        });
        anchored
            .flatten()
            .chain(&self.unanchored)
            .copied()
            .filter(move |id| {
                self.classes.get(id).is_some_and(|class| {
                    class
                        .selector
                        .as_ref()
                        .is_none_or(|selector| selector.matches(request))
                })
            })
    }

    /// The pools of a class, the oldest first.
    pub(super) fn members(&self, id: ClassId) -> impl Iterator<Item = &PoolOrder> {
        self.classes
            .get(&id)
            .into_iter()
            .flat_map(|class| &class.members)
    }

    fn create(&mut self, selector: Option<LabelSelector>) -> ClassId {
        let id = ClassId(self.next);
        self.next += 1;
        self.index(selector.as_ref(), id, true);
        self.by_selector.insert(selector.clone(), id);
        let (members, open) = (BTreeSet::new(), PerFamily::default());
        self.classes.insert(
            id,
            Class {
                selector,
                members,
                open,
            },
        );
        id
    }

    /// Puts a class into the index by anchor, or takes it out.
    fn index(&mut self, selector: Option<&LabelSelector>, id: ClassId, present: bool) {
        let Some((key, values)) = selector.and_then(LabelSelector::anchor) else {
            if present {
                self.unanchored.insert(id);
            } else {
                self.unanchored.remove(&id);
            }
            return;
        };
        let by_value = self.anchored.entry(key.to_owned()).or_default();
        for value in values {
            let classes = by_value.entry(value.to_owned()).or_default();
            if present {
                classes.insert(id);
            } else {
                classes.remove(&id);
            }
        }
        by_value.retain(|_, classes| !classes.is_empty());
        if by_value.is_empty() {
            self.anchored.remove(key);
        }
    }
}
