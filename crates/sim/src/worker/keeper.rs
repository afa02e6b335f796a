//! Registers at the master and sends it heartbeats; when it is lost, finds it again:
//! `crates/worker/src/master_link/keeper.rs`.

use std::{collections::BTreeMap, rc::Rc};

use cloudai_core::{Heartbeat, Held, Hello};
use cloudai_model::HostUsage;
use cloudai_worker_core::Input;

use super::{WorkerShell, backoff};
use crate::{
    time::{First, first},
    wire::{FromMaster, ToMaster},
};

const CALL_LIMIT_MS: u64 = 10_000;
/// One that isn't let in tries again at least this often.
const REFUSED_TRIES: u32 = 4;

/// Why this worker is not registered, or not any more.
enum Apart {
    Away,
    Refused,
}

/// Works until the program ends.
pub(super) async fn keep(shell: Rc<WorkerShell>) {
    let mut tries = 0;
    loop {
        let apart = match introduce(&shell).await {
            Ok(interval_ms) => {
                tries = 0;
                stay(&shell, interval_ms).await
            }
            Err(apart) => apart,
        };
        tries += 1;
        if matches!(apart, Apart::Refused) {
            tries = tries.min(REFUSED_TRIES);
        }
        let pause = backoff::wait(&shell, "register", tries);
        if let First::Other(()) = first(pause, shell.contacts.recv()).await {
            tries = 0;
        }
    }
}

async fn introduce(shell: &Rc<WorkerShell>) -> Result<u64, Apart> {
    let hello = Hello {
        worker: shell.node().id.clone(),
        shown_ip: "simulated".to_owned(),
        capacity: shell.capacity,
        version: Some("simulated".to_owned()),
        labels: BTreeMap::new(),
        home: Some(shell.home.clone()),
        incarnation: Some(shell.incarnation.clone()),
    };
    match call(shell, ToMaster::Hello(hello)).await? {
        FromMaster::Welcome {
            cluster,
            interval_ms,
        } => {
            shell.tell(Input::Registered {
                cluster: cluster.clone(),
            });
            shell.cluster.set(Some(cluster));
            Ok(interval_ms)
        }
        _ => Err(Apart::Away),
    }
}

/// Sends heartbeats until the master is lost, and says why it is.
async fn stay(shell: &Rc<WorkerShell>, mut interval_ms: u64) -> Apart {
    shell.master.set(true);
    let sim = &shell.world.sim;
    let mut due_ms = sim.now_ms();
    let apart = loop {
        let mut farewell = None;
        let others = first(shell.farewells.recv(), shell.contacts.recv());
        match first(sim.sleep_until(due_ms), others).await {
            First::Other(First::One(said)) => farewell = Some(said),
            First::One(()) | First::Other(First::Other(())) => {}
        }
        due_ms = sim.now_ms() + interval_ms;
        let taken = heartbeat(shell).await;
        if let Some(said) = farewell {
            said.send(());
        }
        match taken {
            Ok(FromMaster::HeartbeatTaken {
                register_again: false,
            }) => {}
            Ok(_) => match introduce(shell).await {
                Ok(interval) => {
                    interval_ms = interval;
                    due_ms = sim.now_ms();
                }
                Err(apart) => break apart,
            },
            Err(apart) => break apart,
        }
    };
    shell.master.set(false);
    apart
}

async fn heartbeat(shell: &Rc<WorkerShell>) -> Result<FromMaster, Apart> {
    let view = shell.look().await.ok_or(Apart::Away)?;
    let held = view.held.into_iter().map(|held| Held {
        attempt: held.attempt,
        phase: held.phase,
    });
    let heartbeat = Heartbeat {
        worker: shell.node().id.clone(),
        incarnation: Some(shell.incarnation.clone()),
        home: Some(shell.home.clone()),
        usage: HostUsage::default(),
        held: held.collect(),
        last_sequence: Some(view.last_sequence),
        unwell: view.unwell,
    };
    call(shell, ToMaster::Heartbeat(heartbeat)).await
}

async fn call(shell: &Rc<WorkerShell>, request: ToMaster) -> Result<FromMaster, Apart> {
    let answer = shell
        .world
        .call_master(shell.index, request, CALL_LIMIT_MS)
        .await;
    match answer {
        Ok(FromMaster::Denied(_)) => Err(Apart::Refused),
        Ok(FromMaster::Unavailable(_)) | Err(_) => Err(Apart::Away),
        Ok(answer) => Ok(answer),
    }
}
