//! Tasks over REST: every status of the contract.

use std::sync::atomic::Ordering::Relaxed;

use cloudai_core::SubmitError;
use cloudai_model::{KeyScope, TaskStatus};
use serde_json::{Value, json};

use crate::support::{
    Site,
    client::{delete, get, patch, post},
    master::{Fault, NOW},
};

fn image() -> Value {
    json!({"docker_image": "alpine"})
}

#[tokio::test]
async fn a_task_is_submitted_read_changed_and_cancelled() {
    // Given a task that alice submits with everything that a task may have,
    let site = Site::new().await;
    let token = site.token("alice").await;
    let body = json!({
        "docker_image": "alpine:3.20", "command": ["echo", "hi"], "name": "first",
        "cpu_required": 2, "memory_gb": 1, "env": {"SECRET": "x"}, "priority": 40, "deadline": 60,
        "timeout_s": 30, "max_retries": 1, "labels": {"team": "a"}, "tag": "t",
        "task_type": "mixed", "container": {"network": "none"},
    });
    let made = site
        .send(post("/api/tasks").by(&token).json(&body))
        .await
        .expect(201);
    let task = made.json();
    let id = task["task_id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location").unwrap(), format!("/api/tasks/{id}"));
    for (field, value) in [
        ("user_id", json!("alice")),
        ("status", json!("queued")),
        ("command", json!(["echo", "hi"])),
        ("cpu_cores", json!(2.0)),
        ("deadline", json!("2023-10-12T15:12:00.000Z")),
        ("submitted_at", json!("2023-10-12T15:11:00.000Z")),
        ("reason", json!("no worker is registered")),
    ] {
        assert_eq!(task[field], value, "{field}");
    }
    assert!(!made.text().contains("SECRET"));

    // when she reads it, then it has a tag, and is not sent again to whoever has it;
    let path = format!("/api/tasks/{id}");
    let read = site.send(get(&path).by(&token)).await.expect(200);
    let tag = read.header("etag").unwrap().to_owned();
    let again = get(&path).by(&token).header("If-None-Match", &tag);
    let again = site.send(again).await.expect(304);
    assert!(again.body.is_empty());
    let other = get(&path).by(&token).header("If-None-Match", "\"x\"");
    site.send(other).await.expect(200);

    // when she changes it as she knows it, then it is changed, and her knowledge is of yesterday;
    let change = patch(&path)
        .by(&token)
        .header("If-Match", &tag)
        .json(&json!({"name": "second", "priority": 10, "deadline": null, "hold": true}));
    let changed = site.send(change.clone()).await.expect(200);
    let task = changed.json();
    assert_eq!(
        (
            &task["name"],
            &task["priority"],
            &task["deadline"],
            &task["hold"],
            &task["timeout_s"]
        ),
        (
            &json!("second"),
            &json!(10),
            &Value::Null,
            &json!(true),
            &json!(30.0)
        )
    );
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    site.send(change)
        .await
        .expect_problem(412, "precondition_failed");

    // A change of nothing is taken, and no line of the audit.
    let same = patch(&path).by(&token).json(&json!({"name": "second"}));
    site.send(same).await.expect(200);

    // when she cancels it, then that is taken, and once it has ended nothing can be changed.
    let cancelled = site.send(delete(&path).by(&token)).await.expect(202);
    assert_eq!(cancelled.json()["status"], "cancelled");
    site.send(delete(&path).by(&token))
        .await
        .expect_problem(409, "task_final");
    let late = patch(&path).by(&token).json(&json!({"name": "x"}));
    site.send(late).await.expect_problem(409, "task_final");
    let of_alice = |action: &str| (action.to_owned(), id.clone(), true);
    let done = site.done();
    for action in ["task.submit", "task.change", "task.cancel"] {
        let lines = done.iter().filter(|it| **it == of_alice(action)).count();
        assert_eq!(lines, 1, "{action}: {done:?}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_body_is_told_at_once() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let wrong = json!({
        "docker_image": "UPPER", "cpu_cores": 0, "memory_required": -1, "priority": "high",
        "deadline": "yesterday", "containr": {}, "container": {"hostname": "-"},
        "priority_level": 1, "env": {"A": 1}, "after": ["task-1"], "user_id": "bob",
    });
    let reply = site.send(post("/api/tasks").by(&token).json(&wrong)).await;
    let mut places = reply.expect_problem(400, "invalid_body").places();
    places.sort();
    assert_eq!(
        places,
        [
            "/after",
            "/container/hostname",
            "/containr",
            "/cpu_cores",
            "/deadline",
            "/docker_image",
            "/env/A",
            "/memory_required",
            "/priority",
            "/priority_level",
        ]
    );
    let late = json!({"docker_image": "a", "deadline": "2020-01-31T08:00:00Z", "user_id": "bob"});
    let reply = site.send(post("/api/tasks").by(&token).json(&late)).await;
    assert_eq!(
        reply.expect_problem(400, "invalid_body").places(),
        ["/deadline", "/user_id"]
    );
    let wrong = json!({"priority": 101, "timeout_s": 0, "hold": true});
    let task = site.master.put("alice", 1);
    let reply = site
        .send(patch(format!("/api/tasks/{task}")).by(&token).json(&wrong))
        .await;
    let reply = reply.expect_problem(400, "invalid_body");
    assert_eq!(reply.places(), ["/timeout_s", "/priority"]);
    let wrong = json!({"docker_image": "b"});
    let reply = site
        .send(patch(format!("/api/tasks/{task}")).by(&token).json(&wrong))
        .await;
    assert_eq!(
        reply.expect_problem(400, "invalid_body").places(),
        ["/docker_image"]
    );
}

