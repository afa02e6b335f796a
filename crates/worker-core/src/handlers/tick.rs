//! What time brings: things forgotten, containers that nobody knows.

use std::{collections::BTreeMap, time::Duration};

use cloudai_model::{AttemptId, Now};

use crate::{
    core::{Step, WorkerCore},
    effect::Effect,
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

    /// Removes containers of this worker that no record has known for a while: what is left when
    /// the spool was deleted, or a removal given up.
    pub(crate) fn containers(&mut self, step: &mut Step<'_>, found: Vec<AttemptId>) {
        if !self.ready {
            return;
        }
        let known = std::mem::take(&mut self.orphans);
        let unheld = found
            .into_iter()
            .filter(|id| !self.attempts.contains_key(id));
        let now = step.now.mono;
        self.orphans = unheld
            .map(|id| {
                let since = known.get(&id).copied().unwrap_or(now);
                (id, since)
            })
            .collect::<BTreeMap<_, _>>();
        for (id, since) in &self.orphans {
            if now.since(*since) >= self.settings.orphan_grace {
                step.out.push(Effect::RemoveOrphan(id.clone()));
            }
        }
    }
}
