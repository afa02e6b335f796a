//! The tasks that wait: one total order, kept class by class, and within a class user by user.
//!
//! Order: priority, then age. Tasks of one class are looked at once, by their first; those of users who
//! are at their limits stand aside, so that a pass doesn't meet them again until something is given
//! back.

mod blocks;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cloudai_model::{Mono, Priority, TaskId, UserName};

use self::blocks::Blocks;
use crate::class::TaskClass;

/// A task's place in the total order: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: Reverse<Priority>,
    order: u64,
}

impl Rank {
    /// So many places in the order of submits are counted together.
    const BLOCK: u64 = 1024;

    /// Where the block begins that this is in.
    fn block(self) -> Self {
        Self {
            order: self.order - self.order % Self::BLOCK,
            ..self
        }
    }

    /// Of a task with this priority and this place in the order of submits.
    pub(crate) fn new(priority: Priority, order: u64) -> Self {
        Self {
            priority: Reverse(priority),
            order,
        }
    }
}

/// A user's tasks of one class stand in one line: all but their ranks is the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) user: UserName,
    pub(crate) class: Arc<TaskClass>,
}

/// Tasks ready to be placed, tasks that wait out a back-off, and tasks on hold.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: BTreeMap<Arc<TaskClass>, OfClass>,
    /// How many are ready at each priority.
    levels: BTreeMap<Reverse<Priority>, usize>,
    ready_blocks: Blocks,
    backing_off: BTreeMap<(Mono, TaskId), Arc<Line>>,
    on_hold: BTreeMap<Rank, (TaskId, Arc<Line>)>,
    held_blocks: Blocks,
    users: BTreeMap<UserName, OfUser>,
    ready_count: usize,
}

/// The ready tasks of one class.
#[derive(Debug, Default)]
struct OfClass {
    lines: BTreeMap<UserName, Ready>,
    /// The first of each line that doesn't stand aside.
    heads: BTreeMap<Rank, UserName>,
}

/// The ready tasks of one line; never empty.
#[derive(Debug)]
struct Ready {
    line: Arc<Line>,
    tasks: BTreeMap<Rank, TaskId>,
    aside: bool,
}

/// What the queue has of one user; never nothing.
#[derive(Debug, Default)]
struct OfUser {
    /// How many tasks wait, ready or not.
    waiting: usize,
    /// Of which classes the line stands aside.
    aside: BTreeSet<Arc<TaskClass>>,
}

impl OfClass {
    /// After a change of one line.
    fn mend_head(&mut self, before: Option<Rank>, user: &UserName) {
        let line = self.lines.get(user).filter(|line| !line.aside);
        let first = line.and_then(|line| line.tasks.first_key_value());
        let first = first.map(|(rank, _)| *rank);
        if before == first {
            return;
        }
        if let Some(before) = before {
            self.heads.remove(&before);
        }
        if let Some(first) = first {
            self.heads.insert(first, user.clone());
        }
    }

    /// What [`Self::heads`] has of one line.
    fn head_of(&self, user: &UserName) -> Option<Rank> {
        let line = self.lines.get(user).filter(|line| !line.aside)?;
        line.tasks.first_key_value().map(|(rank, _)| *rank)
    }
}

impl Queue {
    /// How many wait, ready or not.
    pub(crate) fn len(&self) -> usize {
        self.ready_count + self.backing_off.len() + self.on_hold.len()
    }

    /// How many of this user's wait, ready or not.
    pub(crate) fn waiting_of(&self, user: &UserName) -> usize {
        self.users.get(user).map_or(0, |of_user| of_user.waiting)
    }

    /// The one line that is `user`'s of this class, so that a million equal tasks share it.
    pub(crate) fn line(&self, user: &UserName, class: TaskClass) -> Arc<Line> {
        let known = self.ready.get_key_value(&class);
        if let Some((_, of_class)) = known
            && let Some(ready) = of_class.lines.get(user)
        {
            return ready.line.clone();
        }
        Arc::new(Line {
            user: user.clone(),
            class: known.map_or_else(|| Arc::new(class), |(class, _)| class.clone()),
        })
    }