#[tokio::test]
async fn only_an_admin_submits_for_others_and_goes_above_50() {
    let site = Site::new().await;
    let (alice, admin) = (site.token("alice").await, site.token("admin").await);
    let for_bob = json!({"docker_image": "alpine", "user_id": "bob"});
    let urgent = json!({"docker_image": "alpine", "priority": 51});
    let reply = site
        .send(post("/api/tasks").by(&alice).json(&for_bob))
        .await;
    assert_eq!(
        reply.expect_problem(403, "not_allowed").places(),
        ["/user_id"]
    );
    let reply = site.send(post("/api/tasks").by(&alice).json(&urgent)).await;
    assert_eq!(
        reply.expect_problem(403, "not_allowed").places(),
        ["/priority"]
    );
    let task = site.master.put("alice", 1);
    let raise = patch(format!("/api/tasks/{task}")).json(&json!({"priority": 99}));
    let reply = site.send(raise.clone().by(&alice)).await;
    assert_eq!(
        reply.expect_problem(403, "not_allowed").places(),
        ["/priority"]
    );

    let made = site
        .send(post("/api/tasks").by(&admin).json(&for_bob))
        .await
        .expect(201);
    assert_eq!(made.json()["user_id"], "bob");
    site.send(post("/api/tasks").by(&admin).json(&urgent))
        .await
        .expect(201);
    site.send(raise.by(&admin)).await.expect(200);
}

#[tokio::test]
async fn what_was_taken_under_a_key_stays_taken_when_its_deadline_has_passed() {
    // Given a task with a deadline,
    let site = Site::new().await;
    let alice = site.token("alice").await;
    // An hour from now on.
    let body = json!({"docker_image": "alpine", "deadline": "2023-10-12T16:11:00Z"});
    let submit = |key: &str| {
        let submit = post("/api/tasks").by(&alice).json(&body);
        submit.header("Idempotency-Key", key)
    };
    let first = site.send(submit("k")).await.expect(201);
    // when it is sent again after that, then it is the same task,
    site.master.later.store(2 * 3_600_000, Relaxed);
    let again = site.send(submit("k")).await.expect(201);
    assert_eq!(again.json()["task_id"], first.json()["task_id"]);
    assert_eq!(again.header("location"), first.header("location"));
    // and what is new is refused.
    let new = site.send(submit("other")).await;
    let new = new.expect_problem(400, "invalid_body");
    assert_eq!(new.places(), ["/deadline"]);
}

