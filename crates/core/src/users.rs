//! What each user may have of the workers at a time, and what each has.
//!
//! Counted by the registry with every promise that it makes or takes back, so that nothing else has to
//! remember to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use cloudai_model::{Grant, Resources, UserLimits, UserName, resources::bytes_to_gb};

use crate::explain::ResourceKind;

/// See the module. A copy shares what has not changed.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// For everybody, where a user's own say nothing.
    everybody: UserLimits,
    own: Arc<BTreeMap<UserName, UserLimits>>,
    /// Of users who have anything.
    used: Arc<BTreeMap<UserName, Used>>,
    /// Who may have more than when [`Self::take_eased`] was last asked.
    eased: BTreeSet<UserName>,
}

/// What is promised to a user's attempts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Thousandths of a GPU.
    pub gpu_milli: u64,
}

/// A user's limit that stands against a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// Whose.
    pub user: UserName,
    /// What of.
    pub kind: ResourceKind,
    /// The most that the user may have at a time, in the kind's unit.
    pub limit: u64,
    /// What the user has.
    pub used: u64,
    /// What the task wants.
    pub wanted: u64,
}

impl Users {
    /// With limits that hold for everybody who has none of their own.
    pub(crate) fn new(everybody: UserLimits) -> Self {
        Self {
            everybody,
            ..Self::default()
        }
    }

    /// The limits that hold for a user.
    #[must_use]
    pub fn limits(&self, user: &UserName) -> UserLimits {
        match self.own.get(user) {
            Some(own) => own.or(self.everybody),
            None => self.everybody,
        }
    }

    /// What a user has now.
    #[must_use]
    pub fn used(&self, user: &UserName) -> Used {
        self.used.get(user).copied().unwrap_or_default()
    }

    /// Whether a user may have this besides what they have.
    ///
    /// # Errors
    /// The first limit that stands against it, one that always will before others.
    pub fn admit(&self, user: &UserName, wanted: &Resources) -> Result<(), LimitReached> {
        self.could_admit(user, wanted)?;
        self.within(user, wanted, self.used(user))
    }

    /// Whether a user may have this if they have nothing else.
    ///
    /// # Errors
    /// The first limit that stands against it, and always will.
    pub fn could_admit(&self, user: &UserName, wanted: &Resources) -> Result<(), LimitReached> {
        self.within(user, wanted, Used::default())
    }

    fn within(&self, user: &UserName, wanted: &Resources, used: Used) -> Result<(), LimitReached> {
        let limits = self.limits(user);
        if limits == UserLimits::default() {
            return Ok(());
        }
        let gpu_milli = u64::from(wanted.gpu.milli());
        let amounts = [
            (
                ResourceKind::Cpu,
                limits.cpu_milli,
                used.cpu_milli,
                wanted.cpu_milli,
            ),
            (
                ResourceKind::Memory,
                limits.memory_bytes,
                used.memory_bytes,
                wanted.memory_bytes,
            ),
            (
                ResourceKind::Gpu,
                limits.gpu_milli,
                used.gpu_milli,
                gpu_milli,
            ),
        ];
        for (kind, limit, used, wanted) in amounts {
            // Who wants none of it is not held up by having too much.
            if let Some(limit) = limit
                && wanted > 0
                && used.saturating_add(wanted) > limit
            {
                return Err(LimitReached {
                    user: user.clone(),
                    kind,
                    limit,
                    used,
                    wanted,
                });
            }
        }
        Ok(())
    }

    /// Gives a user limits of their own, in place of those that they had.
    pub(crate) fn set_limits(&mut self, user: UserName, limits: UserLimits) {
        let own = Arc::make_mut(&mut self.own);
        match limits == UserLimits::default() {
            true => own.remove(&user),
            false => own.insert(user.clone(), limits),
        };
        self.eased.insert(user);
    }

    pub(crate) fn add(&mut self, user: &UserName, grant: &Grant) {
        let used = Arc::make_mut(&mut self.used);
        if !used.contains_key(user) {
            used.insert(user.clone(), Used::default());
        }
        if let Some(used) = used.get_mut(user) {
            used.cpu_milli += grant.cpu_milli;
            used.memory_bytes += grant.memory_bytes;
            used.gpu_milli += gpu_milli(grant);
        }
    }

    /// Takes back what [`Self::add`] added.
    pub(crate) fn subtract(&mut self, user: &UserName, grant: &Grant) {
        let all = Arc::make_mut(&mut self.used);
        if let Some(used) = all.get_mut(user) {
            used.cpu_milli -= grant.cpu_milli;
            used.memory_bytes -= grant.memory_bytes;
            used.gpu_milli -= gpu_milli(grant);
            if *used == Used::default() {
                all.remove(user);
            }
        }
        if !self.eased.contains(user) {
            self.eased.insert(user.clone());
        }
    }

    /// Those who may have more than when this was last asked.
    pub(crate) fn take_eased(&mut self) -> BTreeSet<UserName> {
        std::mem::take(&mut self.eased)
    }
}

fn gpu_milli(grant: &Grant) -> u64 {
    let shares = grant.devices.iter();
    shares.map(|share| u64::from(share.milli)).sum()
}

impl LimitReached {
    /// Whether the task wants more than the user may ever have.
    #[must_use]
    pub fn is_for_ever(&self) -> bool {
        self.wanted > self.limit
    }
}

