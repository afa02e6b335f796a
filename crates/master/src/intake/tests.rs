//! Tasks that are accepted before the store has been read become tasks once each, whatever fails
//! in between. The database and the disk fail as the test wants: nothing else makes them fail in
//! such an instant.

use cloudai_core::{Core, Effect, Settings, policy::RoundRobin};
use cloudai_model::{Setting, TaskChange, TaskDraft, record::Record};
use cloudai_store::{FakeDatabase, JournalSettings, MemoryStore, TaskQuery};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    core_loop::{self, Effects},
    room::Room,
    snapshot::Snapshots,
};

struct Nobody;

impl Effects for Nobody {
    fn added(&mut self, _task: &TaskRecord) {}
    fn changed(&mut self, _task: &TaskId) {}
    fn run(&mut self, _effect: Effect) {}
}

/// A master as far as it matters here.
struct Master {
    store: Arc<JournaledStore>,
    intake: Arc<Intake>,
    core: CoreHandle,
    ready: tokio::sync::oneshot::Receiver<()>,
}

impl Master {
    async fn start(folder: &TempDir, database: &FakeDatabase) -> Self {
        Self::start_with(folder, database, usize::MAX).await
    }

    async fn start_with(folder: &TempDir, database: &FakeDatabase, queue_limit: usize) -> Self {
        let settings = JournalSettings {
            data_dir: folder.path().to_owned(),
            required: false,
            journal_after: Duration::from_millis(300),
        };
        let store = JournaledStore::open_over_fake(settings, database).await;
        let store = Arc::new(store.unwrap());
        let cluster: cloudai_model::ClusterId = "c-test".parse().unwrap();
        let core = Core::new(Settings::default(), Box::new(RoundRobin), cluster.clone());
        let snapshots = Snapshots::unready(cluster);
        let started = core_loop::start(core, store.clone(), Nobody, snapshots, Room::endless());
        Self {
            intake: Arc::new(Intake::new(store.clone(), queue_limit)),
            store,
            core: started.core,
            ready: started.ready,
        }
    }

    async fn has_read(&mut self) {
        (&mut self.ready).await.unwrap();
        eventually("the store to be well", async || {
            self.store.degraded().is_none()
        })
        .await;
    }

    /// Hands over beside what the test does.
    fn hand_over(&self) -> tokio::task::JoinHandle<()> {
        let (intake, core) = (self.intake.clone(), self.core.clone());
        tokio::spawn(async move { intake.hand_over(&core).await })
    }

    async fn end(self) {
        self.core.stop().await;
        self.store.close().await.unwrap();
    }
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "waited for {what}");
}

async fn in_time(handing_over: tokio::task::JoinHandle<()>) {
    let ended = timeout(Duration::from_secs(60), handing_over).await;
    ended.expect("all are handed over").unwrap();
}

fn spec(name: &str) -> TaskSpec {
    let draft = TaskDraft {
        docker_image: "alpine".to_owned(),
        name: Some(name.to_owned()),
        ..TaskDraft::default()
    };
    draft.check().unwrap().1
}

async fn take(master: &Master, name: &str) -> TaskId {
    master.intake.take(&spec(name)).await.unwrap().task
}

