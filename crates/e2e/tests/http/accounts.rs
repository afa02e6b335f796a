//! Who comes in: the first admin, users, passwords, keys, roles; and that a restart forgets none of it.

use cloudai_store::mongod::Server;
use cloudai_tests::cluster::Cluster;
use serde_json::{Value, json};

use crate::{
    ADMIN_PASSWORD, PASSWORD, Site, log_in, shell,
    web::{delete, get, patch, post},
};

async fn me(at: &str, token: &str) -> u16 {
    get("/api/auth/me").by(token).send(at).await.status
}

/// Makes a key of this scope; its id and the key itself.
async fn key(at: &str, token: &str, scope: &str) -> (String, String) {
    let asked = post("/api/keys")
        .by(token)
        .json(&json!({"name": "nightly", "scope": scope}));
    let made = asked.send(at).await.expect(201).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_an_admin_and_shows_the_password_this_once() {
    // Given a master's first start, without a word on the admin in its settings,
    let mut cluster = Cluster::start().await;
    let line = cluster.master.says("was made with the password").await;
    assert!(
        line.contains("User admin") && line.contains("shown this once"),
        "{line}"
    );
    let words: Vec<&str> = line.split(' ').collect();
    let password = words[words.iter().position(|word| *word == "password").unwrap() + 1].to_owned();
    assert!(password.len() >= 20, "{line}");
    // then it lets in, as an admin,
    let token = log_in(&cluster.http, "admin", &password).await;
    let admin = get("/api/auth/me")
        .by(&token)
        .send(&cluster.http)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&admin["username"], &admin["role"]),
        (&json!("admin"), &json!("admin"))
    );
    // it is not kept anywhere,
    for file in files(&cluster.path("master")) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let is_there = bytes
            .windows(password.len())
            .any(|part| part == password.as_bytes());
        assert!(!is_there, "the password stands in {}", file.display());
    }
    // and another start makes nobody.
    cluster.kill_master().await;
    cluster.restart_master().await;
    log_in(&cluster.http, "admin", &password).await;
    assert!(
        !cluster
            .master
            .lines()
            .iter()
            .any(|line| line.contains("was made"))
    );
    cluster.end().await;
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_registers_logs_in_and_out_and_changes_the_password() {
    // Given a master that serves HTTP on loopback alone, where registration is open,
    let site = Site::start().await;
    let new = json!({"username": "alice", "password": PASSWORD, "name": "Alice A."});
    let made = post("/api/auth/register")
        .json(&new)
        .send(site.at())
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&made["role"], &made["state"]),
        (&json!("user"), &json!("active"))
    );
    let again = json!({"username": "ALICE", "password": PASSWORD});
    let again = post("/api/auth/register")
        .json(&again)
        .send(site.at())
        .await;
    again.expect_problem(409, "name_taken");
    // All mistakes at once.
    let wrong = json!({"username": "-", "password": "short"});
    let wrong = post("/api/auth/register")
        .json(&wrong)
        .send(site.at())
        .await;
    let problem = wrong.expect_problem(400, "invalid_body").json();
    let errors = problem["errors"].as_array().unwrap().iter();
    let pointers: Vec<&str> = errors.map(|it| it["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/username", "/password"], "{problem}");

    // when she logs in, then a token and a cookie come, which let her in;
    let login = |password: &str| {
        post("/api/auth/login").json(&json!({"username": "alice", "password": password}))
    };
    let session = login(PASSWORD).send(site.at()).await.expect(200);
    let cookie = session.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let token = session.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(me(site.at(), &token).await, 200);
    let cookie = cookie.split(';').next().unwrap();
    let by_cookie = get("/api/auth/me")
        .header("Cookie", cookie)
        .send(site.at())
        .await;
    assert_eq!(by_cookie.expect(200).json()["name"], "Alice A.");
    // by the cookie something is changed only from a page of this server.
    let change = post("/api/tasks")
        .header("Cookie", cookie)
        .json(&shell("true"));
    change
        .send(site.at())
        .await
        .expect_problem(403, "cross_origin");
    let from_here = change.header("Sec-Fetch-Site", "same-origin");
    from_here.send(site.at()).await.expect(201);

    // A new password ends her tokens,
    let other = log_in(site.at(), "alice", PASSWORD).await;
    let change = json!({"current_password": PASSWORD, "new_password": "another staple battery"});
    let changed = post("/api/auth/password").by(&token).json(&change);
    let fresh = changed.send(site.at()).await.expect(200).json();
    let fresh = fresh["token"].as_str().unwrap();
    for (old, status) in [(&*token, 401), (&other, 401), (fresh, 200)] {
        assert_eq!(me(site.at(), old).await, status);
    }
    login(PASSWORD)
        .send(site.at())
        .await
        .expect_problem(401, "wrong_password");
    let second = log_in(site.at(), "alice", "another staple battery").await;
    // and a logout the one that it was asked with.
    let out = post("/api/auth/logout")
        .by(fresh)
        .send(site.at())
        .await
        .expect(204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(me(site.at(), fresh).await, 401);
    assert_eq!(me(site.at(), &second).await, 200);
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_reaches_as_far_as_its_scope_and_a_user_as_far_as_the_role() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let (id, read) = key(site.at(), &alice, "read").await;
    let (_, tasks) = key(site.at(), &alice, "tasks").await;
    let submit = |by: &str| post("/api/tasks").by(by).json(&shell("true"));
    get("/api/tasks")
        .by(&read)
        .send(site.at())
        .await
        .expect(200);
    submit(&read)
        .send(site.at())
        .await
        .expect_problem(403, "key_scope");
    submit(&tasks).send(site.at()).await.expect(201);
    // No key makes keys or sets passwords,
    let (_, all) = key(site.at(), &site.admin, "all").await;
    for asked in [
        post("/api/keys").json(&json!({"name": "x", "scope": "read"})),
        post("/api/auth/password")
            .json(&json!({"current_password": PASSWORD, "new_password": PASSWORD})),
        post("/api/users").json(&json!({"username": "eve", "password": PASSWORD})),
        patch("/api/users/alice").json(&json!({"role": "admin"})),
    ] {
        let refused = asked.clone().by(&all).send(site.at()).await;
        assert_eq!(refused.status, 403, "{asked:?}: {}", refused.text());
    }
    // and one that was deleted lets nobody in.
    delete(format!("/api/keys/{id}"))
        .by(&alice)
        .send(site.at())
        .await
        .expect(204);
    assert_eq!(me(site.at(), &read).await, 401);

    // What admins do is for admins,
    let admins = || {
        [
            get("/api/users"),
            get("/api/audit"),
            post("/api/workers").json(&json!({"worker_id": "w", "address": "127.0.0.1:1"})),
            delete("/api/users/admin"),
            patch("/api/users/alice").json(&json!({"role": "admin"})),
        ]
    };
    for asked in admins() {
        asked
            .by(&alice)
            .send(site.at())
            .await
            .expect_problem(403, "admin_only");
    }
    // and she becomes one when an admin says so, with the token that she has,
    let raise = patch("/api/users/alice").json(&json!({"role": "admin"}));
    raise.by(&site.admin).send(site.at()).await.expect(200);
    get("/api/users")
        .by(&alice)
        .send(site.at())
        .await
        .expect(200);
    // which ends when she is locked; her name says nothing without the password.
    let lock = patch("/api/users/alice").json(&json!({"state": "locked"}));
    lock.by(&site.admin).send(site.at()).await.expect(200);
    assert_eq!(me(site.at(), &alice).await, 401);
    assert_eq!(me(site.at(), &tasks).await, 401);
    let login = |password: &str| {
        post("/api/auth/login").json(&json!({"username": "alice", "password": password}))
    };
    login(PASSWORD)
        .send(site.at())
        .await
        .expect_problem(403, "account_locked");
    login("wrong")
        .send(site.at())
        .await
        .expect_problem(401, "wrong_password");
    // All of it is in the audit, with nobody's secrets.
    let audit = get("/api/audit?limit=1000")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(200);
    let text = audit.text();
    for action in ["user.create", "key.create", "key.delete", "auth.login"] {
        assert!(text.contains(action), "{action}: {text}");
    }
    for secret in [PASSWORD, ADMIN_PASSWORD, &read, &tasks, &alice] {
        assert!(!text.contains(secret), "{text}");
    }
    site.cluster.end().await;
}

