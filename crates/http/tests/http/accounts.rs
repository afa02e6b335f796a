//! To come in: registration, logins, keys, users, and the record of it.

use cloudai_accounts::{Identity, Registration};
use cloudai_model::UserLimits;
use serde_json::{Value, json};

use crate::support::{
    PASSWORD, Setup, Site,
    client::{Ask, Reply, delete, get, patch, post},
};

fn login(user: &str, password: &str) -> Ask {
    post("/api/auth/login").json(&json!({"username": user, "password": password}))
}

/// What `Set-Cookie` sets, as `Cookie` has it.
fn cookie(reply: &Reply) -> String {
    let set = reply.header("set-cookie").unwrap();
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn somebody_registers_logs_in_and_out() {
    let site = Site::new().await;
    let body = json!({
        "username": "carol", "password": "a long enough one", "name": "Carol", "email": "c@x.org",
    });
    let made = site
        .send(post("/api/auth/register").json(&body))
        .await
        .expect(201)
        .json();
    assert_eq!(
        (
            &made["username"],
            &made["role"],
            &made["state"],
            &made["name"]
        ),
        (
            &json!("carol"),
            &json!("user"),
            &json!("active"),
            &json!("Carol")
        )
    );
    site.send(post("/api/auth/register").json(&body))
        .await
        .expect_problem(409, "name_taken");
    let wrong = json!({"username": "../x", "password": "short", "email": "none"});
    let reply = site.send(post("/api/auth/register").json(&wrong)).await;
    let reply = reply.expect_problem(400, "invalid_body");
    assert_eq!(reply.places(), ["/username", "/password", "/email"]);
    assert!(!reply.text().contains("short"), "{}", reply.text());

    let session = site
        .send(login("carol", "a long enough one"))
        .await
        .expect(200);
    let told = session.json();
    assert_eq!(told["token_type"], "Bearer");
    assert_eq!(told["user"]["username"], "carol");
    let token = told["token"].as_str().unwrap().to_owned();
    let set = session.header("set-cookie").unwrap();
    assert!(set.starts_with("cloudai_session="), "{set}");
    assert!(set.ends_with("; HttpOnly; SameSite=Strict"), "{set}");
    let me = site
        .send(get("/api/auth/me").by(&token))
        .await
        .expect(200)
        .json();
    assert_eq!(me["username"], "carol");
    assert!(me.get("password_hash").is_none());

    let gone = site
        .send(post("/api/auth/logout").by(&token))
        .await
        .expect(204);
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    site.send(get("/api/auth/me").by(&token))
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn where_registration_is_closed_or_by_approval_an_admin_decides() {
    let body = json!({"username": "carol", "password": "a long enough one"});
    let closed = Site::with(Setup {
        registration: Registration::Closed,
        ..Setup::default()
    })
    .await;
    let reply = closed.send(post("/api/auth/register").json(&body)).await;
    reply.expect_problem(403, "registration_closed");

    let site = Site::with(Setup {
        registration: Registration::Approval,
        ..Setup::default()
    })
    .await;
    let made = site
        .send(post("/api/auth/register").json(&body))
        .await
        .expect(201)
        .json();
    assert_eq!(made["state"], "awaits-approval");
    let early = site.send(login("carol", "a long enough one")).await;
    early.expect_problem(403, "awaits_approval");
    let admin = site.token("admin").await;
    let approve = patch("/api/users/carol")
        .by(&admin)
        .json(&json!({"state": "active"}));
    assert_eq!(
        site.send(approve).await.expect(200).json()["state"],
        "active"
    );
    site.send(login("carol", "a long enough one"))
        .await
        .expect(200);
}

#[tokio::test]
async fn guessing_is_answered_alike_and_then_throttled() {
    let site = Site::new().await;
    let known = site.send(login("alice", "wrong password")).await;
    let unknown = site.send(login("nobody", "wrong password")).await;
    let words = |reply: &Reply| {
        let mut problem = reply.json();
        problem["request_id"] = Value::Null;
        problem
    };
    assert_eq!(words(&known), words(&unknown));
    known.expect_problem(401, "wrong_password");
    let mut tries = 0;
    let throttled = loop {
        let reply = site.send(login("alice", "wrong password")).await;
        if reply.status == 429 {
            break reply.expect_problem(429, "too_many_tries");
        }
        tries += 1;
        assert!(tries < 100, "nobody throttles");
    };
    assert!(
        throttled
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    // The right one, too: whoever guesses learns nothing by it.
    site.send(login("alice", PASSWORD))
        .await
        .expect_problem(429, "too_many_tries");
}

#[tokio::test]
async fn by_cookie_only_pages_of_this_server_change_anything() {
    let site = Site::new().await;
    let session = site.send(login("alice", PASSWORD)).await.expect(200);
    let cookie = cookie(&session);
    let task = json!({"docker_image": "alpine"});
    let submit = || post("/api/tasks").header("Cookie", &cookie).json(&task);
    site.send(get("/api/auth/me").header("Cookie", &cookie))
        .await
        .expect(200);
    site.send(submit())
        .await
        .expect_problem(403, "cross_origin");
    for (name, value, status) in [
        ("Origin", "http://evil.example.org", 403),
        ("Origin", "http://here:81", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "same-origin", 201),
        ("Origin", "http://here", 201),
    ] {
        let reply = site.send(submit().header(name, value)).await;
        assert_eq!(reply.status, status, "{name}: {value}");
    }
    // A key is no cookie.
    let key = site.key("alice", cloudai_model::KeyScope::All).await;
    let asked = get("/api/auth/me").header("Cookie", &format!("cloudai_session={key}"));
    site.send(asked)
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_new_password_ends_all_tokens() {
    let site = Site::new().await;
    let (old, other) = (site.token("alice").await, site.token("alice").await);
    let change = |token: &str, current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        post("/api/auth/password").by(token).json(&body)
    };
    let wrong = site
        .send(change(&old, "wrong password", "another long one"))
        .await;
    wrong.expect_problem(403, "wrong_current_password");
    let weak = site.send(change(&old, PASSWORD, "brief")).await;
    let weak = weak.expect_problem(400, "invalid_body");
    assert_eq!(weak.places(), ["/new_password"]);
    let changed = site
        .send(change(&old, PASSWORD, "another long one"))
        .await
        .expect(200)
        .json();
    let fresh = changed["token"].as_str().unwrap();
    site.send(get("/api/auth/me").by(fresh)).await.expect(200);
    for token in [&old, &other] {
        site.send(get("/api/auth/me").by(token))
            .await
            .expect_problem(401, "unauthenticated");
    }
    site.send(login("alice", PASSWORD))
        .await
        .expect_problem(401, "wrong_password");
    site.send(login("alice", "another long one"))
        .await
        .expect(200);
}

#[tokio::test]
async fn keys_are_shown_once_and_count_until_they_are_deleted() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let new = json!({"name": "nightly", "scope": "tasks", "expires_at": 3600});
    let made = site
        .send(post("/api/keys").by(&token).json(&new))
        .await
        .expect(201)
        .json();
    let (secret, id) = (
        made["secret"].as_str().unwrap(),
        made["key"]["id"].as_str().unwrap(),
    );
    assert_eq!(made["key"]["expires_at"], "2023-10-12T16:11:00.000Z");
    site.send(get("/api/tasks").by(secret)).await.expect(200);
    let listed = site.send(get("/api/keys").by(&token)).await.expect(200);
    assert!(!listed.text().contains(secret));
    assert_eq!(listed.json()["items"][0]["id"], id);
    let wrong = json!({"name": "a\nb", "scope": "everything", "expires_at": -1});
    let reply = site.send(post("/api/keys").by(&token).json(&wrong)).await;
    assert_eq!(
        reply.expect_problem(400, "invalid_body").places(),
        ["/scope"]
    );

    // Another user's key is not there; an admin's hand reaches it.
    let bob = site.token("bob").await;
    let path = format!("/api/keys/{id}");
    site.send(delete(&path).by(&bob))
        .await
        .expect_problem(404, "not_found");
    site.send(get("/api/keys?user=alice").by(&bob))
        .await
        .expect_problem(404, "not_found");
    let admin = site.token("admin").await;
    let seen = site
        .send(get("/api/keys?user=alice").by(&admin))
        .await
        .expect(200)
        .json();
    assert_eq!(seen["items"][0]["id"], id);
    site.send(delete(&path).by(&token)).await.expect(204);
    site.send(delete(&path).by(&token))
        .await
        .expect_problem(404, "not_found");
    site.send(get("/api/tasks").by(secret))
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn users_are_an_admins_business() {
    let site = Site::new().await;
    let (admin, alice) = (site.token("admin").await, site.token("alice").await);
    let new = json!({"username": "dora", "password": "a long enough one", "role": "admin"});
    let made = site
        .send(post("/api/users").by(&admin).json(&new))
        .await
        .expect(201)
        .json();
    assert_eq!(made["role"], "admin");
    site.send(post("/api/users").by(&admin).json(&new))
        .await
        .expect_problem(409, "name_taken");
    site.send(post("/api/users").by(&alice).json(&new))
        .await
        .expect_problem(403, "admin_only");
    site.send(get("/api/users").by(&alice))
        .await
        .expect_problem(403, "admin_only");
    site.send(get("/api/users/alice").by(&alice))
        .await
        .expect(200);

    let page = site
        .send(get("/api/users?limit=3").by(&admin))
        .await
        .expect(200)
        .json();
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|it| it["username"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["admin", "alice", "bob"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = get(format!("/api/users?limit=3&cursor={cursor}")).by(&admin);
    assert_eq!(names(&site.send(next).await.expect(200).json()), ["dora"]);

    // Limits are kept; a lock ends what alice may do.
    let limits = json!({"limits": {"queued_tasks": 5, "cpu_cores": 2.5}});
    let changed = site
        .send(patch("/api/users/alice").by(&admin).json(&limits))
        .await
        .expect(200);
    assert_eq!(changed.json()["limits"]["cpu_cores"], 2.5);
    let told = UserLimits {
        queued_tasks: Some(5),
        cpu_milli: Some(2500),
        ..UserLimits::default()
    };
    let kept = site
        .accounts
        .user(&Identity::local(), &"alice".parse().unwrap());
    assert_eq!(kept.unwrap().limits, told);
    let lock = patch("/api/users/alice")
        .by(&admin)
        .json(&json!({"state": "locked"}));
    site.send(lock).await.expect(200);
    site.send(get("/api/auth/me").by(&alice))
        .await
        .expect_problem(401, "unauthenticated");
    site.send(login("alice", PASSWORD))
        .await
        .expect_problem(403, "account_locked");
    let unlock = json!({"state": "active", "password": "yet another one"});
    site.send(patch("/api/users/alice").by(&admin).json(&unlock))
        .await
        .expect(200);
    site.send(login("alice", "yet another one"))
        .await
        .expect(200);

    site.send(delete("/api/users/dora").by(&admin))
        .await
        .expect(204);
    site.send(delete("/api/users/dora").by(&admin))
        .await
        .expect_problem(404, "not_found");
    let last = patch("/api/users/admin")
        .by(&admin)
        .json(&json!({"role": "user"}));
    site.send(last).await.expect_problem(409, "last_admin");
    let back = patch("/api/users/bob")
        .by(&admin)
        .json(&json!({"state": "awaits-approval"}));
    assert_eq!(
        site.send(back)
            .await
            .expect_problem(400, "invalid_body")
            .places(),
        ["/state"]
    );
}

#[tokio::test]
async fn the_audit_is_read_by_admins_in_pages() {
    let site = Site::new().await;
    let (admin, alice) = (site.token("admin").await, site.token("alice").await);
    for _ in 0..3 {
        let asked = post("/api/tasks")
            .by(&alice)
            .header("X-Request-Id", "req-1");
        site.send(asked.json(&json!({"docker_image": "alpine"})))
            .await
            .expect(201);
    }
    site.send(get("/api/audit").by(&alice))
        .await
        .expect_problem(403, "admin_only");
    let query = "/api/audit?user=alice&action=task.submit&limit=2";
    let page = site.send(get(query).by(&admin)).await.expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let first = &page["items"][0];
    assert_eq!(
        (
            &first["username"],
            &first["from"],
            &first["request_id"],
            &first["done"]
        ),
        (
            &json!("alice"),
            &json!("127.0.0.1"),
            &json!("req-1"),
            &json!(true)
        )
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = get(format!("{query}&cursor={cursor}")).by(&admin);
    let rest = site.send(next).await.expect(200).json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    let later = get("/api/audit?since=2023-10-12T15:11:01Z").by(&admin);
    assert_eq!(
        site.send(later).await.expect(200).json()["items"],
        json!([])
    );
    let wrong = site
        .send(get("/api/audit?since=yesterday").by(&admin))
        .await;
    assert_eq!(
        wrong.expect_problem(400, "invalid_parameter").places(),
        ["since"]
    );
}
