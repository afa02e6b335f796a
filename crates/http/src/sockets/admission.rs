//! How many WebSockets there may be, and how many of one user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cloudai_api::Code;
use cloudai_model::UserName;
use tokio::sync::watch;

use crate::refusal::Refusal;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Shared>);

struct Shared {
    most: usize,
    most_of_user: usize,
    open: Mutex<HashMap<UserName, usize>>,
    count: watch::Sender<usize>,
}

/// A place that is taken until this is dropped.
pub(super) struct Seat {
    admission: Admission,
    user: UserName,
}

impl Admission {
    pub(crate) fn new(most: usize, most_of_user: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            most_of_user,
            open: Mutex::default(),
            count: watch::Sender::new(0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, usize>> {
        // A panic elsewhere leaves the counts whole: each is changed in one step.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one of this user's.
    pub(super) fn enter(&self, user: &UserName) -> Result<Seat, Refusal> {
        let mut open = self.lock();
        let full = |words: String| Err(Refusal::new(Code::Overloaded, words));
        if *self.0.count.borrow() >= self.0.most {
            let most = self.0.most;
            return full(format!(
                "{most} WebSockets are open already: try again when one has ended"
            ));
        }
        let of_user = open.entry(user.clone()).or_default();
        if *of_user >= self.0.most_of_user {
            let most = self.0.most_of_user;
            return full(format!(
                "{most} WebSockets of {user} are open already: close one first"
            ));
        }
        *of_user += 1;
        self.0.count.send_modify(|count| *count += 1);
        Ok(Seat {
            admission: self.clone(),
            user: user.clone(),
        })
    }

    /// Resolves when none is open.
    pub(crate) async fn empty(&self) {
        let mut count = self.0.count.subscribe();
        // The sender is `self`: it is there.
        let _ = count.wait_for(|count| *count == 0).await.is_ok();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.admission.lock();
        if let Some(of_user) = open.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                open.remove(&self.user);
            }
        }
        self.admission.0.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn nobody_takes_more_than_a_user_may_nor_all_more_than_there_are() {
        let (ada, bob): (UserName, UserName) = ("ada".parse().unwrap(), "bob".parse().unwrap());
        let admission = Admission::new(3, 2);
        let mut seats = vec![admission.enter(&ada).ok(), admission.enter(&ada).ok()];
        assert!(admission.enter(&ada).is_err(), "the user has two");
        let bobs = admission.enter(&bob);
        assert!(bobs.is_ok());
        assert!(admission.enter(&bob).is_err(), "there are three");
        // When one goes there is room again, and when all are gone nothing of them is left.
        seats.pop();
        assert!(admission.empty().now_or_never().is_none());
        let again = admission.enter(&ada);
        assert!(again.is_ok());
        drop((seats, bobs, again));
        assert!(admission.empty().now_or_never().is_some());
        assert!(admission.lock().is_empty());
    }
}