#[tokio::test]
async fn the_same_key_and_body_give_the_same_task() {
    let site = Site::new().await;
    let (alice, bob) = (site.token("alice").await, site.token("bob").await);
    let with_key = |token: &str, key: &str, body: &Value| {
        post("/api/tasks")
            .by(token)
            .header("Idempotency-Key", key)
            .json(body)
    };
    let first = site
        .send(with_key(&alice, "k 1", &image()))
        .await
        .expect(201)
        .json();
    let again = site
        .send(with_key(&alice, "k 1", &image()))
        .await
        .expect(201)
        .json();
    assert_eq!(first["task_id"], again["task_id"]);
    let other = site
        .send(with_key(&alice, "k 2", &image()))
        .await
        .expect(201)
        .json();
    assert_ne!(first["task_id"], other["task_id"]);
    let of_bob = site
        .send(with_key(&bob, "k 1", &image()))
        .await
        .expect(201)
        .json();
    assert_ne!(first["task_id"], of_bob["task_id"]);
    let changed = json!({"docker_image": "busybox"});
    site.send(with_key(&alice, "k 1", &changed))
        .await
        .expect_problem(409, "idempotency_key_reused");
    for wrong in ["a\tb", &"k".repeat(256)] {
        let reply = site.send(with_key(&alice, wrong, &image())).await;
        let reply = reply.expect_problem(400, "invalid_parameter");
        assert_eq!(reply.places(), ["idempotency-key"]);
    }
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let count = || site.master.tasks.lock().unwrap().len();
    let wrong = json!({"tasks": [
        image(), {"docker_image": "", "cpu_cores": -1}, image(), {"cpu_cores": 1},
    ]});
    let reply = site
        .send(post("/api/tasks/batch").by(&token).json(&wrong))
        .await;
    let reply = reply.expect_problem(400, "invalid_body");
    assert_eq!(
        reply.places(),
        [
            "/tasks/1/docker_image",
            "/tasks/1/cpu_cores",
            "/tasks/3/docker_image"
        ]
    );
    *site.master.refusal.lock().unwrap() = Some(SubmitError::QueueFull(3));
    let batch = json!({"tasks": [image(), image(), image()]});
    let full = site
        .send(post("/api/tasks/batch").by(&token).json(&batch))
        .await;
    full.expect_problem(429, "queue_full");
    assert_eq!(count(), 0);

    *site.master.refusal.lock().unwrap() = None;
    let taken = site
        .send(post("/api/tasks/batch").by(&token).json(&batch))
        .await;
    let taken = taken.expect(201).json();
    assert_eq!((taken["items"].as_array().unwrap().len(), count()), (3, 3));
    assert_eq!(taken["items"][0]["status"], "queued");

    // The largest that there may be.
    let tasks = vec![json!({"docker_image": "alpine", "command": "echo hello"}); 10_000];
    let batch = json!({ "tasks": tasks });
    site.send(post("/api/tasks/batch").by(&token).json(&batch))
        .await
        .expect(201);
    assert_eq!(count(), 10_003);
}

#[tokio::test]
async fn pages_stay_right_while_tasks_are_added() {
    // Given five tasks of alice's, of which she reads the first two,
    let site = Site::new().await;
    let token = site.token("alice").await;
    for number in 1..=5 {
        site.master.put("alice", number);
        site.master.put("bob", 100 + number);
    }
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|task| task["task_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = site
        .send(get("/api/tasks?limit=2").by(&token))
        .await
        .expect(200)
        .json();
    assert_eq!(ids(&page), ["task-5", "task-4"]);

    // when another is added, then the next pages go on where the first ended.
    site.master.put("alice", 6);
    let next = |page: &Value| {
        let cursor = page["next_cursor"].as_str().unwrap();
        get(format!("/api/tasks?limit=2&cursor={cursor}")).by(&token)
    };
    let page = site.send(next(&page)).await.expect(200).json();
    assert_eq!(ids(&page), ["task-3", "task-2"]);
    let page = site.send(next(&page)).await.expect(200).json();
    assert_eq!(ids(&page), ["task-1"]);
    assert_eq!(page["next_cursor"], Value::Null);

    site.master
        .end(&"task-2".parse().unwrap(), TaskStatus::Failed);
    let failed = get("/api/tasks?status=failed,cancelled").by(&token);
    assert_eq!(ids(&site.send(failed).await.expect(200).json()), ["task-2"]);
    for wrong in [
        "status=done",
        "limit=0",
        "limit=x",
        "cursor=x",
        "colour=red",
        "limit=1&limit=2",
    ] {
        let reply = site
            .send(get(format!("/api/tasks?{wrong}")).by(&token))
            .await;
        let reply = reply.expect_problem(400, "invalid_parameter");
        assert_eq!(reply.places()[0], wrong.split('=').next().unwrap());
    }
}

#[tokio::test]
async fn an_admin_sees_all_tasks_and_others_their_own() {
    let site = Site::new().await;
    site.master.put("alice", 1);
    site.master.put("bob", 2);
    let seen = async |user: &str, query: &str| {
        let token = site.token(user).await;
        let page = site
            .send(get(format!("/api/tasks{query}")).by(&token))
            .await
            .expect(200);
        page.json()["items"].as_array().unwrap().len()
    };
    assert_eq!(seen("admin", "").await, 2);
    assert_eq!(seen("admin", "?user=bob").await, 1);
    assert_eq!(seen("alice", "").await, 1);
    assert_eq!(seen("alice", "?user=alice").await, 1);
    assert_eq!(seen("alice", "?user=bob").await, 0);
    assert_eq!(seen("alice", "?user=nobody").await, 0);
}

#[tokio::test]
async fn the_timeline_and_why_it_waits_are_told() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    let why = site
        .send(get(format!("/api/tasks/{task}/explain")).by(&token))
        .await;
    let why = why.expect(200).json();
    assert_eq!(why["waiting"]["position"], 3);
    assert_eq!(why["waiting"]["waiting_for"], "no worker is registered");

    site.master.start(&task, 1);
    site.master.end(&task, TaskStatus::Completed);
    let events = site
        .send(get(format!("/api/tasks/{task}/events")).by(&token))
        .await;
    let events = events.expect(200).json();
    let kinds: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["submitted", "assigned", "started", "completed"]);
    assert_eq!(events["items"][1]["at"], NOW.wall.to_string());
}

