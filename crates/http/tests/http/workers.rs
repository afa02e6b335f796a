//! Workers over REST.

use cloudai_model::{KeyScope, TaskStatus};
use serde_json::{Value, json};

use crate::support::{
    Site,
    client::{delete, get, post},
};

#[tokio::test]
async fn an_admin_registers_drains_and_unregisters_a_worker() {
    let site = Site::new().await;
    let token = site.token("admin").await;
    let new = |address: &str| {
        let body = json!({"worker_id": "w-1", "address": address});
        post("/api/workers").by(&token).json(&body)
    };
    let made = site.send(new("10.0.0.2")).await.expect(201).json();
    assert_eq!(
        made,
        json!({
            "worker_id": "w-1", "address": "10.0.0.2:50052", "token": "7f00",
            "master_address": "192.168.1.10:50051", "already": false,
        })
    );
    let again = site.send(new("10.0.0.2:50052")).await.expect(200).json();
    assert_eq!(again["already"], true);
    site.send(new("10.0.0.3"))
        .await
        .expect_problem(409, "worker_elsewhere");
    let wrong = json!({"worker_id": "../w", "address": "a b"});
    let reply = site
        .send(post("/api/workers").by(&token).json(&wrong))
        .await;
    let reply = reply.expect_problem(400, "invalid_body");
    assert_eq!(reply.places(), ["/worker_id", "/address"]);

    let look = || get("/api/workers/w-1").by(&token);
    let tag = site.send(look()).await.expect(200);
    let tag = tag.header("etag").unwrap().to_owned();
    let known = || look().header("If-None-Match", &tag);
    site.send(known()).await.expect(304);
    let drained = site
        .send(post("/api/workers/w-1/drain").by(&token))
        .await
        .expect(200);
    assert_eq!(
        drained.json(),
        json!({"worker_id": "w-1", "draining": true, "tasks": []})
    );
    site.send(known()).await.expect(200);
    let used = post("/api/workers/w-1/drain")
        .by(&token)
        .json(&json!({"draining": false}));
    assert_eq!(site.send(used).await.expect(200).json()["draining"], false);
    let odd = post("/api/workers/w-1/drain")
        .by(&token)
        .json(&json!({"drain": false}));
    site.send(odd).await.expect_problem(400, "invalid_body");

    let gone = site
        .send(delete("/api/workers/w-1").by(&token))
        .await
        .expect(200);
    assert_eq!(gone.json(), json!({"worker_id": "w-1", "tasks": []}));
    for asked in [
        delete("/api/workers/w-1"),
        post("/api/workers/w-1/drain"),
        get("/api/workers/w-1"),
        get("/api/workers/w-1/tasks"),
    ] {
        site.send(asked.by(&token))
            .await
            .expect_problem(404, "not_found");
    }
    let done: Vec<String> = site.done().into_iter().map(|(action, ..)| action).collect();
    for action in ["worker.register", "worker.drain", "worker.unregister"] {
        assert!(done.contains(&action.to_owned()), "{action}: {done:?}");
    }
}

#[tokio::test]
async fn others_may_look_and_no_more_and_that_they_tried_is_written_down() {
    let site = Site::new().await;
    site.master.add_worker("w-1", &[]);
    let alice = site.token("alice").await;
    let key = site.key("admin", KeyScope::Tasks).await;
    let body = json!({"worker_id": "w-2", "address": "10.0.0.2"});
    for (token, code) in [(&alice, "admin_only"), (&key, "key_scope")] {
        let asked = post("/api/workers").by(token).json(&body);
        site.send(asked).await.expect_problem(403, code);
        site.send(post("/api/workers/w-1/drain").by(token))
            .await
            .expect_problem(403, code);
        site.send(delete("/api/workers/w-1").by(token))
            .await
            .expect_problem(403, code);
        site.send(get("/api/workers/w-1").by(token))
            .await
            .expect(200);
    }
    let refused = |action: &str, target: &str| (action.to_owned(), target.to_owned(), false);
    assert!(site.done().contains(&refused("worker.register", "w-2")));
    assert!(site.done().contains(&refused("worker.unregister", "w-1")));
}

#[tokio::test]
async fn workers_are_listed_in_pages_and_name_no_tasks_of_others() {
    // Given three workers, on one of which tasks of alice and bob run,
    let site = Site::new().await;
    let tasks = [site.master.put("alice", 1), site.master.put("bob", 2)];
    for task in &tasks {
        site.master.start(task, 1);
    }
    for worker in ["w-1", "w-2"] {
        site.master.add_worker(worker, &[]);
    }
    site.master.add_worker("worker-1", &[&tasks[0], &tasks[1]]);
    let alice = site.token("alice").await;

    // when alice lists them, then she is told of her own alone;
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|it| it["worker_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = site
        .send(get("/api/workers?limit=2").by(&alice))
        .await
        .expect(200)
        .json();
    assert_eq!(names(&page), ["w-1", "w-2"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = get(format!("/api/workers?limit=2&cursor={cursor}")).by(&alice);
    let page = site.send(next).await.expect(200).json();
    assert_eq!(names(&page), ["worker-1"]);
    assert_eq!(page["items"][0]["running_tasks"], json!(["task-1"]));
    let of_worker = |token: &str| get("/api/workers/worker-1/tasks").by(token);
    let seen = site.send(of_worker(&alice)).await.expect(200).json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);

    // and an admin of all.
    let admin = site.token("admin").await;
    let one = site
        .send(get("/api/workers/worker-1").by(&admin))
        .await
        .expect(200)
        .json();
    assert_eq!(one["running_tasks"], json!(["task-1", "task-2"]));
    let seen = site.send(of_worker(&admin)).await.expect(200).json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 2);
    assert_eq!(seen["items"][0]["status"], TaskStatus::Running.as_str());
}
