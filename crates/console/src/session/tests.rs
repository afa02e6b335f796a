//! Sessions against a fake master: the real one can't be made to give every answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cloudai_core::{
    AddWorkerError, CancelOutcome, Event, PlaceError, Snapshot, Submitted, TaskNews,
    registry::AlreadyRegistered,
};
use cloudai_files::{
    log::{Frame, LogStream},
    output::CopySummary,
};
use cloudai_model::{
    AttemptId, Now, Phase, TaskDraft, TaskId, TaskStatus, UserName, Wall, WorkerAddress, WorkerId,
    record::{FileRecord, TaskRecord, WorkerRecord},
};
use tokio::sync::{broadcast, mpsc};

use super::*;
use crate::{
    piped,
    testing::{NOW, Shared, about, finished, result_of, snapshot_of, task, waiting_for, worker},
};
use cloudai_operator::*;

/// A fake: it answers what the test put into it, and remembers what it was asked.
struct FakeMaster {
    tasks: Mutex<BTreeMap<TaskId, TaskView>>,
    /// Logs that the test writes, by attempt; an attempt without one has none.
    logs: Mutex<BTreeMap<AttemptId, mpsc::UnboundedReceiver<Frame>>>,
    asked: Mutex<Vec<String>>,
    events: broadcast::Sender<Event>,
}

impl FakeMaster {
    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn put(&self, record: TaskRecord) {
        let result = record.state.status.is_final().then(|| result_of(&record));
        let view = TaskView { record, result };
        let mut tasks = self.tasks.lock().unwrap();
        tasks.insert(view.record.task.clone(), view);
    }

    fn log(&self, task: &TaskId, attempt: u32) -> mpsc::UnboundedSender<Frame> {
        let (writer, reader) = mpsc::unbounded_channel();
        let attempt = AttemptId::new(task.clone(), attempt);
        self.logs.lock().unwrap().insert(attempt, reader);
        writer
    }
}

struct FakeLog(Option<mpsc::UnboundedReceiver<Frame>>);