#[tokio::test]
async fn a_key_reaches_as_far_as_its_scope() {
    let site = Site::new().await;
    let task = site.master.put("alice", 1);
    let path = format!("/api/tasks/{task}");
    let reader = site.key("alice", KeyScope::Read).await;
    site.send(get(&path).by(&reader)).await.expect(200);
    site.send(post("/api/tasks").by(&reader).json(&image()))
        .await
        .expect_problem(403, "key_scope");
    site.send(delete(&path).by(&reader))
        .await
        .expect_problem(403, "key_scope");
    // An admin's sees everybody's in a list, too.
    let reader = site.key("admin", KeyScope::Read).await;
    let listed = site.send(get("/api/tasks").by(&reader)).await.expect(200);
    assert_eq!(listed.json()["items"][0]["task_id"], task.to_string());
    let worker = site.key("alice", KeyScope::Tasks).await;
    site.send(post("/api/tasks").by(&worker).json(&image()))
        .await
        .expect(201);
    site.send(delete(&path).by(&worker)).await.expect(202);
    site.send(get("/api/keys").by(&worker))
        .await
        .expect_problem(403, "key_scope");
}

#[tokio::test]
async fn an_admins_task_with_an_id_of_its_own_is_taken_once_and_nobody_else_learns_which_are_free()
{
    let site = Site::new().await;
    let (admin, alice) = (site.token("admin").await, site.token("alice").await);
    let named = |id: &str| json!({"docker_image": "alpine", "task_id": id});
    let submit = |id: &str, token: &str| post("/api/tasks").by(token).json(&named(id));
    site.send(submit("nightly-7", &admin)).await.expect(201);
    let taken = site.send(submit("nightly-7", &admin)).await;
    taken.expect_problem(409, "id_taken");
    site.send(get("/api/tasks/nightly-7").by(&admin))
        .await
        .expect(200);
    for id in ["nightly-7", "nightly-8"] {
        let refused = site.send(submit(id, &alice)).await;
        let refused = refused.expect_problem(403, "not_allowed");
        assert_eq!(refused.places(), ["/task_id"]);
    }
}

#[tokio::test]
async fn of_two_changes_that_rest_on_the_same_one_is_refused() {
    // Given a task as alice knows it, and a master that takes long for changes,
    let site = Site::new().await;
    let task = site.master.put("alice", 1);
    let (token, path) = (site.token("alice").await, format!("/api/tasks/{task}"));
    let known = site.send(get(&path).by(&token)).await.expect(200);
    let tag = known.header("etag").unwrap().to_owned();
    let waits = site.master.slow.acquire().await.unwrap();

    // when she sends two changes of that together,
    let change = |name: &str| {
        let change = patch(&path).by(&token).header("If-Match", &tag);
        change.json(&json!({ "name": name }))
    };
    let let_go = async {
        site.under_way(2).await;
        drop(waits);
    };
    let (one, two) = (change("one"), change("two"));
    let (one, two, ()) = tokio::join!(site.send(one), site.send(two), let_go);

    // then one is made.
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn what_was_done_is_told_also_when_it_can_t_be_read_back() {
    let site = Site::new().await;
    let task = site.master.put("alice", 1);
    let (token, path) = (site.token("alice").await, format!("/api/tasks/{task}"));
    *site.master.fault.lock().unwrap() = Fault::UnreadableOnceWritten;
    let changed = site
        .send(patch(&path).by(&token).json(&json!({"name": "new"})))
        .await
        .expect(200);
    assert_eq!(changed.json()["name"], "new");
    *site.master.fault.lock().unwrap() = Fault::UnreadableOnceWritten;
    let cancelled = site.send(delete(&path).by(&token)).await.expect(202);
    assert_eq!(cancelled.json()["status"], "cancelled");
}
