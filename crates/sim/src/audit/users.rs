//! What users may have and what they asked for: nobody beyond their limits, nothing given to a worker
//! that is on hold, several tasks at once all or none.

use std::collections::BTreeMap;

use cloudai_model::{
    Grant, UserLimits, UserName,
    record::{AssignmentRecord, Record},
};

use super::{
    Seen, Told,
    ledger::Ledger,
    promises::Promises,
    violation::{Kind, Violation, ensure},
};

/// Tasks that were submitted at once carry this label: which batch, and of how many.
pub(crate) const BATCH_LABEL: &str = "batch";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// The limits that may hold for a user: the last that were known to, and those asked for since.
    limits: BTreeMap<UserName, Vec<UserLimits>>,
}

/// What a user has, or is given.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    cpu_milli: u64,
    memory_bytes: u64,
    gpu_milli: u64,
}

impl Sum {
    fn add(&mut self, grant: &Grant) {
        self.cpu_milli += grant.cpu_milli;
        self.memory_bytes += grant.memory_bytes;
        let shares = grant.devices.iter();
        self.gpu_milli += shares.map(|share| u64::from(share.milli)).sum::<u64>();
    }

    /// Whether it is within the limits in whatever the last one takes: who wants none of it may have
    /// too much, since their limit was lowered.
    fn is_within(&self, limits: &UserLimits, last: &Self) -> bool {
        let within = |sum: u64, wanted: u64, limit: Option<u64>| {
            wanted == 0 || limit.is_none_or(|limit| sum <= limit)
        };
        within(self.cpu_milli, last.cpu_milli, limits.cpu_milli)
            && within(self.memory_bytes, last.memory_bytes, limits.memory_bytes)
            && within(self.gpu_milli, last.gpu_milli, limits.gpu_milli)
    }
}

impl Users {
    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::LimitsAsked(user, limits) => {
                let none = || vec![UserLimits::default()];
                let known = self.limits.entry((*user).clone()).or_insert_with(none);
                known.push(**limits);
            }
            Seen::UserTold(Told::Limited(user, limits)) => {
                if let Some(known) = self.limits.get_mut(user) {
                    let last = known.iter().rposition(|known| known == limits);
                    known.drain(..last.unwrap_or(0));
                }
            }
            _ => {}
        }
    }

    pub(super) fn check(
        &self,
        ledger: &Ledger,
        promises: &Promises,
        record: &Record,
    ) -> Result<(), Violation> {
        match record {
            Record::Assignment(assignment) if assignment.ended.is_none() => {
                self.check_assignment(ledger, promises, assignment)
            }
            _ => Ok(()),
        }
    }

    fn check_assignment(
        &self,
        ledger: &Ledger,
        promises: &Promises,
        assignment: &AssignmentRecord,
    ) -> Result<(), Violation> {
        let attempt = &assignment.attempt;
        let Some(task) = ledger.tasks.get(&attempt.task) else {
            return Ok(());
        };
        ensure(!task.spec.hold, Kind::PlacedOnHold, || attempt.to_string())?;
        let user = &task.spec.user;
        let Some(limits) = self.limits.get(user) else {
            return Ok(());
        };
        let (mut sum, mut last) = (Sum::default(), Sum::default());
        last.add(&assignment.grant);
        sum.add(&assignment.grant);
        for open in ledger.open.values().flatten() {
            let of_user = ledger.tasks.get(&open.task);
            if of_user.is_some_and(|task| task.spec.user == *user)
                && !promises.has_exited(open)
                && let Some(open) = ledger.assignments.get(open)
            {
                sum.add(&open.grant);
            }
        }
        let within = limits.iter().any(|limits| sum.is_within(limits, &last));
        ensure(within, Kind::OverUserLimit, || {
            format!("with {attempt} {user} has {sum:?} and may have {limits:?}")
        })
    }

    /// What is flushed together has all of a batch, or nothing of it.
    pub(super) fn check_flush(flushed: &[Record]) -> Result<(), Violation> {
        let mut batches: BTreeMap<&str, usize> = BTreeMap::new();
        for record in flushed {
            if let Record::TaskAdded(task) = record
                && let Some(batch) = task.spec.labels.get(BATCH_LABEL)
            {
                *batches.entry(batch).or_default() += 1;
            }
        }
        for (batch, count) in batches {
            let whole = batch.ends_with(&format!("/{count}"));
            ensure(whole, Kind::BatchTorn, || {
                format!("{count} tasks of batch {batch}")
            })?;
        }
        Ok(())
    }
}