    /// Puts a task in.
    pub(crate) fn insert(&mut self, line: &Arc<Line>, rank: Rank, task: TaskId) {
        let of_class = self.ready.entry(line.class.clone()).or_default();
        let before = of_class.head_of(&line.user);
        if !of_class.lines.contains_key(&line.user) {
            let ready = Ready {
                line: line.clone(),
                tasks: BTreeMap::new(),
                aside: false,
            };
            of_class.lines.insert(line.user.clone(), ready);
        }
        if let Some(ready) = of_class.lines.get_mut(&line.user) {
            let taken = ready.tasks.insert(rank, task);
            debug_assert!(taken.is_none(), "orders are unique");
        }
        of_class.mend_head(before, &line.user);
        *self.levels.entry(rank.priority).or_default() += 1;
        self.ready_blocks.count_in(rank);
        self.ready_count += 1;
        self.count_in(&line.user);
    }

    /// Takes a ready task out; whether it was there.
    pub(crate) fn remove(&mut self, line: &Line, rank: Rank) -> bool {
        let Some(of_class) = self.ready.get_mut(&line.class) else {
            return false;
        };
        let before = of_class.head_of(&line.user);
        let Some(ready) = of_class.lines.get_mut(&line.user) else {
            return false;
        };
        if ready.tasks.remove(&rank).is_none() {
            return false;
        }
        let aside = ready.aside;
        let is_empty = ready.tasks.is_empty();
        if is_empty {
            of_class.lines.remove(&line.user);
        }
        of_class.mend_head(before, &line.user);
        if of_class.lines.is_empty() {
            self.ready.remove(&line.class);
        }
        if is_empty
            && aside
            && let Some(of_user) = self.users.get_mut(&line.user)
        {
            of_user.aside.remove(&line.class);
        }
        if let Some(count) = self.levels.get_mut(&rank.priority) {
            *count -= 1;
            if *count == 0 {
                self.levels.remove(&rank.priority);
            }
        }
        self.ready_blocks.count_out(rank);
        self.ready_count -= 1;
        self.count_out(&line.user);
        true
    }

    /// Lets a line stand aside: its user is at a limit.
    pub(crate) fn stand_aside(&mut self, line: &Line) {
        let Some(of_class) = self.ready.get_mut(&line.class) else {
            return;
        };
        let before = of_class.head_of(&line.user);
        let Some(ready) = of_class.lines.get_mut(&line.user) else {
            return;
        };
        ready.aside = true;
        of_class.mend_head(before, &line.user);
        if let Some(of_user) = self.users.get_mut(&line.user) {
            of_user.aside.insert(line.class.clone());
        }
    }

    /// Lets all lines of a user stand among the others again.
    pub(crate) fn stand_again(&mut self, user: &UserName) {
        let Some(of_user) = self.users.get_mut(user) else {
            return;
        };
        for class in std::mem::take(&mut of_user.aside) {
            let Some(of_class) = self.ready.get_mut(&class) else {
                continue;
            };
            if let Some(ready) = of_class.lines.get_mut(user) {
                ready.aside = false;
            }
            of_class.mend_head(None, user);
        }
    }

    /// Lets a task wait until `until` before it is ready.
    pub(crate) fn back_off(&mut self, line: &Arc<Line>, until: Mono, task: TaskId) {
        if self
            .backing_off
            .insert((until, task), line.clone())
            .is_none()
        {
            self.count_in(&line.user);
        }
    }

    /// Takes a task out that waits out a back-off; whether it was there.
    pub(crate) fn remove_backing_off(&mut self, until: Mono, task: &TaskId) -> bool {
        let removed = self.backing_off.remove(&(until, task.clone()));
        if let Some(line) = &removed {
            self.count_out(&line.user);
        }
        removed.is_some()
    }

    /// Takes out the tasks whose back-off is over.
    pub(crate) fn backed_off(&mut self, now: Mono) -> Vec<TaskId> {
        let mut over = Vec::new();
        while let Some(((until, _), _)) = self.backing_off.first_key_value() {
            if *until > now {
                break;
            }
            if let Some(((_, task), line)) = self.backing_off.pop_first() {
                self.count_out(&line.user);
                over.push(task);
            }
        }
        over
    }

