//! Which classes a pass looks at, and which nothing has room for until something changes.
//!
//! Without it every submit into a full cluster would look at every worker again. What is looked at in
//! vain between two ticks is bounded, so that ten thousand tasks that all differ don't fill the core's
//! time: a round over all classes goes on where it stopped, and what changes meanwhile is for the next
//! round. As long as nothing is beyond the bound, each pass ends its round.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cloudai_model::Mono;

use crate::{
    class::TaskClass,
    explain::Explanation,
    queue::{Queue, Rank},
    registry::{MostFree, Registry},
};

/// Between two ticks so many workers are looked at in vain, which takes some 50 ms.
const IN_VAIN_A_TICK: usize = 250_000;

/// What a class costs besides, in looks at workers: it is found, taken up and laid down.
const A_CLASS: usize = 4;

/// Explanations that are kept. Each is as long as there are workers.
const MOST_KEPT: usize = 100;

#[derive(Debug)]
pub(crate) struct Blocked {
    /// What this round has not looked at yet, by the first task.
    to_look_at: BTreeMap<Rank, Arc<TaskClass>>,
    /// What nothing had room for in this round.
    classes: BTreeSet<Arc<TaskClass>>,
    /// Room or workers have changed since the round began.
    changed: bool,
    /// No less than any worker has free; known once it is worth the look at all of them.
    most_free: Option<MostFree>,
    /// A class was looked at in vain, and what is known of the room is not of now.
    measure: bool,
    placed_since_measured: bool,
    /// What may be looked at in vain until the next tick.
    left: usize,
    a_tick: usize,
    /// Made when somebody first asks.
    explanations: BTreeMap<Arc<TaskClass>, Explanation>,
    /// Of classes that are not blocked but wait all the same; good until something is placed.
    others: BTreeMap<Arc<TaskClass>, Explanation>,
}

impl Default for Blocked {
    fn default() -> Self {
        Self {
            to_look_at: BTreeMap::new(),
            classes: BTreeSet::new(),
            changed: false,
            most_free: None,
            measure: false,
            placed_since_measured: true,
            left: IN_VAIN_A_TICK,
            a_tick: IN_VAIN_A_TICK,
            explanations: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }
}

impl Blocked {
    /// Room or workers have changed: every class is worth a look again.
    pub(crate) fn clear(&mut self) {
        self.changed = true;
        self.most_free = None;
        self.measure = false;
        self.placed_since_measured = true;
        self.explanations.clear();
        self.others.clear();
    }

    /// There is less room than before.
    pub(crate) fn placed(&mut self) {
        self.placed_since_measured = true;
        self.others.clear();
    }

    /// A tick has passed.
    pub(crate) fn tick(&mut self) {
        self.left = self.a_tick;
        self.clear();
    }

    /// Whether something may still be looked at before the next tick.
    pub(crate) fn may_look(&self) -> bool {
        self.left > 0
    }

    /// So much was looked at, or moved, without anything being placed.
    pub(crate) fn in_vain(&mut self, looks: usize) {
        self.left = self.left.saturating_sub(looks);
    }

    /// The class to look at next, in the queue's order.
    pub(crate) fn next(&mut self, queue: &mut Queue) -> Option<Arc<TaskClass>> {
        loop {
            let fresh = queue.take_fresh();
            if self.changed && self.to_look_at.is_empty() {
                self.changed = false;
                self.classes.clear();
                let heads = queue.heads();
                self.to_look_at = heads.map(|(rank, class)| (rank, class.clone())).collect();
                self.in_vain(self.to_look_at.len());
            } else {
                for class in fresh {
                    self.look_at(queue, class);
                }
            }
            let (rank, class) = self.to_look_at.pop_first()?;
            match queue.head(&class) {
                Some((head, ..)) if head == rank && !self.contains(&class) => return Some(class),
                // Another is its first by now.
                Some(_) => self.look_at(queue, class),
                None => {}
            }
        }
    }

    /// Has a class looked at when it is its turn, unless nothing has room for it.
    pub(crate) fn look_at(&mut self, queue: &Queue, class: Arc<TaskClass>) {
        if let Some((rank, ..)) = queue.head(&class).filter(|_| !self.contains(&class)) {
            self.to_look_at.insert(rank, class);
        }
    }

    /// Whether it is worth to ask workers one by one; with no, it fits nowhere.
    pub(crate) fn may_fit(&mut self, registry: &Registry, class: &TaskClass, now: Mono) -> bool {
        if class.target.is_some() {
            return true;
        }
        if self.measure {
            self.in_vain(registry.count());
            self.most_free = Some(registry.most_free(now));
            (self.measure, self.placed_since_measured) = (false, false);
        }
        let most = &self.most_free;
        most.is_none_or(|most| most.may_hold(&class.resources))
    }

    /// No worker had room for the class when asked one by one.
    pub(crate) fn asked_in_vain(&mut self, registry: &Registry, class: &TaskClass) {
        let asked = class.target.as_ref().map_or(registry.count(), |_| 1);
        self.in_vain(asked);
        self.measure |= self.placed_since_measured;
    }

    /// Nothing has room for the class.
    pub(crate) fn insert(&mut self, class: Arc<TaskClass>) {
        self.in_vain(A_CLASS);
        self.classes.insert(class);
    }

    pub(crate) fn contains(&self, class: &TaskClass) -> bool {
        self.classes.contains(class)
    }

    /// What workers say to the class; `explain` is asked once, unless for too many classes.
    pub(crate) fn explanation(
        &mut self,
        class: &Arc<TaskClass>,
        explain: impl FnOnce() -> Explanation,
    ) -> Explanation {
        let known = match self.contains(class) {
            true => &mut self.explanations,
            false => &mut self.others,
        };
        if let Some(known) = known.get(class) {
            return known.clone();
        }
        let explanation = explain();
        if known.len() < MOST_KEPT {
            known.insert(class.clone(), explanation.clone());
        }
        explanation
    }
}

#[cfg(test)]
mod tests;
