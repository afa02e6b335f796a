//! What of a task may be changed after its submit.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    draft::{DraftErrors, Errors},
    spec::{Priority, TaskSpec},
    time::Wall,
};

/// What becomes of one thing that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Clear,
    /// It is this from now on.
    To(T),
}

impl<T> Setting<T> {
    /// Whether it stays as it is.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }

    fn map<U>(self, change: impl FnOnce(T) -> Option<U>) -> Setting<U> {
        match self {
            Self::Keep => Setting::Keep,
            Self::Clear => Setting::Clear,
            // What can't be was named as a mistake.
            Self::To(value) => change(value).map_or(Setting::Keep, Setting::To),
        }
    }
}

impl<T: Clone> Setting<T> {
    fn apply(&self, place: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *place = None,
            Self::To(value) => *place = Some(value.clone()),
        }
    }

    fn apply_or_default(&self, place: &mut T)
    where
        T: Default,
    {
        match self {
            Self::Keep => {}
            Self::Clear => *place = T::default(),
            Self::To(value) => place.clone_from(value),
        }
    }
}

/// A change as a caller sent it, unchecked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangeDraft {
    /// Shown name; cleared it is empty.
    pub name: Setting<String>,
    /// 0 to 100; cleared it is the default.
    pub priority: Setting<i64>,
    /// When it should be done.
    pub deadline: Setting<Wall>,
    /// Longest run in seconds.
    pub timeout_s: Setting<f64>,
    /// All labels anew; cleared there are none.
    pub labels: Setting<BTreeMap<String, String>>,
    /// Whether it waits until somebody releases it; cleared it doesn't.
    pub hold: Setting<bool>,
}

/// A change of a task that has not ended. Made by [`ChangeDraft::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskChange {
    /// Shown name.
    pub name: Setting<String>,
    /// Its place in the queue.
    pub priority: Setting<Priority>,
    /// When it should be done.
    pub deadline: Setting<Wall>,
    /// How long it may run.
    pub timeout: Setting<Duration>,
    /// All labels anew.
    pub labels: Setting<BTreeMap<String, String>>,
    /// Whether it waits until somebody releases it.
    pub hold: Setting<bool>,
}

impl ChangeDraft {
    /// Checks it whole.
    ///
    /// # Errors
    /// Every field that is wrong, as [`crate::TaskDraft::check`] names it.
    pub fn check(self) -> Result<TaskChange, DraftErrors> {
        let mut errors = Errors::default();
        let timeout = self
            .timeout_s
            .map(|seconds| errors.span("timeout_s", Some(seconds)));
        let name = self.name.map(|name| {
            let before = errors.0.len();
            let name = errors.word("name", name);
            (errors.0.len() == before).then_some(name)
        });
        let priority = self.priority.map(|level| {
            let before = errors.0.len();
            let priority = errors.priority(Some(level));
            (errors.0.len() == before).then_some(priority)
        });
        let labels = self.labels.map(|labels| {
            let before = errors.0.len();
            let labels = errors.labels(labels);
            (errors.0.len() == before).then_some(labels)
        });
        errors.into_result()?;
        Ok(TaskChange {
            name,
            priority,
            deadline: self.deadline,
            timeout,
            labels,
            hold: self.hold,
        })
    }
}

impl TaskChange {
    /// Makes it in what the task's user asked for.
    pub fn apply(&self, spec: &mut TaskSpec) {
        self.name.apply_or_default(&mut spec.name);
        self.priority.apply_or_default(&mut spec.priority);
        self.deadline.apply(&mut spec.deadline);
        self.timeout.apply(&mut spec.timeout);
        self.labels.apply_or_default(&mut spec.labels);
        self.hold.apply_or_default(&mut spec.hold);
    }
}

impl TaskSpec {
    /// Whether both are of one submit, whatever of them was changed since.
    #[must_use]
    pub fn is_same_but_for_changes(&self, other: &Self) -> bool {
        let mut changed = self.clone();
        changed.name.clone_from(&other.name);
        changed.priority = other.priority;
        changed.deadline = other.deadline;
        changed.timeout = other.timeout;
        changed.labels.clone_from(&other.labels);
        changed.hold = other.hold;
        changed == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskDraft;

    fn spec(timeout_s: Option<f64>) -> TaskSpec {
        let draft = TaskDraft {
            docker_image: "alpine".into(),
            timeout_s,
            ..TaskDraft::default()
        };
        draft.check().unwrap().1
    }

    fn changed(mut spec: TaskSpec, timeout_s: Setting<f64>) -> Option<Duration> {
        let change = ChangeDraft {
            timeout_s,
            ..ChangeDraft::default()
        }
        .check()
        .unwrap();
        change.apply(&mut spec);
        spec.timeout
    }

    #[test]
    fn a_time_out_is_set_taken_away_or_left() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(changed(spec(None), Setting::To(5.0)), five);
        assert_eq!(changed(spec(Some(9.0)), Setting::To(5.0)), five);
        assert_eq!(changed(spec(Some(5.0)), Setting::Clear), None);
        assert_eq!(changed(spec(Some(5.0)), Setting::Keep), five);
    }

    #[test]
    fn what_can_not_be_is_named_by_its_field() {
        for seconds in [0.0, -1.0, f64::NAN, 1e18] {
            let timeout_s = Setting::To(seconds);
            let error = ChangeDraft {
                timeout_s,
                ..ChangeDraft::default()
            }
            .check()
            .unwrap_err()
            .to_string();
            assert!(error.starts_with("timeout_s: "), "{error}");
        }
    }

    #[test]
    fn a_changed_spec_is_of_the_same_submit_and_another_one_is_not() {
        assert!(spec(Some(1.0)).is_same_but_for_changes(&spec(None)));
        let mut other = spec(None);
        other.tag = "another".into();
        assert!(!spec(None).is_same_but_for_changes(&other));
    }
}