async fn names(store: &MemoryStore) -> Vec<String> {
    let tasks = store.tasks(&TaskQuery::newest(9_999)).await.unwrap();
    let names = tasks.into_iter().rev();
    names.map(|task| task.spec.name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_handed_over_once_though_it_was_changed_before_that_was_written_down() {
    // Given tasks that were accepted, and a disk that takes nothing more once the store is read,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    database.goes_away();
    let mut master = Master::start(&folder, &database).await;
    let first = take(&master, "one").await;
    take(&master, "two").await;
    let third = take(&master, "three").await;
    assert!(master.intake.cancel(&third).await.unwrap());
    database.comes_back();
    master.has_read().await;
    master.store.journal_fails(true);

    // when they are in the store and one is changed there, before it is known that they are,
    let handing_over = master.hand_over();
    let names = async || names(database.kept()).await;
    eventually("three tasks", async || names().await.len() == 3).await;
    let change = TaskChange {
        timeout: Setting::To(Duration::from_secs(77)),
        ..TaskChange::default()
    };
    let task = first.clone();
    let change = master
        .core
        .call(move |call| Input::Change { call, task, change });
    assert!(matches!(change.await.unwrap(), Answer::Changed(Ok(_))));
    master.store.journal_fails(false);
    in_time(handing_over).await;

    // then each is there once, in order, as it was changed and cancelled.
    assert_eq!(names().await, ["one", "two", "three"]);
    let task = master.store.task(&first).await.unwrap().unwrap();
    assert_eq!(task.spec.timeout, Some(Duration::from_secs(77)));
    let task = master.store.task(&third).await.unwrap().unwrap();
    assert_eq!(task.state.status, TaskStatus::Cancelled);
    assert!(master.store.taken_in(BTreeMap::is_empty));
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_id_another_one_has_is_handed_over_once_under_one_that_follows_from_it() {
    // Given an accepted task, whose id the database knows as another's,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    database.goes_away();
    let mut master = Master::start(&folder, &database).await;
    let id = take(&master, "mine").await;
    let other = TaskRecord {
        task: id.clone(),
        order: 1,
        spec: spec("another"),
        submitted_at: Wall(5),
        state: TaskState::queued(""),
    };
    let batch = Arc::new(vec![Record::TaskAdded(Box::new(other))]);
    database.kept().commit(batch).await.unwrap();
    database.comes_back();
    master.has_read().await;

    // when it is handed over, and the master ends before that could be written down, twice,
    let names = async || names(database.kept()).await;
    for _ in 0..2 {
        master.store.journal_fails(true);
        let handing_over = master.hand_over();
        eventually("two tasks", async || names().await.len() == 2).await;
        handing_over.abort();
        let _ = handing_over.await;
        master.end().await;
        master = Master::start(&folder, &database).await;
        master.has_read().await;
        assert!(!master.store.taken_in(BTreeMap::is_empty));
    }
    in_time(master.hand_over()).await;

    // then it is there once.
    assert_eq!(names().await, ["another", "mine"]);
    let second: TaskId = format!("{id}.2").parse().unwrap();
    let task = master.store.task(&second).await.unwrap().unwrap();
    assert_eq!(task.spec, spec("mine"));
    assert!(master.store.taken_in(BTreeMap::is_empty));
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_again_costs_a_pause_and_not_one_for_each_task() {
    // Given many accepted tasks,
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    database.goes_away();
    let mut master = Master::start(&folder, &database).await;
    let takes = (0..AT_ONCE).map(|_| take(&master, "one of many"));
    join_all(takes).await;
    database.comes_back();
    master.has_read().await;

    // when the database is away as they are to be handed over, and comes back,
    database.goes_away();
    eventually("the outage to be seen", async || {
        master.store.degraded().is_some()
    })
    .await;
    let began = tokio::time::Instant::now();
    let handing_over = master.hand_over();
    database.comes_back();
    in_time(handing_over).await;

    // then all are handed over after a pause or two.
    assert_eq!(names(database.kept()).await.len(), AT_ONCE);
    assert!(began.elapsed() < AT_ONCE as u32 * PAUSE / 4);
    master.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_taken_than_may_wait_and_each_knows_its_place() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    database.goes_away();
    let master = Master::start_with(&folder, &database, 2).await;
    let first = take(&master, "one").await;
    let second = master.intake.take(&spec("two")).await.unwrap();
    assert_eq!(second.position, 2);
    let error = master.intake.take(&spec("three")).await.unwrap_err();
    assert!(matches!(error, TakeError::QueueFull(2)), "{error}");

    // One that was cancelled waits no more.
    assert!(master.intake.cancel(&first).await.unwrap());
    let third = take(&master, "three").await;
    assert!(master.intake.take(&spec("four")).await.is_err());
    assert_eq!(master.intake.queued(&first), None);
    assert_eq!(master.intake.queued(&third).unwrap().position, 2);
    let queue = master.intake.queue(1);
    assert_eq!((queue.len(), &queue[0].record.task), (1, &second.task));
    let newest = |wanted| {
        let found = master
            .intake
            .newest_first(2, |_, _, status| status == wanted);
        let ids = found.into_iter().map(|task| task.task);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(newest(TaskStatus::Queued), [third, second.task]);
    assert_eq!(newest(TaskStatus::Cancelled), [first]);
    master.end().await;
}
