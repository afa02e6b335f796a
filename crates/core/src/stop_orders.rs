//! What workers may still hold though nobody wants it: attempts of a worker that was unregistered,
//! or that was lost and hasn't been heard of since.
//!
//! An order ends when its worker has shown that it doesn't hold the attempt any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cloudai_model::{AttemptId, WorkerId, record::StopOrder};

/// Under which registrations former workers still have something to report.
pub type FormerRegistrations = BTreeMap<WorkerId, BTreeMap<u64, usize>>;

#[derive(Debug, Default)]
pub(crate) struct StopOrders {
    of_worker: BTreeMap<WorkerId, BTreeMap<AttemptId, StopOrder>>,
    registrations: Arc<FormerRegistrations>,
}

impl StopOrders {
    /// Adds an order; whether it is new.
    pub(crate) fn add(&mut self, order: StopOrder) -> bool {
        let orders = self.of_worker.entry(order.worker.clone()).or_default();
        if orders.contains_key(&order.attempt) {
            return false;
        }
        let registrations = Arc::make_mut(&mut self.registrations);
        let of_worker = registrations.entry(order.worker.clone()).or_default();
        *of_worker.entry(order.registration).or_default() += 1;
        orders.insert(order.attempt.clone(), order);
        true
    }

    /// Ends an order; whether there was one.
    pub(crate) fn end(&mut self, worker: &WorkerId, attempt: &AttemptId) -> bool {
        let Some(orders) = self.of_worker.get_mut(worker) else {
            return false;
        };
        let Some(order) = orders.remove(attempt) else {
            return false;
        };
        if orders.is_empty() {
            self.of_worker.remove(worker);
        }
        let registrations = Arc::make_mut(&mut self.registrations);
        if let Some(of_worker) = registrations.get_mut(worker) {
            if let Some(count) = of_worker.get_mut(&order.registration) {
                *count -= 1;
            }
            of_worker.retain(|_, count| *count > 0);
            if of_worker.is_empty() {
                registrations.remove(worker);
            }
        }
        true
    }

    /// Whether this worker is to stop this attempt.
    pub(crate) fn has(&self, worker: &WorkerId, attempt: &AttemptId) -> bool {
        let orders = self.of_worker.get(worker);
        orders.is_some_and(|orders| orders.contains_key(attempt))
    }

    /// Whether any worker is to stop this attempt.
    pub(crate) fn is_to_stop(&self, attempt: &AttemptId) -> bool {
        let mut of_workers = self.of_worker.values();
        of_workers.any(|orders| orders.contains_key(attempt))
    }

    /// What a worker is to stop.
    pub(crate) fn of(&self, worker: &WorkerId) -> impl Iterator<Item = &StopOrder> {
        self.of_worker
            .get(worker)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// All orders.
    pub(crate) fn all(&self) -> impl Iterator<Item = &StopOrder> {
        self.of_worker.values().flat_map(BTreeMap::values)
    }

    /// Every worker that is to stop something.
    pub(crate) fn workers(&self) -> BTreeSet<WorkerId> {
        self.of_worker.keys().cloned().collect()
    }

    pub(crate) fn registrations(&self) -> Arc<FormerRegistrations> {
        self.registrations.clone()
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::TaskId;

    use super::*;

    fn order(number: u64, registration: u64) -> StopOrder {
        StopOrder {
            attempt: AttemptId::new(TaskId::numbered(number), 1),
            worker: "w".parse().unwrap(),
            address: "localhost".parse().unwrap(),
            registration,
        }
    }

    #[test]
    fn a_registration_counts_until_its_last_order_has_ended() {
        let worker = "w".parse().unwrap();
        let mut orders = StopOrders::default();
        assert!(orders.add(order(1, 7)) && orders.add(order(2, 7)) && orders.add(order(3, 8)));
        assert!(!orders.add(order(1, 7)), "it is there");

        assert!(orders.end(&worker, &order(1, 7).attempt));
        assert!(!orders.end(&worker, &order(1, 7).attempt), "it was ended");
        assert!(orders.has(&worker, &order(2, 7).attempt));
        assert!(orders.registrations()[&worker].contains_key(&7));

        assert!(orders.end(&worker, &order(2, 7).attempt));
        assert_eq!(orders.registrations()[&worker], BTreeMap::from([(8, 1)]));
        assert!(orders.end(&worker, &order(3, 8).attempt));
        assert!(orders.registrations().is_empty() && orders.workers().is_empty());
    }
}