/// Users, tokens, keys and what is no more, over a master that was killed.
async fn outlive_a_kill(mut site: Site) {
    // Given a user with a token, a key, and a token that was ended,
    let alice = site.user("alice").await;
    let ended = log_in(site.at(), "alice", PASSWORD).await;
    post("/api/auth/logout")
        .by(&ended)
        .send(site.at())
        .await
        .expect(204);
    let (_, kept) = key(site.at(), &alice, "tasks").await;
    let (id, gone) = key(site.at(), &alice, "tasks").await;
    delete(format!("/api/keys/{id}"))
        .by(&alice)
        .send(site.at())
        .await
        .expect(204);
    let bob = site.user("bob").await;
    delete("/api/users/bob")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(204);
    // when the master is killed and starts again,
    site.cluster.kill_master().await;
    site.cluster.restart_master().await;
    log_in(site.at(), "alice", PASSWORD).await;
    // then who was in is in, and who was out is out.
    for (who, status) in [
        (&alice, 200),
        (&kept, 200),
        (&site.admin, 200),
        (&ended, 401),
        (&gone, 401),
        (&bob, 401),
    ] {
        assert_eq!(me(site.at(), who).await, status, "{who}");
    }
    let users = get("/api/users")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(200)
        .json();
    let names: Vec<&str> = users["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["username"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["admin", "alice"]);
    // A user of an old name is somebody else.
    site.user("bob").await;
    assert_eq!(me(site.at(), &bob).await, 401);
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_tokens_and_keys_outlive_a_kill() {
    outlive_a_kill(Site::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_do_so_on_mongodb() {
    let server = tokio::task::block_in_place(|| Server::start(&[]));
    let host = format!("127.0.0.1:{}", server.port);
    outlive_a_kill(Site::start_in(&[], &[("MONGODB_HOST", &host)]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_as_the_settings_say() {
    let site = Site::start_in(&["-registration", "approval"], &[]).await;
    let new = json!({"username": "alice", "password": PASSWORD});
    let made = post("/api/auth/register")
        .json(&new)
        .send(site.at())
        .await
        .expect(201)
        .json();
    assert_eq!(made["state"], "awaits-approval", "{made}");
    let login = post("/api/auth/login").json(&new);
    login
        .send(site.at())
        .await
        .expect_problem(403, "awaits_approval");
    let approve = patch("/api/users/alice").json(&json!({"state": "active"}));
    approve.by(&site.admin).send(site.at()).await.expect(200);
    login.send(site.at()).await.expect(200);
    site.cluster.end().await;

    let site = Site::start_in(&["-registration", "closed"], &[]).await;
    let refused = post("/api/auth/register").json(&new).send(site.at()).await;
    refused.expect_problem(403, "registration_closed");
    site.cluster.end().await;
}
