//! A database that the Go master wrote: what it lacked gets defaults, what can't be read is named.

use cloudai_model::{
    AccountState, Capacity, Command, GpuRequest, Phase, Priority, Role, TaskStatus, UserLimits,
    Wall, account::UserRecord, record::Record,
};
use mongodb::{
    Database,
    bson::{DateTime, Document, doc},
};

use crate::mongod::{Server, client};
use crate::{
    MongoSettings, MongoStore, Store as _, TaskQuery,
    conformance::{commit, loaded, sample},
};

const SUBMITTED: i64 = 1_700_000_000;

fn at(second: i64) -> DateTime {
    DateTime::from_millis((SUBMITTED + second) * 1000)
}

fn task(id: &str, status: &str, second: i64) -> Document {
    doc! {
        "task_id": id,
        "user_id": "ann",
        "docker_image": "alpine:3.20",
        "command": "echo hello",
        "req_cpu": 1.5,
        "req_memory": 0.5,
        "req_storage": 2.0,
        "req_gpu": 0.0,
        "status": status,
        "created_at": at(second),
        // Go's time that was never set.
        "started_at": DateTime::from_millis(-62_135_596_800_000),
    }
}

async fn written_by_go(server: &Server, settings: &MongoSettings) -> Database {
    let database = client(&server.uri())
        .await
        .database(settings.database.as_deref().unwrap());
    let mut sparse = task("task-7", "completed", 3);
    for field in ["command", "user_id", "created_at"] {
        sparse.remove(field);
    }
    sparse.insert("submitted_at", SUBMITTED + 3);
    sparse.insert("colour", "blue");
    let mut unreadable = task("task-9", "running", 4);
    unreadable.insert("req_cpu", "much");
    let collections = [
        (
            "USERS",
            vec![
                doc! {
                    "username": "ann", "name": "Ann", "email": "ann@example.org",
                    "password_hash": "$argon2id$v=19$m=65536,t=1,p=4$c2FsdA$aGFzaA",
                    "role": "admin", "created_at": at(-90), "updated_at": at(-80),
                },
                // As little as there ever was, and a word that is none of ours.
                doc! { "username": "bob", "role": "viewer" },
                doc! { "username": "no name", "password_hash": "x" },
            ],
        ),
        (
            "WORKER_REGISTRY",
            vec![
                doc! {
                    "worker_id": "w-1", "worker_ip": "10.0.0.2:50052",
                    "total_cpu": 8.0, "total_memory": 16.0, "total_storage": 100.0,
                    "total_gpu": 2.0, "allocated_cpu": 1.5, "is_active": true,
                    "last_heartbeat": SUBMITTED, "registered_at": at(-60),
                },
                doc! {
                    "worker_id": "w-2", "worker_ip": "10.0.0.3:50052",
                    "total_cpu": 0.0, "total_memory": 0.0, "last_heartbeat": 0_i64,
                },
            ],
        ),
        (
            "TASKS",
            vec![
                task("task-5", "running", 2),
                task("task-3", "pending", 1),
                sparse,
                unreadable,
            ],
        ),
        (
            "ASSIGNMENTS",
            vec![
                doc! { "ass_id": "a1", "task_id": "task-5", "worker_id": "w-1", "assigned_at": at(3) },
                doc! { "ass_id": "a2", "task_id": "task-7", "worker_id": "w-1", "assigned_at": at(4) },
                doc! { "ass_id": "a3", "task_id": "task-99", "worker_id": "w-1" },
            ],
        ),
        (
            "RESULTS",
            vec![doc! {
                "task_id": "task-7", "worker_id": "w-1", "status": "success",
                "logs": "hello\n", "completed_at": at(9),
            }],
        ),
        (
            "FILE_METADATA",
            vec![doc! {
                "task_id": "task-7", "user_id": "ann", "task_name": "t", "storage_path": "ann/t",
                "file_paths": ["a.txt", "b.txt"], "uploaded_at": at(9),
            }],
        ),
    ];
    for (collection, documents) in collections {
        database
            .collection(collection)
            .insert_many(documents)
            .await
            .unwrap();
    }
    // It may have made such an index of its own.
    let index = doc! { "key": { "user_id": 1, "order_number": 1 }, "name": "theirs" };
    let make = doc! { "createIndexes": "TASKS", "indexes": [index] };
    database.run_command(make).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_keep_their_numbers_when_taking_them_up_is_broken_off_between_two() {
    // Given a task of the Go master's that had three attempts,
    let server = Server::start(&[]);
    let settings = server.settings();
    let database = client(&server.uri())
        .await
        .database(settings.database.as_deref().unwrap());
    let tasks = database.collection("TASKS");
    tasks
        .insert_one(task("task-5", "running", 2))
        .await
        .unwrap();
    let assignments = database.collection::<Document>("ASSIGNMENTS");
    let attempt = |number: i64| {
        doc! {
            "ass_id": format!("a{number}"), "task_id": "task-5",
            "worker_id": format!("w-{number}"), "assigned_at": at(number),
        }
    };
    let all = [attempt(1), attempt(2), attempt(3)];
    assignments.insert_many(all).await.unwrap();
    let read = async |store: &MongoStore| {
        let found = store.assignments(&"task-5".parse().unwrap()).await.unwrap();
        let of = found
            .iter()
            .map(|it| (it.attempt.number, it.worker.to_string(), it.ended.is_some()));
        of.collect::<Vec<_>>()
    };
    let of = |number: u32, ended| (number, format!("w-{number}"), ended);
    let expected = [of(1, true), of(2, true), of(3, false)];
    let store = MongoStore::open(&settings).await.unwrap();
    assert_eq!(read(&store).await, expected);
    store.close().await.unwrap();

    // when a start ended after the first of them, as a crash there leaves it, or after the second,
    for left in [vec![2, 3], vec![3]] {
        for number in left {
            let ours = doc! { "_id": format!("task-5-{number}") };
            let removed = assignments.delete_one(ours).await.unwrap();
            assert_eq!(removed.deleted_count, 1);
            assignments.insert_one(attempt(number)).await.unwrap();
        }
        let store = MongoStore::open(&settings).await.unwrap();

        // then the next takes up the others, each as what it was.
        assert_eq!(read(&store).await, expected);
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_go_master_wrote_is_read_with_defaults_and_goes_on_from_there() {
    // Given a database of the Go master,
    let server = Server::start(&[]);
    let settings = server.settings();
    let database = written_by_go(&server, &settings).await;

    // when it is opened,
    let store = MongoStore::open(&settings).await.unwrap();

    // then what can be read is taken up, and what can't is named and left alone;
    let adopted = store.adopted().clone();
    assert_eq!(adopted.documents, 11, "{adopted:?}");
    for (place, expected) in ["username", "req_cpu", "no such task"].iter().enumerate() {
        let said = adopted.left_alone.get(place);
        assert!(said.is_some_and(|it| it.contains(expected)), "{adopted:?}");
    }
    assert_eq!(adopted.left_alone.len(), 3, "{adopted:?}");

    // its users come in as before, and nobody gets more than they had;
    let wrote = |second: i64| Wall((SUBMITTED + second) * 1000);
    let accounts = store.accounts().await.unwrap();
    let ann = UserRecord {
        user: "ann".parse().unwrap(),
        name: "Ann".to_owned(),
        email: "ann@example.org".to_owned(),
        password_hash: "$argon2id$v=19$m=65536,t=1,p=4$c2FsdA$aGFzaA".to_owned(),
        role: Role::Admin,
        state: AccountState::Active,
        generation: 0,
        limits: UserLimits::default(),
        created_at: wrote(-90),
        updated_at: wrote(-80),
    };
    let bob = UserRecord {
        user: "bob".parse().unwrap(),
        name: String::new(),
        email: String::new(),
        password_hash: String::new(),
        role: Role::User,
        created_at: Wall(0),
        updated_at: Wall(0),
        ..ann.clone()
    };
    assert_eq!(accounts.users, [ann, bob]);

    // a start gets the workers, and the live tasks in the order of their submits;
    let (records, highest) = loaded(&store).await;
    let [
        Record::Worker(one),
        Record::Worker(two),
        Record::TaskAdded(waits),
        Record::TaskAdded(runs),
        Record::Assignment(open),
    ] = records.as_slice()
    else {
        panic!("{records:?}");
    };
    let capacity = Capacity {
        cpu_milli: 8000,
        memory_bytes: 16 << 30,
        storage_bytes: 100 << 30,
        gpus: 2,
    };
    assert_eq!(one.capacity, Some(capacity));
    assert_eq!(one.last_seen_at, Some(Wall(SUBMITTED * 1000)));
    assert_eq!(
        (two.capacity, two.last_seen_at, two.draining),
        (None, None, false)
    );
    assert_eq!(waits.task.to_string(), "task-3");
    assert_eq!(
        (waits.state.status, waits.state.attempt),
        (TaskStatus::Queued, 0)
    );
    assert_eq!(runs.task.to_string(), "task-5");
    assert_eq!(
        (runs.state.status, runs.state.phase),
        (TaskStatus::Running, Phase::Running)
    );
    assert_eq!(
        (runs.state.attempt, runs.state.worker.as_ref()),
        (1, Some(&one.worker))
    );
    assert_eq!(runs.state.started_at, None);
    assert_eq!(runs.spec.resources.cpu_milli, 1500);
    assert_eq!(runs.spec.resources.gpu, GpuRequest::None);
    assert_eq!(runs.spec.command, Command::Shell("echo hello".to_owned()));
    assert_eq!(runs.spec.priority, Priority::default());
    assert_eq!((&open.attempt.task, open.attempt.number), (&runs.task, 1));
    assert_eq!((highest.order, highest.task_number), (3, Some(7)));

    // what is over is there with its result and files;
    let over = store.tasks(&TaskQuery::newest(1)).await.unwrap().remove(0);
    assert_eq!((over.task.to_string().as_str(), over.order), ("task-7", 3));
    assert_eq!(
        (over.spec.user.as_str(), &over.spec.command),
        ("admin", &Command::Image)
    );
    // Sizes of files it kept none, of an earlier version they are counted as they are read.
    let ann = "ann".parse().unwrap();
    assert_eq!(store.files_bytes_of_user(&ann).await.unwrap(), 0);
    let sizes = doc! { "$set": { "sizes": [30_i64, 12_i64] }, "$unset": { "bytes": 1 } };
    let files = database.collection::<Document>("FILE_METADATA");
    files.update_one(doc! {}, sizes).await.unwrap();
    assert_eq!(store.files_bytes_of_user(&ann).await.unwrap(), 42);
    let result = store.result(&over.task).await.unwrap().unwrap();
    assert_eq!(
        (result.status, result.log_tail.as_str()),
        (TaskStatus::Completed, "hello\n")
    );
    let files = store.files(&over.task).await.unwrap().unwrap();
    assert_eq!(
        (files.files.len(), files.files[1].path.as_str()),
        (2, "b.txt")
    );

    // and it goes on: states change, tasks are added, and another start finds nothing to take up.
    let mut ended = open.clone();
    ended.ended = Some((Wall(5), "done".to_owned()));
    let state = sample(1).done;
    commit(
        &store,
        [
            Record::TaskChanged(runs.task.clone(), state.clone()),
            Record::Assignment(ended.clone()),
            sample(4).added(),
        ],
    )
    .await;
    store.close().await.unwrap();
    let store = MongoStore::open(&settings).await.unwrap();
    assert_eq!(store.adopted().documents, 0);
    assert_eq!(store.task(&runs.task).await.unwrap().unwrap().state, state);
    assert_eq!(store.assignments(&runs.task).await.unwrap(), [ended]);
    let kept = doc! { "task_id": "task-7", "colour": "blue" };
    let tasks = database.collection::<Document>("TASKS");
    assert_eq!(tasks.count_documents(kept).await.unwrap(), 1);
    assert_eq!(tasks.count_documents(doc! {}).await.unwrap(), 5);
    store.close().await.unwrap();
}