#[async_trait]
impl FrameSource for FakeLog {
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure> {
        match &mut self.0 {
            Some(frames) => Ok(frames.recv().await),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Operator for FakeMaster {
    fn now(&self) -> Now {
        NOW
    }

    fn about(&self) -> About {
        about()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        let mut active = worker("worker-1", "localhost");
        active.active = true;
        let mut snapshot = snapshot_of([active]);
        snapshot.waiting = 12;
        Arc::new(snapshot)
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn place(&self, task: TaskId, _: WorkerId) -> Result<AttemptId, PlaceFailure> {
        Err(PlaceError::NotWaiting(task).into())
    }

    async fn submit(&self, draft: TaskDraft) -> Result<Submitted, SubmitFailure> {
        let (_, spec) = draft.check()?;
        self.ask(format!("submit {} for {}", spec.image, spec.user));
        let placed = spec.target.is_some();
        Ok(Submitted {
            task: TaskId::numbered(1_697_123_456_000_001),
            status: if placed {
                TaskStatus::Pending
            } else {
                TaskStatus::Queued
            },
            worker: spec.target,
            position: usize::from(!placed),
            waiting: (!placed).then(|| waiting_for("no worker with 1 GPU")),
        })
    }

    async fn cancel(&self, task: &TaskId) -> Result<CancelOutcome, CancelFailure> {
        match task.number() {
            Some(1) => Ok(CancelOutcome::Cancelled),
            Some(2) => Ok(CancelOutcome::Stopping("worker-1".parse().unwrap())),
            Some(3) => Ok(CancelOutcome::AlreadyEnded),
            Some(4) => Err(CancelFailure::Final(task.clone(), TaskStatus::Completed)),
            _ => Err(CancelFailure::Unknown(task.clone())),
        }
    }

    async fn register(
        &self,
        worker: WorkerId,
        address: WorkerAddress,
    ) -> Result<Registered, RegisterFailure> {
        if worker.as_str() == "worker-1" {
            return Err(AddWorkerError::from(AlreadyRegistered(worker)).into());
        }
        Ok(Registered {
            already: false,
            record: WorkerRecord {
                worker,
                address,
                capacity: None,
                version: None,
                labels: BTreeMap::new(),
                registration: 1,
                registered_at: Wall(0),
                last_seen_at: None,
                draining: false,
            },
            token: "7f00".to_owned(),
            master_address: "192.168.1.10:50051".to_owned(),
        })
    }

    async fn unregister(&self, _: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure> {
        Ok(vec![AttemptId::new(TaskId::numbered(7), 1)])
    }

    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure> {
        Err(ReadFailure("the disk is gone".into()))
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskView>, ReadFailure> {
        Ok(self.tasks.lock().unwrap().get(task).cloned())
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskRecord>, ReadFailure> {
        let tasks = self.tasks.lock().unwrap();
        let newest = tasks.values().rev().map(|view| view.record.clone());
        Ok(newest
            .filter(|record| {
                filter
                    .status
                    .is_none_or(|status| status == record.state.status)
            })
            .take(filter.limit)
            .collect())
    }

    async fn queue(&self, limit: usize) -> Result<Vec<QueueEntry>, ReadFailure> {
        let entry = |number| QueueEntry {
            position: number,
            record: task(number as u64, ""),
            why: waiting_for("no worker is active"),
        };
        Ok((1..=limit.min(2)).map(entry).collect())
    }

    async fn follow_log(&self, attempt: &AttemptId) -> Result<Box<dyn FrameSource>, LogFailure> {
        Ok(Box::new(FakeLog(self.logs.lock().unwrap().remove(attempt))))
    }

    async fn download(
        &self,
        task: &TaskId,
        user: &UserName,
        destination: &Path,
    ) -> Result<Downloaded, DownloadFailure> {
        if user.as_str() != "admin" {
            let (task, user) = (task.clone(), user.clone());
            return Err(DownloadFailure::Unknown { task, user });
        }
        assert_eq!(destination, PathBuf::from("./results"));
        let file = |path: &str, size| FileRecord {
            path: path.to_owned(),
            size,
            sha256: String::new(),
        };
        Ok(Downloaded {
            files: vec![file("result.txt", 12), file("model/weights.bin", 3 << 20)],
            summary: CopySummary {
                copied: 1,
                copied_bytes: 3 << 20,
                unchanged: 1,
            },
        })
    }
}

struct Stage {
    master: Arc<FakeMaster>,
    screen: Shared,
    session: Session,
}

fn stage() -> Stage {
    let master = Arc::new(FakeMaster {
        tasks: Mutex::default(),
        logs: Mutex::default(),
        asked: Mutex::default(),
        events: broadcast::channel(16).0,
    });
    let screen = Shared::default();
    let output = Output::new(screen.clone()).unwrap();
    let session = Session::new(Arc::clone(&master) as Arc<dyn Operator>, output);
    Stage {
        master,
        screen,
        session,
    }
}

async fn answer(line: &str) -> (String, u64) {
    let mut stage = stage();
    assert_eq!(stage.session.run(line).await, Flow::Continue);
    (stage.screen.text(), stage.session.failures())
}

fn frame(stream: LogStream, data: &'static [u8]) -> Frame {
    Frame {
        stream,
        at_ns: 0,
        data: Bytes::from_static(data),
    }
}

fn moved(record: &TaskRecord) -> Event {
    Event::Task(TaskNews {
        task: record.task.clone(),
        attempt: record.state.attempt,
        worker: record.state.worker.clone(),
        status: record.state.status,
        phase: record.state.phase,
        detail: record.state.reason.clone(),
        at: NOW.wall,
    })
}

/// Waits until the screen shows `text`.
async fn shows(screen: &Shared, text: &str) {
    for _ in 0..2000 {
        if String::from_utf8_lossy(&screen.bytes()).contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!(
        "{text:?} never appeared in {:?}",
        String::from_utf8_lossy(&screen.bytes())
    );
}

#[tokio::test]
async fn a_submit_says_where_the_task_stands() {
    assert_eq!(
        answer("task docker.io/username/gpu-task:latest -gpu_cores 1.0")
            .await
            .0,
        "✓ Task task-1697123456000001 submitted: queued, position 1 \
         (waiting: no worker with 1 GPU)\n"
    );
    assert_eq!(
        answer("dispatch worker-1 alpine").await.0,
        "✓ Task task-1697123456000001 submitted: pending on worker-1\n"
    );
    assert_eq!(
        answer("task alpine -priority 101 -cpu_cores 0").await,
        (
            "❌ Failed to submit task: cpu_cores: 0 is not valid: expected at least 0.001 and at most 1000000 cores, such as 0.5 or 4; \
             priority: 101 is not valid: expected 0 to 100\n"
                .to_owned(),
            1
        )
    );
}

#[tokio::test]
async fn a_registration_shows_what_to_type_on_the_other_machine() {
    assert_eq!(
        answer("register worker-2 192.168.1.100:50052").await.0,
        "✅ Worker worker-2 registered with address 192.168.1.100:50052\n\
         \x20  Note: Worker will send full specs when it connects\n\
         \x20  On that machine: worker-node -id worker-2 -master 192.168.1.10:50051 -token 7f00\n"
    );
    assert_eq!(
        answer("register worker-1 localhost").await,
        (
            "❌ Failed to register worker: worker worker-1 already registered\n".to_owned(),
            1
        )
    );
    assert_eq!(
        answer("unregister worker-2").await.0,
        "✅ Worker worker-2 unregistered\n\
         \x20  Note: 1 task of it: stopped there and queued again\n"
    );
}

#[tokio::test]
async fn a_cancel_says_what_it_came_to() {
    for (task, expected) in [
        (1, "✓ Task task-1 cancelled\n"),
        (2, "✓ Task task-2 is being stopped on worker-1\n"),
        (
            3,
            "✓ Task task-3 has just ended by itself: that result stands\n",
        ),
        (
            4,
            "❌ Failed to cancel task: task task-4 is final: completed\n",
        ),
        (
            5,
            "❌ Failed to cancel task: there is no task task-5: `list-tasks` shows those that \
             there are\n",
        ),
    ] {
        assert_eq!(answer(&format!("cancel task-{task}")).await.0, expected);
    }
}

#[tokio::test]
async fn a_download_lists_the_files_with_their_sizes() {
    assert_eq!(
        answer("download task-7 admin ./results").await.0,
        "      12 B  result.txt\n    3.0 MB  model/weights.bin\n\
         ✓ 1 file to ./results (3.0 MB, 1 there already)\n"
    );
    assert_eq!(
        answer("download task-7 eve ./results").await.0,
        "❌ Failed to download: there is no task task-7 of user eve\n"
    );
}

#[tokio::test]
async fn listings_come_as_tables_and_as_json() {
    let mut stage = stage();
    stage
        .master
        .put(finished(task(7, "x"), TaskStatus::Failed, 3));
    stage.master.put(task(8, "y"));

    stage.session.run("list-tasks failed --json").await;
    let list: serde_json::Value = serde_json::from_str(&stage.screen.text()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["task_id"], "task-7");

    stage.session.run("list-tasks -limit 1").await;
    let text = stage.screen.text();
    assert!(text.contains("\ntask-8  y     queued"), "{text}");
    assert!(
        text.ends_with("Note: these are the newest 1; -limit n shows others\n"),
        "{text}"
    );

    let (queue, _) = answer("queue").await;
    assert!(
        queue.ends_with("Note: 2 of 12; -limit n shows others\n"),
        "{queue}"
    );
    let workers: serde_json::Value =
        serde_json::from_str(&answer("workers --json").await.0).unwrap();
    assert_eq!(workers[0]["status"], "active");
}

#[tokio::test]
async fn a_store_that_fails_is_told_with_its_cause() {
    assert_eq!(
        answer("status").await,
        ("❌ cannot read the store: the disk is gone\n".to_owned(), 1)
    );
}

#[tokio::test]
async fn a_task_is_followed_from_the_queue_to_its_end_byte_for_byte() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    let mut record = task(7, "");
    record.state.reason = "no worker is active".to_owned();
    master.put(record.clone());
    let running = tokio::spawn(async move {
        session.run("monitor task-7").await;
        session.failures()
    });

    // It waits, and says why.
    shows(&screen, "Task task-7 queued: no worker is active\n").await;

    // It is placed: first it pulls, then it prints, on both streams and no text at all.
    let log = master.log(&record.task, 1);
    record.state.status = TaskStatus::Pending;
    record.state.phase = Phase::Pulling;
    record.state.attempt = 1;
    record.state.worker = Some("worker-1".parse().unwrap());
    record.state.reason = String::new();
    master.put(record.clone());
    let _ = master.events.send(moved(&record));
    shows(&screen, "Task task-7 pending on worker-1: pulling\n").await;
    record.state.reason = "1 of 3 layers".to_owned();
    let _ = master.events.send(moved(&record));
    shows(&screen, "pulling: 1 of 3 layers\n").await;
    log.send(frame(LogStream::Stdout, b"one\n")).unwrap();
    log.send(frame(LogStream::Stderr, b"\xff\x00 no break"))
        .unwrap();
    shows(&screen, "no break").await;

    // It ends.
    master.put(finished(record, TaskStatus::Failed, 3));
    drop(log);
    assert_eq!(
        running.await.unwrap(),
        0,
        "a task that failed is no failed command"
    );
    let expected = [
        b"Task task-7 queued: no worker is active\n".as_slice(),
        b"Task task-7 pending on worker-1: pulling\n",
        b"Task task-7 pending on worker-1: pulling: 1 of 3 layers\n",
        b"one\n\xff\x00 no break\n",
        "❌ Task task-7 failed on worker-1 (exit code 3, 1.5s)\n".as_bytes(),
    ];
    assert_eq!(
        String::from_utf8_lossy(&screen.bytes()),
        String::from_utf8_lossy(&expected.concat())
    );
    assert_eq!(screen.bytes(), expected.concat());
}

#[tokio::test]
async fn an_attempt_after_a_lost_one_is_followed_too() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    let mut record = finished(task(7, ""), TaskStatus::Running, 0);
    record.state.phase = Phase::Running;
    master.put(record.clone());
    let first = master.log(&record.task, 1);
    first.send(frame(LogStream::Stdout, b"first\n")).unwrap();
    let running = tokio::spawn(async move { session.run("monitor task-7").await });
    shows(&screen, "first\n").await;

    // Its worker is lost; elsewhere it runs again, to its end.
    let second = master.log(&record.task, 2);
    second.send(frame(LogStream::Stdout, b"second\n")).unwrap();
    drop(second);
    let mut record = finished(record, TaskStatus::Completed, 0);
    record.state.attempt = 2;
    master.put(record);
    drop(first);
    running.await.unwrap();
    assert_eq!(
        screen.text(),
        "first\nsecond\n✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n"
    );
}

#[tokio::test]
async fn an_interrupt_leaves_the_monitor_and_not_the_task() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    master.put(task(7, ""));
    let (interrupt, interrupted) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let until = async {
            interrupted.await.unwrap();
        };
        let flow = session.run_until("monitor task-7", until).await;
        (flow, session.failures())
    });
    shows(&screen, "Task task-7 queued\n").await;
    interrupt.send(()).unwrap();
    assert_eq!(running.await.unwrap(), (Flow::Continue, 0));
    assert!(screen.text().ends_with("\nNote: task task-7 goes on\n"));
    assert_eq!(master.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn news_come_between_answers_and_not_within_one() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    let news = tokio::spawn(crate::news::announce(
        master.events(),
        session.output.clone(),
    ));
    let mut record = task(7, "");
    master.put(record.clone());
    let running = tokio::spawn(async move { session.run("monitor task-7").await });
    shows(&screen, "Task task-7 queued\n").await;

    // Another task ends while this one is being watched.
    let _ = master
        .events
        .send(moved(&finished(task(8, ""), TaskStatus::Completed, 0)));
    record = finished(record, TaskStatus::Completed, 0);
    let _ = master
        .events
        .send(Event::WorkerRemoved("worker-2".parse().unwrap()));
    master.put(record);
    running.await.unwrap();
    let ended = "✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n";
    let completion = "Task completion: task-8 from worker worker-1 [Status: success]\n";
    shows(&screen, &format!("{ended}{completion}")).await;
    news.abort();
}

#[tokio::test]
async fn piped_lines_are_answered_in_order_and_failures_are_counted() {
    let Stage {
        screen,
        mut session,
        ..
    } = stage();
    let input = "# register what is there\n\ncancel task-1\nwokers\n\u{1b}[2J\ncancel task-4\n\
                 exit\ncancel task-2\n";
    let lines = piped::read(input.as_bytes()).unwrap();
    assert_eq!(piped::run(&mut session, lines).await, piped::End::Exit);
    assert_eq!(
        screen.text(),
        "✓ Task task-1 cancelled\n\
         ❌ Unknown command \"wokers\": did you mean `workers`? `help` lists all\n\
         ❌ Unknown command \"\\u{1b}[2J\": `help` lists all\n\
         ❌ Failed to cancel task: task task-4 is final: completed\n"
    );
    assert_eq!(session.failures(), 3);
}

#[tokio::test]
async fn the_end_of_the_input_is_not_the_wish_to_exit() {
    let Stage { mut session, .. } = stage();
    let lines = piped::read("help\n".as_bytes()).unwrap();
    assert_eq!(piped::run(&mut session, lines).await, piped::End::Input);
    assert_eq!(session.failures(), 0);
}