    /// Lets a task wait until somebody releases it.
    pub(crate) fn hold(&mut self, line: &Arc<Line>, rank: Rank, task: TaskId) {
        let before = self.on_hold.insert(rank, (task, line.clone()));
        debug_assert!(before.is_none(), "orders are unique");
        self.held_blocks.count_in(rank);
        self.count_in(&line.user);
    }

    /// Takes a task out that is on hold; whether it was there.
    pub(crate) fn remove_on_hold(&mut self, rank: Rank) -> bool {
        let removed = self.on_hold.remove(&rank);
        if let Some((_, line)) = &removed {
            self.held_blocks.count_out(rank);
            self.count_out(&line.user);
        }
        removed.is_some()
    }

    fn count_in(&mut self, user: &UserName) {
        match self.users.get_mut(user) {
            Some(of_user) => of_user.waiting += 1,
            None => {
                let of_user = OfUser {
                    waiting: 1,
                    ..OfUser::default()
                };
                self.users.insert(user.clone(), of_user);
            }
        }
    }

    fn count_out(&mut self, user: &UserName) {
        if let Some(of_user) = self.users.get_mut(user) {
            of_user.waiting -= 1;
            if of_user.waiting == 0 {
                self.users.remove(user);
            }
        }
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
    pub(crate) fn first(&self, limit: usize) -> Vec<(&Arc<Line>, &TaskId)> {
        let mut lines: BTreeMap<Rank, _> = BTreeMap::new();
        for ready in self.ready.values().flat_map(|class| class.lines.values()) {
            let mut tasks = ready.tasks.iter();
            if let Some((rank, task)) = tasks.next() {
                lines.insert(*rank, (&ready.line, task, tasks));
            }
        }
        let mut first = Vec::new();
        while first.len() < limit
            && let Some((_, (line, task, mut rest))) = lines.pop_first()
        {
            first.push((line, task));
            if let Some((rank, task)) = rest.next() {
                lines.insert(*rank, (line, task, rest));
            }
        }
        first
    }

    /// How many ready tasks go before this rank.
    pub(crate) fn ahead_of(&self, rank: Rank) -> usize {
        let lines = self.ready.values().flat_map(|class| class.lines.values());
        let within = lines.map(|line| line.tasks.range(rank.block()..rank).count());
        self.ready_blocks.before(rank) + within.sum::<usize>()
    }

    /// How many tasks on hold go before this rank.
    pub(crate) fn held_ahead_of(&self, rank: Rank) -> usize {
        let within = self.on_hold.range(rank.block()..rank).count();
        self.held_blocks.before(rank) + within
    }

    /// Those that wait out a back-off, the one whose back-off ends first before the others.
    pub(crate) fn backing_off(&self) -> impl Iterator<Item = (Mono, &TaskId)> {
        self.backing_off.keys().map(|(until, task)| (*until, task))
    }

    /// Those on hold, in the order that they had if they were not.
    pub(crate) fn on_hold(&self) -> impl Iterator<Item = &TaskId> {
        self.on_hold.values().map(|(task, _)| task)
    }

    /// How many are ready.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready_count
    }

    /// How many wait out a back-off.
    pub(crate) fn backing_off_count(&self) -> usize {
        self.backing_off.len()
    }

