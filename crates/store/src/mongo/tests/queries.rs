//! That questions go along indexes, and that a document which can't be read is named.

use cloudai_model::{SubmitKey, TaskStatus, Wall};
use mongodb::bson::{Bson, Document, doc};

use crate::mongod::Server;
use crate::{
    AuditQuery, EndedAt, EndedQuery, MongoStore, ReadError, Store as _, TaskQuery,
    conformance::{accounts, commit, sample},
    mongo::{accounts as people, ended, query},
};

/// The stages of the plan that the server takes for a page.
async fn plan(store: &MongoStore, filter: Document) -> String {
    plan_sorted(store, filter, doc! { "order_number": -1 }).await
}

async fn plan_sorted(store: &MongoStore, filter: Document, sort: Document) -> String {
    let find = doc! { "find": "TASKS", "filter": filter, "sort": sort, "limit": 50 };
    let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
    let database = store.link.plain_collection("TASKS").namespace().db;
    let database = store.link.client.database(&database);
    let answer = database.run_command(explain).await.unwrap();
    let planner = answer.get_document("queryPlanner").unwrap();
    let mut stages = Vec::new();
    let mut next = vec![planner.get_document("winningPlan").unwrap().clone()];
    while let Some(stage) = next.pop() {
        stages.push(stage.get_str("stage").unwrap_or_default().to_owned());
        next.extend(stage.get_document("inputStage").ok().cloned());
        let several = stage.get_array("inputStages").map(Vec::as_slice);
        next.extend(
            several
                .unwrap_or_default()
                .iter()
                .filter_map(Bson::as_document)
                .cloned(),
        );
    }
    stages.join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_tasks_sorts_or_reads_the_whole_collection() {
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    commit(&store, (1..=200).map(|number| sample(number).added())).await;
    let newest = TaskQuery::newest(50);
    let live = [TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Running];
    let queries = [
        newest.clone(),
        TaskQuery {
            before: Some(7),
            ..newest.clone()
        },
        TaskQuery {
            statuses: [TaskStatus::Failed].into(),
            ..newest.clone()
        },
        TaskQuery {
            statuses: live.into(),
            before: Some(7),
            ..newest.clone()
        },
        TaskQuery {
            user: Some("ann".parse().unwrap()),
            statuses: live.into(),
            ..newest.clone()
        },
        TaskQuery {
            worker: Some("w".parse().unwrap()),
            ..newest
        },
    ];
    for query in queries {
        let stages = plan(&store, query::filter(&query)).await;
        assert!(stages.contains("IXSCAN"), "{query:?}: {stages}");
        assert!(!stages.contains("COLLSCAN"), "{query:?}: {stages}");
        let sorts = stages.split(' ').any(|stage| stage == "SORT");
        assert!(!sorts, "{query:?}: {stages}");
    }
    store.close().await.unwrap();
}

/// What the server did to answer: how many documents it gave and how many it looked at, and all of
/// its words.
async fn answered(
    store: &MongoStore,
    collection: &str,
    filter: Document,
    sort: Document,
) -> (i64, i64, String) {
    let find = doc! { "find": collection, "filter": filter, "sort": sort, "limit": 50 };
    let explain = doc! { "explain": find, "verbosity": "executionStats" };
    let database = store.link.plain_collection("TASKS").namespace().db;
    let database = store.link.client.database(&database);
    let answer = database.run_command(explain).await.unwrap();
    let did = answer.get_document("executionStats").unwrap();
    let count = |field| i64::from(did.get_i32(field).unwrap());
    let planner = answer.get_document("queryPlanner").unwrap();
    let plan = planner.get_document("winningPlan").unwrap();
    (
        count("nReturned"),
        count("totalDocsExamined"),
        plan.to_string(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_by_user_and_status_reads_what_it_gives_and_nothing_else() {
    // Given many tasks of two users, few of which have failed, one submit under a key, and an audit,
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    let task = |number: u64| {
        let mut it = sample(number);
        it.task.spec.user = ["ann", "bob"][number as usize % 2].parse().unwrap();
        it.task.spec.submit_key = (number == 77).then(|| SubmitKey {
            key: "k".to_owned(),
            body: [0; 32],
            index: 0,
        });
        it.added_as(match number % 300 {
            0 => TaskStatus::Failed,
            _ => TaskStatus::Completed,
        })
    };
    commit(&store, (1..=1_500).map(task)).await;
    let entry = |number| {
        let mut entry = accounts::entry(number);
        entry.user = Some(["ann", "bob"][number as usize % 2].parse().unwrap());
        entry.action = ["login", "logout"][number as usize % 2].to_owned();
        accounts::done(&entry)
    };
    commit(&store, (1..=500).map(entry)).await;

    // when pages are asked for, then as many documents are looked at as are given.
    let newest = TaskQuery::newest(50);
    let ann = Some("ann".parse().unwrap());
    let by_order = doc! { "order_number": -1 };
    for (query, expected) in [
        (newest.clone(), 50),
        (
            TaskQuery {
                user: ann.clone(),
                before: Some(1_000),
                ..newest.clone()
            },
            50,
        ),
        (
            TaskQuery {
                user: ann.clone(),
                statuses: [TaskStatus::Failed].into(),
                ..newest.clone()
            },
            5,
        ),
        (
            TaskQuery {
                statuses: [TaskStatus::Failed, TaskStatus::Running].into(),
                before: Some(700),
                ..newest.clone()
            },
            2,
        ),
    ] {
        let filter = query::filter(&query);
        let (given, read, plan) = answered(&store, "TASKS", filter, by_order.clone()).await;
        assert_eq!((given, read), (expected, expected), "{query:?}: {plan}");
    }
    let bob = "bob".parse().unwrap();
    let under = query::submit_filter(&bob, "k");
    let sort = doc! { "order_number": 1 };
    let (given, read, plan) = answered(&store, "TASKS", under, sort).await;
    assert_eq!((given, read), (1, 1), "{plan}");
    assert!(plan.contains("cloudai_submit"), "{plan}");
    let audit = AuditQuery {
        before: Some(300),
        ..AuditQuery::newest(50)
    };
    for query in [
        audit.clone(),
        AuditQuery {
            user: ann,
            ..audit.clone()
        },
        AuditQuery {
            action: Some("login".to_owned()),
            ..audit
        },
    ] {
        let filter = people::filter(&query);
        let sort = doc! { "number": -1 };
        let (given, read, plan) = answered(&store, "AUDIT", filter, sort).await;
        assert_eq!((given, read), (50, 50), "{query:?}: {plan}");
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_of_a_sweep_sorts_or_reads_what_lies_behind_it() {
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    for number in 1..=100 {
        let it = sample(number);
        commit(&store, [it.added(), it.now_done()]).await;
    }
    let place = |at| EndedAt {
        at: Wall(at),
        order: 7,
    };
    for after in [None, Some(place(3))] {
        let query = EndedQuery {
            statuses: [TaskStatus::Completed, TaskStatus::Cancelled].into(),
            before: Wall(i64::MAX / 2),
            after,
            limit: 50,
        };
        let sort = doc! { "completed_at": 1, "order_number": 1 };
        let stages = plan_sorted(&store, ended::filter(&query), sort).await;
        assert!(stages.contains("IXSCAN"), "{query:?}: {stages}");
        let sorts = stages.split(' ').any(|stage| stage == "SORT");
        assert!(!sorts, "{query:?}: {stages}");
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_can_not_be_read_is_named() {
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    let it = sample(1);
    let batch = [it.added(), it.assigned(), it.resulted(), it.uploaded()];
    commit(&store, batch).await;
    let cases = [
        (
            "TASKS",
            "status",
            Bson::from("asleep"),
            "expected one of queued",
        ),
        ("TASKS", "env", "x".into(), "expected names and values"),
        ("TASKS", "priority", 101.into(), "expected 0 to 100"),
        ("TASKS", "gpu_milli", 1500.into(), "1500"),
        ("ASSIGNMENTS", "worker_id", "a b".into(), "not valid"),
        ("ASSIGNMENTS", "ended_reason", "x".into(), "neither"),
        ("RESULTS", "exit_reason", "x".into(), "exit kind"),
        (
            "FILE_METADATA",
            "sha256",
            Bson::Array(vec![]),
            "differ in number",
        ),
        ("FILE_METADATA", "pages", 1.into(), "page is missing"),
    ];
    for (collection, field, value, problem) in cases {
        let documents = store.link.collection(collection);
        let before = documents.find_one(doc! {}).await.unwrap().unwrap();
        let set = doc! { "$set": { field: value } };
        documents.update_one(doc! {}, set).await.unwrap();
        let error = match collection {
            "TASKS" => store.tasks(&TaskQuery::newest(9)).await.unwrap_err(),
            "ASSIGNMENTS" => store.assignments(it.id()).await.unwrap_err(),
            "RESULTS" => store.result(it.id()).await.unwrap_err(),
            _ => store.files(it.id()).await.unwrap_err(),
        };
        assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
        let said = error.to_string();
        assert!(
            said.contains(problem) && said.contains("task-1001"),
            "{said}"
        );
        documents.replace_one(doc! {}, before).await.unwrap();
    }
    assert_eq!(store.task(it.id()).await.unwrap(), Some(it.task));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fields_of_the_contract_are_there_in_its_units() {
    let server = Server::start(&[]);
    let store = MongoStore::open(&server.settings()).await.unwrap();
    let it = sample(1);
    let batch = [
        cloudai_model::record::Record::Worker(crate::conformance::worker("w-1")),
        it.added(),
        it.now_done(),
        it.assigned(),
        it.resulted(),
        it.uploaded(),
        accounts::there(&accounts::user("ann")),
    ];
    commit(&store, batch).await;
    let fields = [
        (
            "USERS",
            "username name email password_hash role created_at updated_at",
        ),
        (
            "TASKS",
            "task_id user_id task_name submitted_at docker_image command req_cpu req_memory \
             req_storage req_gpu tag task_type sla_multiplier deadline priority status attempt \
             created_at started_at completed_at",
        ),
        (
            "ASSIGNMENTS",
            "ass_id task_id worker_id attempt assigned_at ended_at",
        ),
        (
            "RESULTS",
            "task_id worker_id attempt status exit_code logs completed_at sla_success",
        ),
        (
            "FILE_METADATA",
            "user_id task_id task_name file_paths storage_path sizes sha256 uploaded_at",
        ),
        (
            "WORKER_REGISTRY",
            "worker_id worker_ip total_cpu total_memory total_storage total_gpu last_heartbeat \
             registered_at labels",
        ),
    ];
    for (collection, fields) in fields {
        let documents = store.link.collection(collection);
        let document = documents.find_one(doc! {}).await.unwrap().unwrap();
        for field in fields.split_whitespace() {
            assert!(
                document.contains_key(field),
                "{collection} {field}: {document}"
            );
        }
    }
    let expected = doc! {
        "task_id": "task-1001",
        "submitted_at": 1_700_000_000_i64,
        "req_cpu": 1.0,
        "req_memory": 0.5,
        "req_storage": 1.0,
        "req_gpu": 0.0,
        "status": "completed",
        "completed_at": mongodb::bson::DateTime::from_millis(1_700_000_009_000),
    };
    let tasks = store.link.collection("TASKS");
    assert_eq!(tasks.count_documents(expected).await.unwrap(), 1);
    store.close().await.unwrap();
}
