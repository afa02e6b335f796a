//! How each fault begins and ends.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    chronicle::FAULT,
    plan::{Fault, Planned, Target},
    site::Site,
};

/// Lets a plan happen, until its end or until told to stop; then everything is put right. What of it
/// did happen.
///
/// # Panics
/// If a fault can't be brought about.
pub async fn happen(
    site: Arc<Site>,
    plan: Vec<Planned>,
    stop: watch::Receiver<bool>,
) -> Vec<Planned> {
    let began = Instant::now();
    let mut all = JoinSet::new();
    for planned in plan {
        let (site, mut stop) = (site.clone(), stop.clone());
        all.spawn(async move {
            if is_stopped_by(began + planned.at, &mut stop).await {
                return None;
            }
            begin(&site, planned).await;
            is_stopped_by(began + planned.at + planned.lasts, &mut stop).await;
            end(&site, planned).await;
            Some(planned)
        });
    }
    let mut happened = Vec::new();
    while let Some(ended) = all.join_next().await {
        happened
            .extend(ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    happened
}

/// Waits until then, or until told to stop: whether it was that.
async fn is_stopped_by(then: Instant, stop: &mut watch::Receiver<bool>) -> bool {
    timeout_at(then, stop.wait_for(|stop| *stop)).await.is_ok()
}

/// Waits for so long, or until told to stop.
pub async fn sleep_or_stop(span: Duration, stop: &mut watch::Receiver<bool>) {
    is_stopped_by(Instant::now() + span, stop).await;
}

async fn begin(site: &Site, planned: Planned) {
    let Planned { target, fault, .. } = planned;
    site.chronicle
        .note(FAULT, format!("{target}: {fault}, begins"));
    match target {
        Target::Master => begin_at_machine(&mut *site.master().await, fault).await,
        Target::Worker(index) => {
            let mut worker = site.worker(index).await;
            match fault {
                Fault::NetworkCut => worker.namespace.unplug(),
                Fault::NetworkDeaf => worker.namespace.lose_towards(),
                Fault::NetworkMute => worker.namespace.lose_from(),
                Fault::NetworkSlow { delay } => {
                    worker.to_master.delay(delay);
                    worker.from_master.delay(delay);
                }
                Fault::EngineAway => worker.engine.cut().await,
                Fault::EngineFrozen => worker.engine.freeze(),
                fault => begin_at_machine(&mut worker.machine, fault).await,
            }
        }
        Target::Database => begin_at_database(site, fault).await,
    }
}

async fn end(site: &Site, planned: Planned) {
    let Planned { target, fault, .. } = planned;
    site.chronicle
        .note(FAULT, format!("{target}: {fault}, ends"));
    match target {
        Target::Master => end_at_machine(&mut *site.master().await, fault),
        Target::Worker(index) => {
            let mut worker = site.worker(index).await;
            match fault {
                Fault::NetworkCut => worker.namespace.plug(),
                Fault::NetworkDeaf => worker.namespace.find_towards(),
                Fault::NetworkMute => worker.namespace.find_from(),
                Fault::NetworkSlow { .. } => {
                    worker.to_master.delay(Duration::ZERO);
                    worker.from_master.delay(Duration::ZERO);
                }
                Fault::EngineAway => worker.engine.mend().await,
                Fault::EngineFrozen => {
                    // Whatever kept them open gives up, so that nobody waits for their end.
                    worker.engine.cut().await;
                    worker.engine.mend().await;
                }
                fault => end_at_machine(&mut worker.machine, fault),
            }
        }
        Target::Database => end_at_database(site).await,
    }
}

async fn begin_at_machine(machine: &mut super::machine::Machine, fault: Fault) {
    match fault {
        Fault::Killed => machine.kill().await,
        Fault::Stopped => machine.stop(),
        Fault::DiskFull => machine.fill_disk(),
        Fault::ClockStepped { offset_s } => machine.step_clock(offset_s),
        fault => unreachable!("{fault} is not of a machine"),
    }
}

fn end_at_machine(machine: &mut super::machine::Machine, fault: Fault) {
    match fault {
        Fault::Killed => machine.start(),
        Fault::Stopped => machine.go_on(),
        Fault::DiskFull => machine.empty_disk(),
        Fault::ClockStepped { .. } => machine.step_clock(0),
        fault => unreachable!("{fault} is not of a machine"),
    }
}

async fn begin_at_database(site: &Site, fault: Fault) {
    let mut database = site.database().await;
    let set = database.set.clone();
    let doing = tokio::task::spawn_blocking(move || {
        let primary = cloudai_store::mongod::block_on(set.primary()).port;
        let at = set.members.iter().position(|member| member.port == primary);
        let at = at.expect("the primary is a member");
        let next = (at + 1) % set.members.len();
        match fault {
            Fault::SteppedDown => {
                cloudai_store::mongod::block_on(set.step_down());
                (Vec::new(), None)
            }
            Fault::PrimaryKilled => {
                set.members[at].kill();
                (vec![at], None)
            }
            Fault::PrimaryStopped => {
                set.members[at].halt();
                (Vec::new(), Some(at))
            }
            Fault::MajorityKilled => {
                set.members[at].kill();
                set.members[next].kill();
                (vec![at, next], None)
            }
            fault => unreachable!("{fault} is not of a database"),
        }
    });
    (database.killed, database.stopped) = doing.await.expect("a member can be told");
}

async fn end_at_database(site: &Site) {
    let mut database = site.database().await;
    let set = database.set.clone();
    let (killed, stopped) = (
        std::mem::take(&mut database.killed),
        database.stopped.take(),
    );
    let doing = tokio::task::spawn_blocking(move || {
        for member in killed {
            set.members[member].again();
        }
        if let Some(member) = stopped {
            set.members[member].resume();
        }
    });
    doing.await.expect("a member can be told");
}
