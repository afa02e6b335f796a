//! Commands about workers.

use cloudai_core::registry::UnknownWorker;
use cloudai_model::{WorkerAddress, WorkerId};

use super::{Failed, Session, as_json};
use crate::{
    output::Answer,
    render::{json::StatsJson, stats, workers},
};

/// Where to look for the right id.
const ELSEWHERE: &str = ": `workers` shows those that are";

impl Session {
    /// For `map_err`: as [`Failed::to`], and where to look if there is no such worker.
    fn of_worker<E: std::error::Error>(
        &self,
        worker: &WorkerId,
        what: &'static str,
    ) -> impl FnOnce(E) -> Failed {
        let known = self.operator.snapshot().workers.contains_key(worker);
        move |error| {
            let Failed(why) = Failed::to(what)(error);
            Failed(if known { why } else { why + ELSEWHERE })
        }
    }

    pub(super) async fn workers(&self, answer: &Answer, json: bool) -> Result<(), Failed> {
        let (snapshot, now) = (self.operator.snapshot(), self.operator.now());
        let style = self.output.style();
        if json {
            let workers = snapshot.workers.values();
            let list: Vec<_> = workers
                .map(|worker| cloudai_api::Worker::new(worker, now))
                .collect();
            return as_json(answer, &list).await;
        }
        answer.text(workers::workers(&snapshot, now, style)).await;
        Ok(())
    }

    pub(super) async fn stats(
        &self,
        answer: &Answer,
        worker: &WorkerId,
        json: bool,
    ) -> Result<(), Failed> {
        let (snapshot, now) = (self.operator.snapshot(), self.operator.now());
        let Some(worker) = snapshot.workers.get(worker) else {
            let unknown = UnknownWorker(worker.clone());
            return Err(Failed(format!("{unknown}{ELSEWHERE}")));
        };
        let mut running = Vec::with_capacity(worker.attempts.len());
        for attempt in &worker.attempts {
            let view = self.operator.task(&attempt.task).await?;
            let record = view.map(|view| view.record);
            let record = record.filter(|record| record.state.attempt == attempt.number);
            running.push((attempt.clone(), record));
        }
        if json {
            return as_json(answer, &StatsJson::new(worker, &running, now)).await;
        }
        let text = stats::stats(worker, &running, now, self.output.style());
        answer.text(text).await;
        Ok(())
    }

    pub(super) async fn register(
        &self,
        answer: &Answer,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<(), Failed> {
        let done = self.operator.register(worker, address).await;
        let done = done.map_err(Failed::to("register worker"))?;
        let (worker, address) = (&done.record.worker, &done.record.address);
        let start = format!(
            "   On that machine: worker-node -id {worker} -master {} -token {}",
            done.master_address, done.token
        );
        if done.already {
            let why = format!("Failed to register worker: worker {worker} already registered");
            return Err(Failed(format!("{why}\n{start}")));
        }
        answer
            .text(format!(
                "✅ Worker {worker} registered with address {address}\n   \
                 Note: Worker will send full specs when it connects\n{start}\n"
            ))
            .await;
        Ok(())
    }

    pub(super) async fn unregister(
        &self,
        answer: &Answer,
        worker: &WorkerId,
    ) -> Result<(), Failed> {
        let taken = self.operator.unregister(worker).await;
        let taken = taken.map_err(self.of_worker(worker, "unregister worker"))?;
        answer
            .line(format!("✅ Worker {worker} unregistered"))
            .await;
        if !taken.is_empty() {
            let note = match taken.len() {
                1 => "1 task was stopped there and waits again".to_owned(),
                count => format!("{count} tasks were stopped there and wait again"),
            };
            answer.line(format!("   Note: {note}")).await;
        }
        Ok(())
    }

    pub(super) async fn drain(
        &self,
        answer: &Answer,
        worker: &WorkerId,
        draining: bool,
    ) -> Result<(), Failed> {
        let what = if draining {
            "drain worker"
        } else {
            "undrain worker"
        };
        let left = self.operator.drain(worker, draining).await;
        let left = left.map_err(self.of_worker(worker, what))?;
        if !draining {
            answer
                .line(format!("✓ Worker {worker} takes tasks again"))
                .await;
            return Ok(());
        }
        let left = match left.len() {
            0 => "nothing runs there".to_owned(),
            1 => "1 attempt goes on there to its end".to_owned(),
            count => format!("{count} attempts go on there to their ends"),
        };
        let text = format!("✓ Worker {worker} is given nothing new; {left}");
        answer.line(text).await;
        Ok(())
    }
}
