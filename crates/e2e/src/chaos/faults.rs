//! How each fault begins and ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

/// A fault that was ended sooner than this after it had begun is none.
const LEAST: Duration = Duration::from_millis(200);

/// What of a plan did happen.
#[derive(Debug, Default)]
pub struct Happened {
    /// These.
    pub faults: Vec<Planned>,
    /// Of these nothing was to be seen, and why; those that came too late among them.
    pub without_effect: Vec<String>,
}

/// Lets a plan happen, until its end or until told to stop; then everything is put right.
///
/// # Panics
/// If a fault can't be brought about.
pub async fn happen(site: Arc<Site>, plan: Vec<Planned>, stop: watch::Receiver<bool>) -> Happened {
    let began = Instant::now();
    let mut lanes: BTreeMap<usize, Vec<Planned>> = BTreeMap::new();
    for planned in plan {
        lanes.entry(planned.lane).or_default().push(planned);
    }
    let mut all = JoinSet::new();
    for lane in lanes.into_values() {
        let (site, mut stop) = (site.clone(), stop.clone());
        all.spawn(async move {
            let mut happened = Happened::default();
            for planned in lane {
                let no_effect = match one(&site, planned, began, &mut stop).await {
                    Ok(()) => {
                        happened.faults.push(planned);
                        continue;
                    }
                    Err(why) => format!("{}: {}: {why}", planned.target, planned.fault),
                };
                site.chronicle.note("lost", &no_effect);
                happened.without_effect.push(no_effect);
            }
            happened
        });
    }
    let mut happened = Happened::default();
    while let Some(ended) = all.join_next().await {
        let lane = ended.unwrap_or_else(super::go_on_unwinding);
        happened.faults.extend(lane.faults);
        happened.without_effect.extend(lane.without_effect);
    }
    happened
}

/// Lets one happen at its time, or as soon as what it befalls is free, and for as long as it shall.
async fn one(
    site: &Site,
    planned: Planned,
    began: Instant,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    if is_stopped_by(began + planned.at, stop).await {
        return Err("it was to come later".to_owned());
    }
    let effect = begin(site, planned).await;
    let begun = Instant::now();
    is_stopped_by(begun + planned.lasts, stop).await;
    end(site, planned).await;
    effect?;
    match begun.elapsed() {
        lasted if lasted < LEAST.min(planned.lasts) => Err(format!("it lasted {lasted:?}")),
        _ => Ok(()),
    }
}

/// Waits until then, or until told to stop: whether it was that.
async fn is_stopped_by(then: Instant, stop: &mut watch::Receiver<bool>) -> bool {
    timeout_at(then, stop.wait_for(|stop| *stop)).await.is_ok()
}

/// Waits for so long, or until told to stop.
pub async fn sleep_or_stop(span: Duration, stop: &mut watch::Receiver<bool>) {
    is_stopped_by(Instant::now() + span, stop).await;
}

/// Its effect, as far as one can tell.
async fn begin(site: &Site, planned: Planned) -> Result<(), String> {
    let Planned { target, fault, .. } = planned;
    site.chronicle
        .note(FAULT, format!("{target}: {fault}, begins"));
    match target {
        Target::Master => return begin_at_machine(&mut *site.master().await, fault).await,
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
                fault => return begin_at_machine(&mut worker.machine, fault).await,
            }
        }
        Target::Database => return begin_at_database(site, fault).await,
        // Whatever it has been sent already and not read yet arrives.
        Target::Client => site.client_line().await.allow(0),
    }
    Ok(())
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
        Target::Client => {
            let mut line = site.client_line().await;
            line.cut().await;
            line.mend().await;
        }
    }
}

async fn begin_at_machine(
    machine: &mut super::machine::Machine,
    fault: Fault,
) -> Result<(), String> {
    match fault {
        Fault::Killed => machine.kill().await,
        Fault::Stopped => return machine.stop().await,
        Fault::DiskFull => machine.fill_disk(),
        Fault::ClockStepped { offset_s } => machine.step_clock(offset_s),
        fault => unreachable!("{fault} is not of a machine"),
    }
    Ok(())
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

async fn begin_at_database(site: &Site, fault: Fault) -> Result<(), String> {
    let mut database = site.database().await;
    let set = database.set.clone();
    let doing = tokio::task::spawn_blocking(move || {
        let primary = cloudai_store::mongod::block_on(set.primary()).port;
        let at = set.members.iter().position(|member| member.port == primary);
        let at = at.expect("the primary is a member");
        let next = (at + 1) % set.members.len();
        match fault {
            Fault::SteppedDown => {
                let is_down = cloudai_store::mongod::block_on(set.step_down());
                let effect = is_down.then_some(()).ok_or("the primary stayed one");
                (Vec::new(), None, effect)
            }
            Fault::PrimaryKilled => {
                set.members[at].kill();
                (vec![at], None, Ok(()))
            }
            Fault::PrimaryStopped => {
                set.members[at].halt();
                (Vec::new(), Some(at), Ok(()))
            }
            Fault::MajorityKilled => {
                set.members[at].kill();
                set.members[next].kill();
                (vec![at, next], None, Ok(()))
            }
            fault => unreachable!("{fault} is not of a database"),
        }
    });
    let (killed, stopped, effect) = doing.await.expect("a member can be told");
    (database.killed, database.stopped) = (killed, stopped);
    effect.map_err(str::to_owned)
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
