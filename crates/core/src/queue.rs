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

    /// How far into its block this is.
    fn place_in_block(self) -> u64 {
        self.order % Self::BLOCK
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
    /// Classes that have got a first task, or one of higher rank, since this was last asked.
    fresh: BTreeSet<Arc<TaskClass>>,
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
        let first = of_class.head_of(&line.user);
        if first.is_some() && first != before {
            self.fresh.insert(line.class.clone());
        }
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

    /// Lets all lines of a user stand among the others again; how many did.
    pub(crate) fn stand_again(&mut self, user: &UserName) -> usize {
        let Some(of_user) = self.users.get_mut(user) else {
            return 0;
        };
        let aside = std::mem::take(&mut of_user.aside);
        let lines = aside.len();
        for class in aside {
            let Some(of_class) = self.ready.get_mut(&class) else {
                continue;
            };
            if let Some(ready) = of_class.lines.get_mut(user) {
                ready.aside = false;
            }
            of_class.mend_head(None, user);
            self.fresh.insert(class);
        }
        lines
    }

    /// Classes that have got a first task, or one of higher rank, since this was last asked.
    pub(crate) fn take_fresh(&mut self) -> BTreeSet<Arc<TaskClass>> {
        std::mem::take(&mut self.fresh)
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
        self.ready_blocks.before(rank)
    }

    /// How many tasks on hold go before this rank.
    pub(crate) fn held_ahead_of(&self, rank: Rank) -> usize {
        self.held_blocks.before(rank)
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
mod tests;
