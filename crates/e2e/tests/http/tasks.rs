//! Tasks: submitted, one by one and thousands at once, listed, changed, held up by limits.

use std::collections::BTreeSet;

use cloudai_tests::wait::until;
use serde_json::{Value, json};

use crate::{
    Site, shell, test_task,
    web::{delete, get, patch, post},
};

async fn count(site: &Site, token: &str) -> usize {
    let mut cursor = String::new();
    let mut count = 0;
    loop {
        let asked = get(format!("/api/tasks?limit=1000&cursor={cursor}")).by(token);
        let page = asked.send(site.at()).await.expect(200).json();
        count += page["items"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return count,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_from_its_submit_to_a_container_and_its_end() {
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    // A whole body arrives in the container as it was sent.
    let mut body = shell("echo \"$GREETING\"; exit 3");
    body["env"] = json!({"GREETING": "hello"});
    body["name"] = json!("greeter");
    body["labels"] = json!({"team": "vision"});
    body["max_retries"] = json!(1);
    let submit = post("/api/tasks")
        .by(&alice)
        .header("Idempotency-Key", "k-1");
    let made = submit.clone().json(&body).send(site.at()).await.expect(201);
    let id = made.json()["task_id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), Some(&*format!("/api/tasks/{id}")));
    assert_eq!(made.json()["user_id"], "alice");
    let ended = site.has_status(&alice, &id, "failed").await;
    assert_eq!(
        (&ended["exit_code"], &ended["attempt"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(ended["labels"], json!({"team": "vision"}));
    let log = get(format!("/api/tasks/{id}/logs")).by(&alice);
    assert_eq!(log.send(site.at()).await.expect(200).text(), "hello\n");
    let events = get(format!("/api/tasks/{id}/events")).by(&alice);
    let events = events.send(site.at()).await.expect(200).json();
    assert!(events["items"].as_array().unwrap().len() >= 4, "{events}");
    // The same key and body are the same task, another body is refused.
    let again = submit.clone().json(&body).send(site.at()).await.expect(201);
    assert_eq!(again.json()["task_id"], json!(id));
    body["name"] = json!("other");
    submit
        .json(&body)
        .send(site.at())
        .await
        .expect_problem(409, "idempotency_key_reused");
    // What has ended can't be cancelled or changed.
    let path = format!("/api/tasks/{id}");
    delete(&path)
        .by(&alice)
        .send(site.at())
        .await
        .expect_problem(409, "task_final");
    let change = patch(&path).by(&alice).json(&json!({"priority": 1}));
    change
        .send(site.at())
        .await
        .expect_problem(409, "task_final");

    // One that runs is cancelled, and its container is gone.
    let asked = post("/api/tasks")
        .by(&alice)
        .json(&test_task(&["sleep", "600"]));
    let id = asked.send(site.at()).await.expect(201).json();
    let id = id["task_id"].as_str().unwrap();
    site.has_status(&alice, id, "running").await;
    delete(format!("/api/tasks/{id}"))
        .by(&alice)
        .send(site.at())
        .await
        .expect(202);
    site.has_status(&alice, id, "cancelled").await;
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_body_is_told_at_once() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let body = json!({
        "docker_image": "", "cpu_cores": -1, "memory_gb": "x", "gpu_cores": 1.5, "prioritiy": 3,
        "labels": {"a": 1},
    });
    let refused = post("/api/tasks")
        .by(&alice)
        .json(&body)
        .send(site.at())
        .await;
    let problem = refused.expect_problem(400, "invalid_body").json();
    let errors = problem["errors"].as_array().unwrap().iter();
    let pointers: BTreeSet<&str> = errors
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    let expected = ["/memory_gb", "/prioritiy", "/labels/a"];
    assert!(
        expected.iter().all(|pointer| pointers.contains(pointer)),
        "{problem}"
    );
    // A user stays below the priorities of admins.
    let mut body = shell("true");
    body["priority"] = json!(51);
    let refused = post("/api/tasks")
        .by(&alice)
        .json(&body)
        .send(site.at())
        .await;
    refused.expect_problem(403, "not_allowed");
    post("/api/tasks")
        .by(&site.admin)
        .json(&body)
        .send(site.at())
        .await
        .expect(201);
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tasks_are_taken_together_or_not_at_all() {
    // Given a user and a worker that nobody started, so that nothing runs,
    let mut site = Site::start().await;
    let alice = site.user("alice").await;
    let batch = |tasks: &[Value]| {
        post("/api/tasks/batch")
            .by(&alice)
            .json(&json!({"tasks": tasks}))
    };
    let mut tasks: Vec<Value> = (0..10_000)
        .map(|number| {
            let mut task = shell("true");
            task["name"] = json!(format!("part-{number}"));
            task["hold"] = json!(true);
            task
        })
        .collect();
    // when one of ten thousand is wrong, then none is there, and it is named;
    tasks[9_999]["cpu_cores"] = json!(-1);
    let refused = batch(&tasks)
        .send(site.at())
        .await
        .expect_problem(400, "invalid_body")
        .json();
    assert_eq!(
        refused["errors"][0]["pointer"], "/tasks/9999/cpu_cores",
        "{refused}"
    );
    tasks[9_999]["cpu_cores"] = json!(0.5);
    tasks[5_000]["worker_id"] = json!("nobody");
    let refused = batch(&tasks).send(site.at()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(
        refused.json()["errors"][0]["pointer"],
        "/tasks/5000/worker_id"
    );
    tasks[5_000].as_object_mut().unwrap().remove("worker_id");
    assert_eq!(count(&site, &alice).await, 0);
    // one too many is too many;
    tasks.push(shell("true"));
    let refused = batch(&tasks).send(site.at()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    tasks.pop();
    // and all are taken together, in their order, once under a key.
    let keyed = batch(&tasks).header("Idempotency-Key", "ten thousand");
    let taken = keyed.send(site.at()).await.expect(201).json();
    let ids = |taken: &Value| -> Vec<String> {
        let items = taken["items"].as_array().unwrap().iter();
        items
            .map(|item| item["task_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = ids(&taken);
    assert_eq!(first.len(), 10_000);
    assert!(first.is_sorted());
    let again = keyed.send(site.at()).await.expect(201).json();
    assert_eq!(ids(&again), first);
    assert_eq!(count(&site, &alice).await, 10_000);
    for place in [0, 9_999] {
        let task = site.task(&alice, &first[place]).await;
        assert_eq!(task["name"], format!("part-{place}"));
        assert_eq!(task["status"], "queued");
    }
    // They are there after a kill, too.
    site.cluster.kill_master().await;
    site.cluster.restart_master().await;
    until("accounts to be open", async || {
        let asked = get("/api/auth/me").by(&alice).send(site.at()).await;
        (asked.status == 200).then_some(())
    })
    .await;
    assert_eq!(count(&site, &alice).await, 10_000);
    // Ten thousand cancels are another test's matter.
    site.cluster.kill_master().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_each_task_once_while_others_are_added() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let bob = site.user("bob").await;
    let add = async |token: &str, tasks: usize| {
        let tasks = vec![shell("true"); tasks];
        let batch = post("/api/tasks/batch")
            .by(token)
            .json(&json!({"tasks": tasks}));
        batch.send(site.at()).await.expect(201);
    };
    add(&alice, 50).await;
    add(&bob, 3).await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let asked = get(format!("/api/tasks?limit=7&status=queued&cursor={cursor}")).by(&alice);
        let page = asked.send(site.at()).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(
            items.iter().all(|task| task["user_id"] == "alice"),
            "{page}"
        );
        seen.extend(
            items
                .iter()
                .map(|task| task["task_id"].as_str().unwrap().to_owned()),
        );
        add(&alice, 4).await;
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    // Those that were there at the first page, the newest first, each once.
    assert_eq!(seen.len(), 50);
    assert!(seen.is_sorted_by(|one, next| one > next));
    // An admin sees all, or those of one user; nobody sees another's.
    let of_bob = async |token: &str| {
        let page = get("/api/tasks?user=bob").by(token).send(site.at()).await;
        page.expect(200).json()["items"].as_array().unwrap().len()
    };
    assert_eq!(
        (
            of_bob(&site.admin).await,
            of_bob(&bob).await,
            of_bob(&alice).await
        ),
        (3, 3, 0)
    );
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_limits_hold_and_are_named() {
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let limits = json!({"limits": {"queued_tasks": 2, "cpu_cores": 1.0}});
    let set = patch("/api/users/alice").by(&site.admin).json(&limits);
    set.send(site.at()).await.expect(200);
    // Two run at a time, for want of cores that she may use,
    let running = [
        site.submit(&alice, "sleep 600").await,
        site.submit(&alice, "sleep 600").await,
    ];
    for task in &running {
        site.has_status(&alice, task, "running").await;
    }
    let waits = site.submit(&alice, "true").await;
    let reason = until("the limit to be the reason", async || {
        let task = site.task(&alice, &waits).await;
        let reason = task["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("alice").then_some(reason)
    })
    .await;
    assert!(
        reason.starts_with("alice has 1.0 of 1 core in use, and this needs 0.5"),
        "{reason}"
    );
    let explained = get(format!("/api/tasks/{waits}/explain")).by(&alice);
    let explained = explained.send(site.at()).await.expect(200).text();
    assert!(explained.contains("alice"), "{explained}");
    // two wait, and a third is refused, also as part of a batch; larger than all is never taken.
    site.submit(&alice, "true").await;
    let third = post("/api/tasks").by(&alice).json(&shell("true"));
    let refused = third
        .send(site.at())
        .await
        .expect_problem(429, "user_limit");
    assert!(refused.header("retry-after").is_some());
    let batch = post("/api/tasks/batch")
        .by(&alice)
        .json(&json!({"tasks": [shell("true")]}));
    batch
        .send(site.at())
        .await
        .expect_problem(429, "user_limit");
    let mut large = shell("true");
    large["cpu_cores"] = json!(2);
    let large = post("/api/tasks")
        .by(&alice)
        .json(&large)
        .send(site.at())
        .await
        .expect_problem(429, "user_limit");
    assert!(
        large
            .text()
            .contains("alice may use 1 core at a time, and this needs 2"),
        "{}",
        large.text()
    );
    // Others go on; and what waited runs when there is room.
    let bob = site.user("bob").await;
    let theirs = site.submit(&bob, "true").await;
    site.has_status(&bob, &theirs, "completed").await;
    delete(format!("/api/tasks/{}", running[0]))
        .by(&alice)
        .send(site.at())
        .await
        .expect(202);
    site.has_status(&alice, &waits, "completed").await;
    site.cluster.end().await;
}