impl fmt::Display for LimitReached {
    /// `alice has 8.0 of 8 cores in use, and this needs 2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, kind, .. } = self;
        let limit = number(*kind, self.limit);
        let unit = match kind {
            ResourceKind::Cpu if self.limit == 1000 => "core",
            ResourceKind::Cpu => "cores",
            ResourceKind::Memory => "GB of memory",
            ResourceKind::Storage => "GB of storage",
            ResourceKind::Gpu if self.limit == 1000 => "GPU",
            ResourceKind::Gpu => "GPUs",
        };
        let wanted = number(*kind, self.wanted);
        if self.is_for_ever() {
            return write!(
                f,
                "{user} may use {limit} {unit} at a time, and this needs {wanted}"
            );
        }
        let used = number(*kind, self.used);
        let used = match used.contains('.') {
            true => used,
            false => format!("{used}.0"),
        };
        write!(
            f,
            "{user} has {used} of {limit} {unit} in use, and this needs {wanted}"
        )
    }
}

/// In cores, GB or GPUs, with as few decimals as do.
fn number(kind: ResourceKind, amount: u64) -> String {
    let amount = match kind {
        ResourceKind::Cpu | ResourceKind::Gpu => amount as f64 / 1000.0,
        ResourceKind::Memory | ResourceKind::Storage => {
            (bytes_to_gb(amount) * 1000.0).round() / 1000.0
        }
    };
    format!("{amount}")
}

#[cfg(test)]
mod tests {
    use cloudai_model::{DeviceShare, GpuRequest, resources::GB};

    use super::*;

    fn alice() -> UserName {
        "alice".parse().unwrap()
    }

    fn with_limits(limits: UserLimits) -> Users {
        let mut users = Users::default();
        users.set_limits(alice(), limits);
        users
    }

    fn cores(cpu_milli: u64) -> Resources {
        Resources {
            cpu_milli,
            ..Resources::default()
        }
    }

    #[test]
    fn a_limit_is_told_with_what_is_used_and_what_is_wanted() {
        let mut users = with_limits(UserLimits {
            cpu_milli: Some(8000),
            memory_bytes: Some(4 * GB),
            gpu_milli: Some(1000),
            ..UserLimits::default()
        });
        users.add(
            &alice(),
            &Grant {
                cpu_milli: 8000,
                memory_bytes: 3 * GB + GB / 2,
                devices: vec![DeviceShare {
                    device: 3,
                    milli: 250,
                }],
                ..Grant::default()
            },
        );

        let words = |wanted: Resources| users.admit(&alice(), &wanted).unwrap_err().to_string();
        assert_eq!(
            words(cores(500)),
            "alice has 8.0 of 8 cores in use, and this needs 0.5"
        );
        let memory = Resources {
            memory_bytes: GB,
            ..Resources::default()
        };
        assert_eq!(
            words(memory),
            "alice has 3.5 of 4 GB of memory in use, and this needs 1"
        );
        let gpu = |gpu| Resources {
            gpu,
            ..Resources::default()
        };
        assert_eq!(
            words(gpu(GpuRequest::Whole(1))),
            "alice has 0.25 of 1 GPU in use, and this needs 1"
        );
        assert_eq!(
            words(cores(16_000)),
            "alice may use 8 cores at a time, and this needs 16"
        );
        assert_eq!(users.admit(&alice(), &gpu(GpuRequest::Share(750))), Ok(()));
        assert_eq!(users.admit(&"bob".parse().unwrap(), &cores(500)), Ok(()));
    }

    #[test]
    fn what_never_fits_is_said_before_what_does_not_fit_now() {
        let mut users = with_limits(UserLimits {
            cpu_milli: Some(8000),
            memory_bytes: Some(GB),
            ..UserLimits::default()
        });
        let grant = Grant {
            cpu_milli: 8000,
            ..Grant::default()
        };
        users.add(&alice(), &grant);
        let wanted = Resources {
            memory_bytes: 2 * GB,
            ..cores(1000)
        };
        let limit = users.admit(&alice(), &wanted).unwrap_err();
        assert_eq!(
            (limit.kind, limit.is_for_ever()),
            (ResourceKind::Memory, true)
        );
        assert_eq!(users.could_admit(&alice(), &cores(8000)), Ok(()));
    }

    #[test]
    fn a_users_own_limits_go_before_those_of_everybody() {
        let everybody = UserLimits {
            cpu_milli: Some(1000),
            queued_tasks: Some(5),
            ..UserLimits::default()
        };
        let mut users = Users::new(everybody);
        users.set_limits(
            alice(),
            UserLimits {
                cpu_milli: Some(2000),
                ..UserLimits::default()
            },
        );
        assert_eq!(users.admit(&alice(), &cores(2000)), Ok(()));
        assert!(users.admit(&"bob".parse().unwrap(), &cores(2000)).is_err());
        assert_eq!(users.limits(&alice()).queued_tasks, Some(5));

        users.set_limits(alice(), UserLimits::default());
        assert!(users.admit(&alice(), &cores(2000)).is_err());
    }

    #[test]
    fn who_gives_something_back_is_told_once() {
        let mut users = Users::default();
        let grant = Grant {
            cpu_milli: 1000,
            ..Grant::default()
        };
        users.add(&alice(), &grant);
        assert!(users.take_eased().is_empty());
        users.subtract(&alice(), &grant);
        assert_eq!(users.take_eased(), BTreeSet::from([alice()]));
        assert!(users.take_eased().is_empty());
        assert_eq!(users.used(&alice()), Used::default());
    }
}
