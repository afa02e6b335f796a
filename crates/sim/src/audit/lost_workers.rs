//! A dead worker costs time, not work: when one has been silent for so long, its attempts are given
//! up.

use std::collections::BTreeMap;

use super::{
    Seen,
    ledger::Ledger,
    violation::{Kind, Violation, ensure},
};
use crate::{plan::Plan, wire::ToMaster};

/// The contract's silence after which tasks count as lost, and what a tick and a flush may take.
const LOST_AFTER_MS: u64 = 30_000 + 5_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LostWorkers {
    heard: BTreeMap<usize, u64>,
    /// From when on the master could notice.
    noticing_since: u64,
}

impl LostWorkers {
    pub(super) fn see(
        &mut self,
        ledger: &Ledger,
        now_ms: u64,
        seen: &Seen<'_>,
    ) -> Result<(), Violation> {
        match seen {
            Seen::ArrivedAtMaster {
                worker,
                request: ToMaster::Hello(_) | ToMaster::Heartbeat(_),
            } => {
                self.heard.insert(*worker, now_ms);
            }
            Seen::MasterReady => self.noticing_since = now_ms,
            Seen::Second {
                master_troubled: true,
            } => self.noticing_since = now_ms,
            Seen::Second {
                master_troubled: false,
            } => {
                for (worker, heard) in &self.heard {
                    let since = (*heard).max(self.noticing_since);
                    let name = Plan::worker_name(*worker);
                    let mut open = ledger.open.iter().filter(|(id, _)| id.as_str() == name);
                    let open = open.find_map(|(_, attempts)| attempts.first());
                    let kept = open.is_some() && now_ms - since > LOST_AFTER_MS;
                    ensure(!kept, Kind::LostWorkerKept, || {
                        let silent_s = (now_ms - since) / 1000;
                        format!("{name} is silent for {silent_s} s and has {open:?}")
                    })?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
