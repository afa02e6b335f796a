//! What the master serves: workers' calls (`crates/master/src/grpc/cluster_service.rs`, `reports.rs`
//! and `uploads.rs`).

use std::rc::Rc;

use cloudai_core::{Answer, Input, Reported, WorkerCallError};
use cloudai_model::{AttemptId, AttemptReport, UserName, WorkerId, record::FilesRecord};

use super::MasterShell;
use crate::{
    audit::Seen,
    time::{Gone, Sender},
    wire::{FromMaster, ToMaster},
    world::World,
};

/// How long a finished attempt's report waits for the rest of its log before the worker is told to
/// report again.
const WAIT_FOR_REST_MS: u64 = 20_000;

impl World {
    /// A call of a worker has arrived.
    pub(crate) fn arrive_at_master(
        self: &Rc<Self>,
        worker: usize,
        request: ToMaster,
        reply: Sender<FromMaster>,
    ) {
        // Nobody listens: the way back is dropped, and so the connection breaks.
        let Some(shell) = self.master_shell() else {
            return;
        };
        let process = shell.process.clone();
        let world = self.clone();
        self.sim.spawn(&process, async move {
            let arrived_ms = world.sim.now_ms();
            world.see(&Seen::ArrivedAtMaster {
                worker,
                request: &request,
            });
            let answer = match serve(&shell, worker, request.clone()).await {
                Ok(answer) => answer,
                Err(Gone) => FromMaster::Unavailable("the master is shutting down".to_owned()),
            };
            let seen = Seen::AnsweredByMaster {
                worker,
                request: &request,
                arrived_ms,
                answer: &answer,
            };
            world.see(&seen);
            reply.send(answer);
        });
    }
}

async fn serve(
    shell: &Rc<MasterShell>,
    worker: usize,
    request: ToMaster,
) -> Result<FromMaster, Gone> {
    Ok(match request {
        ToMaster::Hello(hello) => match shell.call(|call| Input::Hello { call, hello }).await? {
            Answer::Welcomed(Ok(welcome)) => FromMaster::Welcome {
                cluster: welcome.cluster,
                interval_ms: welcome.heartbeat_interval.as_millis() as u64,
            },
            Answer::Welcomed(Err(error)) => refusal(&error),
            answer => mixed_up(&answer),
        },
        ToMaster::Heartbeat(heartbeat) => {
            let taken = shell.call(|call| Input::Heartbeat { call, heartbeat });
            match taken.await? {
                Answer::HeartbeatTaken(Ok(taken)) => FromMaster::HeartbeatTaken {
                    register_again: taken.introduce,
                },
                Answer::HeartbeatTaken(Err(error)) => refusal(&error),
                answer => mixed_up(&answer),
            }
        }
        ToMaster::Progress {
            worker,
            attempt,
            phase,
            end,
        } => {
            let told = shell.call(move |call| Input::Progress {
                call,
                worker,
                attempt,
                phase,
                detail: String::new(),
                end,
            });
            heard(told.await?)
        }
        ToMaster::Upload { worker, attempt } => upload(shell, worker, attempt).await?,
        ToMaster::Report { worker: id, report } => complete(shell, worker, id, *report).await?,
    })
}

fn heard(answer: Answer) -> FromMaster {
    match answer {
        Answer::Reported(Ok(reported)) => FromMaster::Heard(reported),
        Answer::Reported(Err(error)) => refusal(&error),
        answer => mixed_up(&answer),
    }
}

fn refusal(error: &WorkerCallError) -> FromMaster {
    match error {
        WorkerCallError::NotReady(_) => FromMaster::Unavailable(error.to_string()),
        WorkerCallError::NotAuthorized(_) | WorkerCallError::Duplicate(_) => {
            FromMaster::Denied(error.to_string())
        }
    }
}

fn mixed_up(answer: &Answer) -> FromMaster {
    debug_assert!(false, "each input is answered in its own kind: {answer:?}");
    FromMaster::Unavailable("the core gave an answer of another kind".to_owned())
}

async fn vet(
    shell: &Rc<MasterShell>,
    worker: &WorkerId,
    attempt: &AttemptId,
) -> Result<FromMaster, Gone> {
    let (worker, attempt) = (worker.clone(), attempt.clone());
    let vetted = shell.call(move |call| Input::Vet {
        call,
        worker,
        attempt,
    });
    Ok(heard(vetted.await?))
}

/// Files are wanted of what lives; of what has ended with its task they are here already.
async fn upload(
    shell: &Rc<MasterShell>,
    worker: WorkerId,
    attempt: AttemptId,
) -> Result<FromMaster, Gone> {
    let vetted = vet(shell, &worker, &attempt).await?;
    if vetted != FromMaster::Heard(Reported::Live) {
        return Ok(unwanted(vetted));
    }
    let world = &shell.world;
    let mut chance = world.chance.of("upload").of(&attempt.to_string());
    world.sim.sleep(chance.between(1, 3_000)).await;
    // A long upload may have been superseded meanwhile.
    let vetted = vet(shell, &worker, &attempt).await?;
    if vetted != FromMaster::Heard(Reported::Live) {
        return Ok(unwanted(vetted));
    }
    let files = Box::new(FilesRecord {
        storage_path: format!("admin/{}", attempt.task),
        attempt,
        user: UserName::admin(),
        task_name: String::new(),
        files: Vec::new(),
        uploaded_at: world.wall(None),
    });
    let stored = shell.call(move |call| Input::FilesStored {
        call,
        worker,
        files,
    });
    Ok(heard(stored.await?))
}

/// What a worker hears of files that nobody wants: it reports when they are here, and sends none
/// after.
fn unwanted(vetted: FromMaster) -> FromMaster {
    match vetted {
        FromMaster::Heard(_) => FromMaster::Heard(Reported::Superseded),
        refusal => refusal,
    }
}

/// Takes a result in, once its log is whole here. Logs are not simulated but for the time that this
/// takes, and that it needs a way to the worker.
async fn complete(
    shell: &Rc<MasterShell>,
    index: usize,
    worker: WorkerId,
    report: AttemptReport,
) -> Result<FromMaster, Gone> {
    let world = &shell.world;
    let vetted = vet(shell, &worker, &report.attempt).await?;
    match &vetted {
        FromMaster::Heard(Reported::Live) => {
            let mut chance = world.chance.of("log").of(&report.attempt.to_string());
            world.sim.sleep(chance.pick(&[1, 5, 30, 800])).await;
            let reached = world.conditions.wait_until(|now| !now.is_cut(index, true));
            if world.sim.within(WAIT_FOR_REST_MS, reached).await.is_none() {
                let pending = "the rest of its log has not arrived";
                return Ok(FromMaster::Unavailable(pending.to_owned()));
            }
        }
        FromMaster::Heard(_) => {}
        _ => return Ok(vetted),
    }
    let told = shell.call(move |call| Input::Finished {
        call,
        worker,
        report: Box::new(report),
        log_tail: String::new(),
    });
    Ok(heard(told.await?))
}