    /// The first task of each class, but for lines that stand aside.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (Rank, &Arc<TaskClass>)> {
        self.ready.iter().filter_map(|(class, of_class)| {
            let (rank, _) = of_class.heads.first_key_value()?;
            Some((*rank, class))
        })
    }

    /// The first task of one class, but for lines that stand aside.
    pub(crate) fn head(&self, class: &TaskClass) -> Option<(Rank, &Arc<Line>, &TaskId)> {
        let of_class = self.ready.get(class)?;
        let (rank, user) = of_class.heads.first_key_value()?;
        let ready = of_class.lines.get(user)?;
        Some((*rank, &ready.line, ready.tasks.get(rank)?))
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::Resources;

    use super::*;

    fn line_of(user: &str, cpu_milli: u64) -> Arc<Line> {
        let resources = Resources {
            cpu_milli,
            ..Resources::default()
        };
        let class = TaskClass {
            resources,
            target: None,
            beyond_old_nodes: None,
        };
        Queue::default().line(&user.parse().unwrap(), class)
    }

    fn line(cpu_milli: u64) -> Arc<Line> {
        line_of("ann", cpu_milli)
    }

    fn rank(priority: i64, order: u64) -> Rank {
        Rank::new(Priority::new(priority).unwrap(), order)
    }

    fn order(queue: &Queue) -> Vec<TaskId> {
        let first = queue.first(99).into_iter();
        first.map(|(_, task)| task.clone()).collect()
    }

    #[test]
    fn priority_goes_before_age_over_all_classes() {
        let (small, large) = (line(1000), line(8000));
        let mut queue = Queue::default();
        queue.insert(&small, rank(50, 1), TaskId::numbered(1));
        queue.insert(&large, rank(50, 2), TaskId::numbered(2));
        queue.insert(&small, rank(90, 3), TaskId::numbered(3));

        assert_eq!(queue.heads().map(|(rank, _)| rank).min(), Some(rank(90, 3)));
        assert_eq!(queue.ahead_of_new(Priority::new(90).unwrap()), 1);
        assert_eq!(queue.ahead_of_new(Priority::new(50).unwrap()), 3);
        assert_eq!(queue.ahead_of_new(Priority::new(100).unwrap()), 0);
        assert_eq!(order(&queue), [3, 1, 2].map(TaskId::numbered));
        assert_eq!(queue.first(1).len(), 1);
        assert_eq!(queue.ahead_of(rank(50, 2)), 2);
    }

    #[test]
    fn a_million_equal_tasks_are_one_class_and_share_one_line() {
        let mut queue = Queue::default();
        let user = "ann".parse().unwrap();
        for order in 0..1000 {
            let line = queue.line(&user, TaskClass::clone(&line(1000).class));
            queue.insert(&line, rank(50, order), TaskId::numbered(order));
        }
        assert_eq!(queue.heads().count(), 1);
        assert_eq!(queue.len(), 1000);
        assert_eq!(queue.waiting_of(&user), 1000);
        let (_, line, _) = queue.head(&line(1000).class).unwrap();
        // The queue's own, and nobody else's.
        assert_eq!(Arc::strong_count(line), 1);
    }

    #[test]
    fn users_of_one_class_stand_in_one_order() {
        let (ann, bob) = (line_of("ann", 1000), line_of("bob", 1000));
        let mut queue = Queue::default();
        for (order, line) in [(1, &ann), (2, &bob), (3, &ann), (4, &bob)] {
            queue.insert(line, rank(50, order), TaskId::numbered(order));
        }
        assert_eq!(queue.heads().count(), 1);
        assert_eq!(order(&queue), [1, 2, 3, 4].map(TaskId::numbered));
        let head = |queue: &Queue| queue.head(&ann.class).map(|(rank, ..)| rank.order);
        assert_eq!(head(&queue), Some(1));
        assert!(queue.remove(&ann, rank(50, 1)));
        assert_eq!(head(&queue), Some(2));

        queue.stand_aside(&bob);
        assert_eq!(head(&queue), Some(3));
        assert!(queue.remove(&ann, rank(50, 3)));
        assert_eq!(head(&queue), None);
        assert_eq!(queue.heads().count(), 0);
        // It waits all the same, and a task of higher rank changes nothing.
        queue.insert(&bob, rank(90, 5), TaskId::numbered(5));
        assert_eq!(head(&queue), None);
        assert_eq!(order(&queue), [5, 2, 4].map(TaskId::numbered));

        queue.stand_again(&"ann".parse().unwrap());
        assert_eq!(head(&queue), None);
        queue.stand_again(&bob.user);
        assert_eq!(head(&queue), Some(5));
        assert!(queue.remove(&bob, rank(90, 5)));
        assert_eq!(head(&queue), Some(2));
    }

    #[test]
    fn a_line_that_stood_aside_and_went_away_comes_back_among_the_others() {
        let line = line(1);
        let mut queue = Queue::default();
        queue.insert(&line, rank(50, 1), TaskId::numbered(1));
        queue.insert(&line, rank(50, 2), TaskId::numbered(2));
        queue.stand_aside(&line);
        assert!(queue.remove(&line, rank(50, 1)));
        assert!(queue.remove(&line, rank(50, 2)));
        queue.insert(&line, rank(50, 3), TaskId::numbered(3));
        assert_eq!(queue.heads().count(), 1);
    }

    #[test]
    fn what_is_taken_out_is_gone_and_only_that() {
        let mut queue = Queue::default();
        let line = line(1);
        queue.insert(&line, rank(50, 1), TaskId::numbered(1));
        queue.insert(&line, rank(50, 2), TaskId::numbered(2));
        assert!(queue.remove(&line, rank(50, 1)));
        assert!(!queue.remove(&line, rank(50, 1)));
        assert_eq!(
            queue.head(&line.class),
            Some((rank(50, 2), &line, &TaskId::numbered(2)))
        );
        assert_eq!(queue.ahead_of_new(Priority::DEFAULT), 1);
        assert!(queue.remove(&line, rank(50, 2)));
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.waiting_of(&line.user), 0);
    }

    #[test]
    fn a_back_off_ends_at_its_time() {
        let (mut queue, line) = (Queue::default(), line(1));
        queue.back_off(&line, Mono(100), TaskId::numbered(1));
        queue.back_off(&line, Mono(200), TaskId::numbered(2));
        assert_eq!(queue.waiting_of(&line.user), 2);
        assert!(queue.backed_off(Mono(99)).is_empty());
        assert_eq!(queue.backed_off(Mono(100)), [TaskId::numbered(1)]);
        assert_eq!(queue.len(), 1);
        assert!(queue.remove_backing_off(Mono(200), &TaskId::numbered(2)));
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.waiting_of(&line.user), 0);
    }

    #[test]
    fn what_is_on_hold_waits_and_is_nobodys_head() {
        let (mut queue, line) = (Queue::default(), line(1));
        queue.hold(&line, rank(50, 2), TaskId::numbered(2));
        queue.hold(&line, rank(50, 1), TaskId::numbered(1));
        assert_eq!((queue.len(), queue.ready_count()), (2, 0));
        assert_eq!(queue.heads().count(), 0);
        let held: Vec<_> = queue.on_hold().cloned().collect();
        assert_eq!(held, [1, 2].map(TaskId::numbered));
        assert!(queue.remove_on_hold(rank(50, 2)));
        assert!(!queue.remove_on_hold(rank(50, 2)));
        assert_eq!(queue.waiting_of(&line.user), 1);
    }
    #[test]
    fn a_place_is_the_count_of_all_that_go_before_over_levels_lines_and_blocks() {
        // Given ready tasks of two lines and three levels, some on hold, and some gone again,
        let (one, two) = (line_of("ann", 1), line_of("bob", 2));
        let (mut queue, mut ready, mut held) = (Queue::default(), Vec::new(), Vec::new());
        for order in 0..6000 {
            let rank = rank([10, 50, 90][order as usize % 3], order);
            match order % 7 {
                0 => queue.hold(&one, rank, TaskId::numbered(order)),
                1 | 2 => queue.insert(&one, rank, TaskId::numbered(order)),
                _ => queue.insert(&two, rank, TaskId::numbered(order)),
            }
            match order % 7 {
                0 if order % 5 == 0 => assert!(queue.remove_on_hold(rank)),
                0 => held.push(rank),
                1 => assert!(queue.remove(&one, rank)),
                _ => ready.push(rank),
            }
        }
        // when it is asked for a place, then it is where one comes to who counts.
        ready.sort();
        held.sort();
        for (place, rank) in ready.iter().enumerate() {
            assert_eq!(queue.ahead_of(*rank), place);
        }
        for (place, rank) in held.iter().enumerate() {
            assert_eq!(queue.held_ahead_of(*rank), place);
        }
        assert_eq!(queue.ready_blocks.len(), 3 * 6);
        for order in 0..6000 {
            let rank = rank([10, 50, 90][order as usize % 3], order);
            let _ =
                queue.remove(&one, rank) || queue.remove(&two, rank) || queue.remove_on_hold(rank);
        }
        assert!(queue.ready_blocks.is_empty() && queue.held_blocks.is_empty());
    }
}
