//! Retention over a real core and real folders; ends lie as far back as a test wants.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cloudai_config::Keep;
use cloudai_core::{Core, Effect, policy};
use cloudai_files::{
    log::{Frame, LogStore, LogStream},
    output::OutputStore,
};
use cloudai_model::{
    AttemptId, Phase, TaskDraft, TaskId, TaskStatus, UserName, Wall,
    account::{AccountChange, AuditRecord},
    record::{FilesRecord, Record, Removal, Removed, RemovedRecord, TaskRecord, TaskState},
};
use cloudai_store::{AuditQuery, MemoryStore, Store};
use tempfile::TempDir;

use super::{Kept, Retention, RetentionSetup};
use crate::{
    core_loop,
    disk_settings::{DiskSettings, Keeping},
    room::{Room, watermark},
    snapshot::Snapshots,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct NoEffects;

impl core_loop::Effects for NoEffects {
    fn added(&mut self, _: &TaskRecord) {}

    fn changed(&mut self, _: &TaskId) {}

    fn run(&mut self, _: Effect) {}
}

struct World {
    folder: TempDir,
    retention: Retention,
    store: Arc<dyn Store>,
    logs: Arc<LogStore>,
    files: Arc<OutputStore>,
}

fn days(days: u32) -> Keep {
    Keep::For(DAY * days)
}

/// Logs for 30 days, of failures for 90; nothing else goes.
fn settings() -> DiskSettings {
    let keep = Keeping {
        logs: days(30),
        files: Keep::Forever,
        results: Keep::Forever,
    };
    DiskSettings {
        keep,
        keep_failed: Keeping {
            logs: days(90),
            ..keep
        },
        keep_audit: days(365),
        keep_bytes: None,
        min_free: watermark("0").unwrap(),
    }
}

impl World {
    async fn new(settings: DiskSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cluster: cloudai_model::ClusterId = "c-1".parse().unwrap();
        let core = Core::new(
            cloudai_core::Settings::default(),
            Box::new(policy::RoundRobin),
            cluster.clone(),
        );
        let snapshots = Snapshots::unready(cluster);
        let started = core_loop::start(
            core,
            store.clone(),
            NoEffects,
            snapshots.clone(),
            Room::endless(),
        );
        started.ready.await.unwrap();
        let logs = Arc::new(LogStore::new(folder.path().join("logs")));
        let files = Arc::new(OutputStore::open(folder.path().join("files")).unwrap());
        let setup = RetentionSetup {
            core: started.core,
            store: store.clone(),
            snapshots,
            logs: logs.clone(),
            files: files.clone(),
            kept: Kept::new(settings.keep_bytes),
        };
        let mut retention = Retention::new(settings, setup);
        // Ends lie far back at once here.
        retention.grace = Duration::ZERO;
        Self {
            folder,
            retention,
            store,
            logs,
            files,
        }
    }

    /// A task that ended so, so many days ago, with a log and a file of so many bytes each.
    async fn task(&self, number: u64, status: TaskStatus, days_ago: u32, bytes: usize) -> TaskId {
        let (_, spec) = TaskDraft {
            docker_image: "busybox".to_owned(),
            ..TaskDraft::default()
        }
        .check()
        .unwrap();
        let now = cloudai_clock::now().wall;
        let ended_at = Wall(now.0 - i64::from(days_ago) * 24 * 3600 * 1000);
        let task = TaskRecord {
            task: TaskId::numbered(number),
            order: number,
            submitted_at: Wall(0),
            state: TaskState {
                status,
                phase: Phase::Done,
                attempt: 1,
                completed_at: status.is_final().then_some(ended_at),
                ..TaskState::queued("")
            },
            spec,
        };
        let attempt = AttemptId::new(task.task.clone(), 1);
        let user = task.spec.user.clone();
        let mut staging = self.files.begin(&attempt).unwrap();
        let path = "out".parse().unwrap();
        staging.write(&path, 0, &vec![7; bytes]).unwrap();
        staging.finish_file(&path, None).unwrap();
        let left = FilesRecord {
            storage_path: format!("{user}/{}", task.task),
            user: user.clone(),
            task_name: String::new(),
            attempt: attempt.clone(),
            files: staging.publish(&user).unwrap(),
            uploaded_at: ended_at,
        };
        self.write_log(&attempt, bytes);
        let id = task.task.clone();
        let records = vec![
            Record::TaskAdded(Box::new(task)),
            Record::Files(Box::new(left)),
        ];
        self.store.commit(Arc::new(records)).await.unwrap();
        id
    }

    fn write_log(&self, attempt: &AttemptId, bytes: usize) {
        let (log, _) = self.logs.writer(attempt).unwrap();
        let frame = Frame {
            stream: LogStream::Stdout,
            at_ns: 0,
            data: Bytes::from(vec![b'x'; bytes]),
        };
        log.append(&[frame]).unwrap();
        self.logs.close(attempt).unwrap();
    }

    async fn turn(&mut self) {
        self.retention.turn(true).await.unwrap();
    }

    async fn removed(&self, task: &TaskId) -> Removed {
        let removed = self.store.removed(std::slice::from_ref(task)).await;
        removed.unwrap().remove(task).unwrap_or_default()
    }

    /// Whether its log and its files are on the disk, and that nothing is missing unsaid.
    async fn has(&self, task: &TaskId) -> (bool, bool) {
        let has = (
            self.logs.has_any(task),
            self.files.has_any(&UserName::admin(), task),
        );
        let Removed { log, files } = self.removed(task).await;
        if self.store.task(task).await.unwrap().is_some() {
            assert_eq!(has, (log.is_none(), files.is_none()), "{task}");
        }
        has
    }
}

#[tokio::test]
async fn logs_go_by_age_those_of_failures_later_and_nothing_of_live_tasks() {
    let mut world = World::new(settings()).await;
    let young = world.task(1, TaskStatus::Completed, 29, 10).await;
    let old = world.task(2, TaskStatus::Completed, 31, 10).await;
    let cancelled = world.task(3, TaskStatus::Cancelled, 31, 10).await;
    let failed = world.task(4, TaskStatus::Failed, 31, 10).await;
    let long_failed = world.task(5, TaskStatus::Failed, 91, 10).await;
    let live = world.task(6, TaskStatus::Running, 0, 10).await;

    world.turn().await;

    for (task, log) in [
        (&young, true),
        (&old, false),
        (&cancelled, false),
        (&failed, true),
        (&long_failed, false),
        (&live, true),
    ] {
        assert_eq!(world.has(task).await, (log, true), "{task}");
    }
    let said = world.removed(&old).await.log.unwrap().to_string();
    let (when, by) = said.split_once(" by ").unwrap();
    assert!(when.starts_with("removed on 20"), "{said}");
    assert_eq!(by, "retention after 30 d");
    let said = world.removed(&long_failed).await.log.unwrap();
    assert_eq!(said.by, "retention after 90 d");
    let sweep = world.retention.removed;
    assert_eq!((sweep.logs, sweep.files, sweep.forgotten), (3, 0, 0));
    // A second look finds nothing more to do.
    world.turn().await;
    assert_eq!(world.retention.removed, sweep);
}

#[tokio::test]
async fn with_a_task_go_its_log_and_its_files_and_the_listing_keeps_the_others() {
    let mut settings = settings();
    settings.keep.results = days(10);
    settings.keep_failed.results = days(20);
    let mut world = World::new(settings).await;
    let old = world.task(1, TaskStatus::Completed, 11, 10).await;
    let failed = world.task(2, TaskStatus::Failed, 11, 10).await;
    world.turn().await;
    assert_eq!(world.has(&old).await, (false, false));
    assert_eq!(world.store.task(&old).await.unwrap(), None);
    assert_eq!(world.store.files(&old).await.unwrap(), None);
    assert_eq!(world.has(&failed).await, (true, true));
    assert_eq!(world.retention.removed.forgotten, 1);
}

#[tokio::test]
async fn files_go_by_age_and_what_is_left_of_them_is_who_left_them() {
    let mut settings = settings();
    settings.keep.files = days(3);
    let mut world = World::new(settings).await;
    let task = world.task(1, TaskStatus::Completed, 4, 10).await;
    world.turn().await;
    assert_eq!(world.has(&task).await, (true, false));
    let left = world.store.files(&task).await.unwrap().unwrap();
    assert_eq!(left.files, []);
    assert_eq!(left.user, UserName::admin());
}

#[tokio::test]
async fn above_the_limit_the_oldest_go_first_and_failures_last() {
    const BYTES: usize = 400_000;
    let mut settings = settings();
    // Room for two and a half tasks with their logs.
    settings.keep_bytes = Some(5 * BYTES as u64);
    let mut world = World::new(settings).await;
    let failed = world.task(1, TaskStatus::Failed, 9, BYTES).await;
    let oldest = world.task(2, TaskStatus::Completed, 8, BYTES).await;
    let older = world.task(3, TaskStatus::Cancelled, 7, BYTES).await;
    let old = world.task(4, TaskStatus::Completed, 6, BYTES).await;
    let live = world.task(5, TaskStatus::Running, 0, BYTES).await;

    world.turn().await;

    for (task, there) in [
        (&failed, true),
        (&oldest, false),
        (&older, false),
        (&old, false),
        (&live, true),
    ] {
        assert_eq!(world.has(task).await, (there, there), "{task}");
    }
    let kept = world.retention.setup.kept.told().kept.unwrap();
    let taken = kept.logs_bytes + kept.files_bytes;
    assert!(taken < 5 * BYTES as u64, "{kept:?}");
    let said = world.removed(&oldest).await.files.unwrap().by;
    assert_eq!(said, "retention of at most 1.9 MB");

    // When the live one ends and another comes, the failed one is the last to go.
    let next = world.task(6, TaskStatus::Running, 0, 2 * BYTES).await;
    world.turn().await;
    assert_eq!(world.has(&failed).await, (false, false));
    assert_eq!(world.has(&live).await, (true, true));
    assert_eq!(world.has(&next).await, (true, true));
}

#[tokio::test]
async fn what_somebody_reads_goes_when_it_has_been_read() {
    let mut settings = settings();
    settings.keep.results = days(10);
    let mut world = World::new(settings).await;
    let task = world.task(1, TaskStatus::Completed, 40, 10).await;
    let reading = world.files.reading(&task);
    world.turn().await;
    // Neither the files nor what is known of them, and the log by its own age.
    assert_eq!(world.has(&task).await, (false, true));
    drop(reading);
    world.turn().await;
    assert_eq!(world.has(&task).await, (false, false));
    assert_eq!(world.store.task(&task).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_crash_left_of_a_removal_is_removed_after_the_next_start() {
    // Given a log and files of which it is written down that they are gone,
    let mut world = World::new(settings()).await;
    let task = world.task(1, TaskStatus::Completed, 1, 10).await;
    let other = world.task(2, TaskStatus::Completed, 1, 10).await;
    let fact = Some(Removal {
        at: Wall(1),
        by: "retention".to_owned(),
    });
    let record = RemovedRecord {
        task: task.clone(),
        removed: Removed {
            log: fact.clone(),
            files: fact,
        },
    };
    let records = Arc::new(vec![Record::Removed(record)]);
    world.store.commit(records).await.unwrap();

    world.turn().await;

    assert_eq!(world.has(&task).await, (false, false));
    assert_eq!(world.has(&other).await, (true, true));
}

#[tokio::test]
async fn more_tasks_than_one_step_takes_are_all_looked_at() {
    let mut world = World::new(settings()).await;
    let count = super::STEP as u64 * 2 + 3;
    for number in 1..=count {
        world.task(number, TaskStatus::Completed, 31, 1).await;
    }
    world.turn().await;
    assert_eq!(world.retention.removed.logs, count);
    let kept = world.retention.setup.kept.told().kept.unwrap();
    assert_eq!(kept.logs_bytes, 0);
    assert!(kept.files_bytes >= count, "{kept:?}");
}

#[tokio::test]
async fn after_a_start_and_a_step_of_the_clock_nothing_goes_by_age_until_it_can_be_believed() {
    let mut settings = settings();
    settings.keep_bytes = Some(30_000);
    let mut world = World::new(settings).await;
    world.retention.grace = super::GRACE;
    let small = world.task(1, TaskStatus::Completed, 31, 10).await;
    world.turn().await;
    assert_eq!(world.has(&small).await, (true, true));
    // What takes too much room has nothing to do with clocks.
    let large = world.task(2, TaskStatus::Completed, 32, 40_000).await;
    world.turn().await;
    assert_eq!(world.has(&large).await, (false, false));
    assert_eq!(world.has(&small).await, (true, true));

    world.retention.grace = Duration::ZERO;
    world.turn().await;
    assert_eq!(world.has(&small).await, (false, true));
}

#[tokio::test]
async fn what_can_not_be_removed_holds_up_nothing_else_and_is_said() {
    let mut world = World::new(settings()).await;
    let stuck = world.task(1, TaskStatus::Completed, 32, 10).await;
    let next = world.task(2, TaskStatus::Completed, 31, 10).await;
    // Given a stray file among the users' folders, and a log that is no folder,
    std::fs::write(world.folder.path().join("files/notes.txt"), "mine").unwrap();
    let log = world.folder.path().join("logs").join(stuck.to_string());
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::write(&log, "not a log").unwrap();

    world.turn().await;
    assert_eq!(world.has(&next).await, (false, true));
    let said = world.retention.stuck.take().unwrap();
    assert!(said.contains("not a directory"), "{said}");

    // What is in the way is gone the next time: it was moved aside before.
    world.turn().await;
    assert_eq!(world.has(&stuck).await, (false, true));
    assert_eq!(world.retention.stuck, None);
}

fn days_ago(days: i64) -> Wall {
    Wall(cloudai_clock::now().wall.0 - days * 24 * 3600 * 1000)
}

fn entry(number: u64, days: i64) -> Record {
    Record::Account(AccountChange::Audit(Box::new(AuditRecord {
        number,
        at: days_ago(days),
        user: None,
        key: None,
        from: "192.0.2.1".to_owned(),
        action: "login".to_owned(),
        target: "ann".to_owned(),
        done: false,
        detail: String::new(),
        request: String::new(),
    })))
}

#[tokio::test]
async fn the_audit_goes_by_age_but_for_its_last_entry() {
    // Given more old entries than are looked at in one step, and two young ones,
    let mut world = World::new(settings()).await;
    let old = (1..=600).map(|number| entry(number, 366));
    let young = [entry(601, 364), entry(602, 0)];
    let records = old.chain(young).collect();
    world.store.commit(Arc::new(records)).await.unwrap();
    let numbers = async |world: &World| {
        let audit = world.store.audit(&AuditQuery::newest(999)).await.unwrap();
        audit.iter().map(|entry| entry.number).collect::<Vec<_>>()
    };

    // when the clock can't be believed yet, then nothing goes; when it can, the old ones do,
    world.retention.grace = Duration::from_secs(3600);
    world.turn().await;
    assert_eq!(numbers(&world).await.len(), 602);
    world.retention.grace = Duration::ZERO;
    world.turn().await;
    assert_eq!(numbers(&world).await, [602, 601]);

    // and of what is all too old the last one stays, so that its number is not given out again.
    world.retention.settings.keep_audit = Keep::For(Duration::from_millis(1));
    world.turn().await;
    assert_eq!(numbers(&world).await, [602]);
    world.turn().await;
    assert_eq!(world.store.accounts().await.unwrap().highest_audit, 602);
}
