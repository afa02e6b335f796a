//! What time brings: things forgotten, containers that nobody knows.

use std::{collections::BTreeMap, time::Duration};

use cloudai_model::Now;

use crate::{
    core::{Step, WorkerCore},
    effect::Effect,
    input::Labelled,
};

/// How long a refused record keeps the worker from taking anything new. Only a new record shows
/// whether the disk is well again.
const SPOOL_REST: Duration = Duration::from_secs(30);

impl WorkerCore {
    pub(crate) fn tick(&mut self, now: Now) {
        self.memory.forget(now.mono, self.settings.memory);
        if let Some((at, _)) = &self.spool_unwell
            && now.mono.since(*at) > SPOOL_REST
        {
            self.spool_unwell = None;
        }
    }

    pub(crate) fn disk_has_room(&mut self) {
        if self.disk_full.take().is_some() {
            // What it refused while it was full says nothing of now.
            self.spool_unwell = None;
        }
    }

    /// Removes containers of this worker that no record has known for a while: what is left when
    /// the spool was deleted, or a removal given up.
    pub(crate) fn containers(&mut self, step: &mut Step<'_>, found: Vec<Labelled>) {
        if !self.ready {
            return;
        }
        let known = std::mem::take(&mut self.orphans);
        let unheld = found.into_iter().filter(|found| !self.is_held(found));
        let now = step.now.mono;
        self.orphans = unheld
            .map(|found| {
                let since = known.get(&found).copied().unwrap_or(now);
                (found, since)
            })
            .collect::<BTreeMap<_, _>>();
        for (found, since) in &self.orphans {
            let is_due = now.since(*since) >= self.settings.orphan_grace;
            let is_due = is_due || self.disowned.contains(&found.attempt);
            let is_due = is_due || self.sabotage.sweeps_all;
            if is_due && self.removing.insert(found.clone()) {
                step.out.push(Effect::RemoveOrphan(found.clone()));
            }
        }
    }

    fn is_held(&self, found: &Labelled) -> bool {
        let held = self.attempts.get(&found.attempt);
        let held = held.filter(|_| !self.sabotage.sweeps_all);
        held.is_some_and(|held| held.record.order.cluster == found.cluster)
    }
}
