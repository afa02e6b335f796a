//! Workers on which several different tasks fail in a row, and who is to blame for that.
//!
//! A task that fails says little about its worker: most tasks that fail would fail anywhere. So a
//! failure is weighed by what else is known of its sort, which is user and image:
//!
//! - The sort's last end on another worker was a failure, too: the task is to blame, and the
//!   failure doesn't count.
//! - It was a success there: it counts.
//! - Nothing is known of it elsewhere: it counts, but only once for each user.
//!
//! A worker is suspect when enough different tasks failed on it that count, of two sorts at least,
//! and none succeeded in between. So nobody's batch of failing tasks makes a worker suspect by
//! itself, whatever its size; and a machine that breaks what runs well elsewhere is soon found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloudai_model::{TaskId, TaskSpec, WorkerId};

use crate::settings::fnv1a;

/// Of more sorts the oldest is forgotten: then nothing is known of it.
const MOST_SORTS: usize = 10_000;
/// Of a longer run of failures the first are forgotten.
const LONGEST_RUN: usize = 100;
/// Failures of fewer sorts than these tell nothing.
const LEAST_SORTS: usize = 2;

/// Where a task comes from, as hashes: a task is held a million times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    user: u64,
    /// Of user and image.
    sort: u64,
}

impl Origin {
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        let user = spec.user.as_str().bytes();
        let image = spec.image.as_str().bytes();
        Self {
            user: fnv1a(user.clone()),
            sort: fnv1a(user.chain([0]).chain(image)),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    sorts: BTreeMap<u64, LastEnds>,
    oldest_sort_first: VecDeque<u64>,
    runs: BTreeMap<WorkerId, Run>,
}

/// How a sort's tasks last ended, on the two workers where one ended last: enough to know of
/// another worker than a given one.
#[derive(Debug, Default)]
struct LastEnds(Vec<(WorkerId, bool)>);

/// What has gone wrong on a worker since something last went well.
#[derive(Debug, Default)]
struct Run {
    failures: VecDeque<(TaskId, Origin)>,
    /// How often it was set aside.
    times_aside: u32,
}

impl LastEnds {
    fn note(&mut self, worker: &WorkerId, succeeded: bool) {
        self.0.retain(|(on, _)| on != worker);
        self.0.insert(0, (worker.clone(), succeeded));
        self.0.truncate(2);
    }

    /// Whether the last end on another worker than this was a success.
    fn elsewhere_than(&self, worker: &WorkerId) -> Option<bool> {
        let other = self.0.iter().find(|(on, _)| on != worker);
        other.map(|(_, succeeded)| *succeeded)
    }
}

impl Suspicion {
    /// A task succeeded on this worker: it is well.
    pub(crate) fn succeeded(&mut self, worker: &WorkerId, origin: Origin) {
        self.note(worker, origin, true);
        self.runs.remove(worker);
    }

    /// A task failed by itself on this worker; how many failures in a row speak against the
    /// worker now.
    pub(crate) fn failed(&mut self, worker: &WorkerId, task: &TaskId, origin: Origin) -> usize {
        self.note(worker, origin, false);
        let run = self.runs.entry(worker.clone()).or_default();
        run.failures.retain(|(failed, _)| failed != task);
        run.failures.push_back((task.clone(), origin));
        if run.failures.len() > LONGEST_RUN {
            run.failures.pop_front();
        }
        self.against(worker)
    }

    /// The worker is set aside: how often it had been, in a row. What failed counts no more.
    pub(crate) fn set_aside(&mut self, worker: &WorkerId) -> u32 {
        let run = self.runs.entry(worker.clone()).or_default();
        run.failures.clear();
        run.times_aside = run.times_aside.saturating_add(1);
        run.times_aside - 1
    }

    /// Nothing is held against the worker any more.
    pub(crate) fn absolve(&mut self, worker: &WorkerId) {
        self.runs.remove(worker);
    }

    fn note(&mut self, worker: &WorkerId, origin: Origin, succeeded: bool) {
        let known = self.sorts.entry(origin.sort).or_insert_with(|| {
            self.oldest_sort_first.push_back(origin.sort);
            LastEnds::default()
        });
        known.note(worker, succeeded);
        if self.oldest_sort_first.len() > MOST_SORTS
            && let Some(oldest) = self.oldest_sort_first.pop_front()
        {
            self.sorts.remove(&oldest);
        }
    }

