//! The tasks that wait: one total order, kept class by class.
//!
//! Order: priority, then age. Tasks of one class are looked at once, by their first.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cloudai_model::{Mono, Priority, TaskId};

use crate::class::TaskClass;

/// A task's place in the total order: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: Reverse<Priority>,
    order: u64,
}

impl Rank {
    /// Of a task with this priority and this place in the order of submits.
    pub(crate) fn new(priority: Priority, order: u64) -> Self {
        Self {
            priority: Reverse(priority),
            order,
        }
    }
}

/// Tasks ready to be placed, and tasks that wait out a back-off.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: BTreeMap<Arc<TaskClass>, BTreeMap<Rank, TaskId>>,
    /// How many are ready at each priority.
    levels: BTreeMap<Reverse<Priority>, usize>,
    backing_off: BTreeSet<(Mono, TaskId)>,
    ready_count: usize,
}

impl Queue {
    /// How many wait, ready or not.
    pub(crate) fn len(&self) -> usize {
        self.ready_count + self.backing_off.len()
    }

    /// The one value that equals `class`, so that a million equal tasks share it.
    pub(crate) fn intern(&self, class: TaskClass) -> Arc<TaskClass> {
        match self.ready.get_key_value(&class) {
            Some((known, _)) => known.clone(),
            None => Arc::new(class),
        }
    }

    /// Puts a task in.
    pub(crate) fn insert(&mut self, class: &Arc<TaskClass>, rank: Rank, task: TaskId) {
        let before = self
            .ready
            .entry(class.clone())
            .or_default()
            .insert(rank, task);
        debug_assert!(before.is_none(), "orders are unique");
        *self.levels.entry(rank.priority).or_default() += 1;
        self.ready_count += 1;
    }

    /// Takes a ready task out; whether it was there.
    pub(crate) fn remove(&mut self, class: &TaskClass, rank: Rank) -> bool {
        let Some(tasks) = self.ready.get_mut(class) else {
            return false;
        };
        if tasks.remove(&rank).is_none() {
            return false;
        }
        if tasks.is_empty() {
            self.ready.remove(class);
        }
        if let Some(count) = self.levels.get_mut(&rank.priority) {
            *count -= 1;
            if *count == 0 {
                self.levels.remove(&rank.priority);
            }
        }
        self.ready_count -= 1;
        true
    }

    /// Lets a task wait until `until` before it is ready.
    pub(crate) fn back_off(&mut self, until: Mono, task: TaskId) {
        self.backing_off.insert((until, task));
    }

    /// Takes a task out that waits out a back-off; whether it was there.
    pub(crate) fn remove_backing_off(&mut self, until: Mono, task: &TaskId) -> bool {
        self.backing_off.remove(&(until, task.clone()))
    }

    /// Takes out the tasks whose back-off is over.
    pub(crate) fn backed_off(&mut self, now: Mono) -> Vec<TaskId> {
        let mut over = Vec::new();
        while let Some((until, _)) = self.backing_off.first() {
            if *until > now {
                break;
            }
            over.extend(self.backing_off.pop_first().map(|(_, task)| task));
        }
        over
    }

    /// How many ready tasks go before one of this priority that is submitted now: all of its
    /// priority and above are older.
    pub(crate) fn ahead_of_new(&self, priority: Priority) -> usize {
        self.levels
            .range(..=Reverse(priority))
            .map(|(_, count)| count)
            .sum()
    }

    /// The first ready tasks in order, at most `limit`.
    pub(crate) fn first(&self, limit: usize) -> Vec<(&Arc<TaskClass>, &TaskId)> {
        let mut classes: BTreeMap<Rank, _> = BTreeMap::new();
        for (class, tasks) in &self.ready {
            let mut tasks = tasks.iter();
            if let Some((rank, task)) = tasks.next() {
                classes.insert(*rank, (class, task, tasks));
            }
        }
        let mut first = Vec::new();
        while first.len() < limit
            && let Some((_, (class, task, mut rest))) = classes.pop_first()
        {
            first.push((class, task));
            if let Some((rank, task)) = rest.next() {
                classes.insert(*rank, (class, task, rest));
            }
        }
        first
    }