    /// How many failures speak against a worker; 0 unless they are of several sorts.
    fn against(&self, worker: &WorkerId) -> usize {
        let Some(run) = self.runs.get(worker) else {
            return 0;
        };
        let (mut sorts, mut unknown_users) = (BTreeSet::new(), BTreeSet::new());
        let counts = run.failures.iter().filter(|(_, origin)| {
            let ends = self.sorts.get(&origin.sort);
            let counts = match ends.and_then(|ends| ends.elsewhere_than(worker)) {
                Some(sound_elsewhere) => sound_elsewhere,
                None => unknown_users.insert(origin.user),
            };
            if counts {
                sorts.insert(origin.sort);
            }
            counts
        });
        let count = counts.count();
        if sorts.len() < LEAST_SORTS { 0 } else { count }
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::TaskDraft;

    use super::*;

    fn id(text: &str) -> WorkerId {
        text.parse().unwrap()
    }

    fn from(user: &str, image: &str) -> Origin {
        let draft = TaskDraft {
            user_id: Some(user.into()),
            docker_image: image.into(),
            ..TaskDraft::default()
        };
        Origin::of(&draft.check().unwrap().1)
    }

    #[test]
    fn what_runs_well_elsewhere_speaks_against_the_worker_where_it_fails() {
        let mut known = Suspicion::default();
        let (train, score) = (from("ann", "train"), from("ann", "score"));
        known.succeeded(&id("b"), train);
        known.succeeded(&id("c"), score);
        let against: Vec<_> = (1..=4)
            .map(|n| known.failed(&id("a"), &TaskId::numbered(n), train))
            .collect();
        assert_eq!(against, [0, 0, 0, 0], "of one sort");
        assert_eq!(known.failed(&id("a"), &TaskId::numbered(5), score), 5);
        // One that is tried there again is no other task.
        assert_eq!(known.failed(&id("a"), &TaskId::numbered(5), score), 5);
        // One success, and all is forgotten.
        known.succeeded(&id("a"), train);
        assert_eq!(known.failed(&id("a"), &TaskId::numbered(6), train), 0);
    }

    #[test]
    fn a_batch_that_fails_everywhere_speaks_against_nobody() {
        let mut known = Suspicion::default();
        let workers = ["a", "b", "c", "d"].map(id);
        for n in 0..1000 {
            let worker = &workers[n as usize % workers.len()];
            let images = ["one", "two", "three"];
            let origin = from("eve", images[n as usize % images.len()]);
            assert_eq!(known.failed(worker, &TaskId::numbered(n), origin), 0);
        }
    }

    #[test]
    fn of_one_user_unknown_images_count_once_and_of_several_users_each() {
        let mut known = Suspicion::default();
        for n in 0..50 {
            let origin = from("eve", &format!("image-{n}"));
            let against = known.failed(&id("a"), &TaskId::numbered(n), origin);
            assert_eq!(against, 0, "one failure of one sort that counts");
        }
        let bob = known.failed(&id("a"), &TaskId::numbered(50), from("bob", "x"));
        let ann = known.failed(&id("a"), &TaskId::numbered(51), from("ann", "x"));
        assert_eq!((bob, ann), (2, 3));
        // What fails elsewhere, too, is taken back.
        known.failed(&id("b"), &TaskId::numbered(52), from("bob", "x"));
        let again = known.failed(&id("a"), &TaskId::numbered(53), from("bob", "x"));
        assert_eq!(again, 2);
    }

    #[test]
    fn sorts_beyond_the_limit_are_forgotten_oldest_first() {
        let mut known = Suspicion::default();
        for n in 0..MOST_SORTS + 10 {
            known.succeeded(&id("a"), from("ann", &format!("image-{n}")));
        }
        assert_eq!(known.sorts.len(), MOST_SORTS);
        assert!(!known.sorts.contains_key(&from("ann", "image-0").sort));
    }

    #[test]
    fn times_aside_are_counted_until_a_success() {
        let mut known = Suspicion::default();
        assert_eq!(known.set_aside(&id("a")), 0);
        assert_eq!(known.set_aside(&id("a")), 1);
        known.succeeded(&id("a"), from("ann", "x"));
        assert_eq!(known.set_aside(&id("a")), 0);
        known.absolve(&id("a"));
        assert_eq!(known.set_aside(&id("a")), 0);
    }
}