    /// How many ready tasks go before this rank.
    pub(crate) fn ahead_of(&self, rank: Rank) -> usize {
        let before = |tasks: &BTreeMap<Rank, TaskId>| tasks.range(..rank).count();
        self.ready.values().map(before).sum()
    }

    /// Those that wait out a back-off, the one whose back-off ends first before the others.
    pub(crate) fn backing_off(&self) -> impl Iterator<Item = (Mono, &TaskId)> {
        self.backing_off.iter().map(|(until, task)| (*until, task))
    }

    /// How many are ready.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready_count
    }

    /// The first task of each class.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (Rank, &Arc<TaskClass>)> {
        self.ready
            .iter()
            .filter_map(|(class, tasks)| Some((*tasks.first_key_value()?.0, class)))
    }

    /// The first task of one class.
    pub(crate) fn head(&self, class: &TaskClass) -> Option<(Rank, &TaskId)> {
        self.ready
            .get(class)?
            .first_key_value()
            .map(|(rank, task)| (*rank, task))
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::Resources;

    use super::*;

    fn class(cpu_milli: u64) -> Arc<TaskClass> {
        let resources = Resources {
            cpu_milli,
            ..Resources::default()
        };
        Arc::new(TaskClass {
            resources,
            target: None,
            has_settings: false,
        })
    }

    fn rank(priority: i64, order: u64) -> Rank {
        Rank::new(Priority::new(priority).unwrap(), order)
    }

    #[test]
    fn priority_goes_before_age_over_all_classes() {
        let (small, large) = (class(1000), class(8000));
        let mut queue = Queue::default();
        queue.insert(&small, rank(50, 1), TaskId::numbered(1));
        queue.insert(&large, rank(50, 2), TaskId::numbered(2));
        queue.insert(&small, rank(90, 3), TaskId::numbered(3));

        assert_eq!(queue.heads().map(|(rank, _)| rank).min(), Some(rank(90, 3)));
        assert_eq!(queue.ahead_of_new(Priority::new(90).unwrap()), 1);
        assert_eq!(queue.ahead_of_new(Priority::new(50).unwrap()), 3);
        assert_eq!(queue.ahead_of_new(Priority::new(100).unwrap()), 0);
        let order: Vec<_> = queue.first(9).into_iter().map(|(_, task)| task).collect();
        assert_eq!(order, [3, 1, 2].map(TaskId::numbered).each_ref());
        assert_eq!(queue.first(1).len(), 1);
        assert_eq!(queue.ahead_of(rank(50, 2)), 2);
    }

    #[test]
    fn a_million_equal_tasks_are_one_class() {
        let mut queue = Queue::default();
        for order in 0..1000 {
            let class = queue.intern(TaskClass::clone(&class(1000)));
            queue.insert(&class, rank(50, order), TaskId::numbered(order));
        }
        assert_eq!(queue.heads().count(), 1);
        assert_eq!(queue.len(), 1000);
    }

    #[test]
    fn what_is_taken_out_is_gone_and_only_that() {
        let mut queue = Queue::default();
        let class = class(1);
        queue.insert(&class, rank(50, 1), TaskId::numbered(1));
        queue.insert(&class, rank(50, 2), TaskId::numbered(2));
        assert!(queue.remove(&class, rank(50, 1)));
        assert!(!queue.remove(&class, rank(50, 1)));
        assert_eq!(
            queue.head(&class),
            Some((rank(50, 2), &TaskId::numbered(2)))
        );
        assert_eq!(queue.ahead_of_new(Priority::DEFAULT), 1);
        assert!(queue.remove(&class, rank(50, 2)));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_back_off_ends_at_its_time() {
        let mut queue = Queue::default();
        queue.back_off(Mono(100), TaskId::numbered(1));
        queue.back_off(Mono(200), TaskId::numbered(2));
        assert!(queue.backed_off(Mono(99)).is_empty());
        assert_eq!(queue.backed_off(Mono(100)), [TaskId::numbered(1)]);
        assert_eq!(queue.len(), 1);
        assert!(queue.remove_backing_off(Mono(200), &TaskId::numbered(2)));
        assert_eq!(queue.len(), 0);
    }
}
