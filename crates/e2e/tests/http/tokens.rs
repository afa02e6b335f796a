//! Tokens that somebody made, or that count no more, on every door that takes one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

use crate::{
    PASSWORD, Site, log_in,
    web::{Ask, delete, get, post, socket},
};

/// What the master signs with in these tests, so that they can sign, too.
const SECRET: &str = "a secret that only this test and its master know";

fn encoded(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A token of these parts as they are, signed with HMAC by one hash or another.
fn signed(header: &str, claims: &str, secret: &str, hash: &str) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let (key, bytes) = (secret.as_bytes(), text.as_bytes());
    let sum = match hash {
        "sha256" => Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(bytes)
            .finalize()
            .into_bytes()
            .to_vec(),
        "sha384" => Hmac::<Sha384>::new_from_slice(key)
            .unwrap()
            .chain_update(bytes)
            .finalize()
            .into_bytes()
            .to_vec(),
        "sha512" => Hmac::<Sha512>::new_from_slice(key)
            .unwrap()
            .chain_update(bytes)
            .finalize()
            .into_bytes()
            .to_vec(),
        other => panic!("{other}"),
    };
    format!("{text}.{}", encoded(sum))
}

/// The same object with one field set, or taken away.
fn with(object: &Value, name: &str, value: Option<Value>) -> String {
    let mut object = object.clone();
    let fields = object.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
    object.to_string()
}

/// Every way to show a token.
fn shown(token: &str) -> [Ask; 4] {
    [
        get("/api/auth/me").by(token),
        get("/api/auth/me").header("Cookie", &format!("cloudai_session={token}")),
        get("/api/tasks/task-1/logs?follow=true")
            .header("Accept", "text/event-stream")
            .by(token),
        post("/api/tasks")
            .by(token)
            .json(&json!({"docker_image": "a"})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_master_signed_and_still_stands_for_lets_anybody_in() {
    // Given a master whose secret is known, and tokens of its making,
    let site = Site::start_in(&["-log-level", "debug"], &[("JWT_SECRET", SECRET)]).await;
    let alice = site.user("alice").await;
    let parts: Vec<&str> = alice.split('.').collect();
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    let (head, body) = (header.to_string(), claims.to_string());
    let now = claims["iat"].as_i64().unwrap();
    // Signing here is as good as the master's: what is refused below is so for what it says.
    let own = signed(&head, &body, SECRET, "sha256");
    get("/api/auth/me")
        .by(&own)
        .send(site.at())
        .await
        .expect(200);
    let early = with(&claims, "iat", Some(json!(now + 30)));
    let early = signed(&head, &early, SECRET, "sha256");
    get("/api/auth/me")
        .by(&early)
        .send(site.at())
        .await
        .expect(200);

    let none = with(&header, "alg", Some(json!("none")));
    let of = |algorithm: &str| with(&header, "alg", Some(json!(algorithm)));
    let claim = |name: &str, value: Value| {
        signed(&head, &with(&claims, name, Some(value)), SECRET, "sha256")
    };
    let in_body = |old: &str, new: &str| {
        assert!(body.contains(old), "{body}");
        signed(&head, &body.replacen(old, new, 1), SECRET, "sha256")
    };
    let removed = site.user("carol").await;
    delete("/api/users/carol")
        .by(&site.admin)
        .send(site.at())
        .await
        .expect(204);
    let logged_out = log_in(site.at(), "alice", PASSWORD).await;
    post("/api/auth/logout")
        .by(&logged_out)
        .send(site.at())
        .await
        .expect(204);
    let forged = [
        (
            "alg none, unsigned",
            format!("{}.{}.", encoded(&none), parts[1]),
        ),
        ("alg none, signed", signed(&none, &body, SECRET, "sha256")),
        ("alg NONE", format!("{}.{}.", encoded(of("NONE")), parts[1])),
        (
            "no alg",
            signed(&with(&header, "alg", None), &body, SECRET, "sha256"),
        ),
        ("HS384", signed(&of("HS384"), &body, SECRET, "sha384")),
        ("HS512", signed(&of("HS512"), &body, SECRET, "sha512")),
        (
            "HS256 by name alone",
            signed(&head, &body, SECRET, "sha512"),
        ),
        (
            "RS256 with the secret as its key",
            signed(&of("RS256"), &body, SECRET, "sha256"),
        ),
        ("ES256", signed(&of("ES256"), &body, SECRET, "sha256")),
        (
            "another secret",
            signed(&head, &body, &SECRET.replace('a', "b"), "sha256"),
        ),
        ("an empty secret", signed(&head, &body, "", "sha256")),
        (
            "another key's name",
            signed(
                &with(&header, "kid", Some(json!("x"))),
                &body,
                SECRET,
                "sha256",
            ),
        ),
        (
            "a path for a key",
            signed(
                &with(&header, "kid", Some(json!("../../dev/null"))),
                &body,
                "",
                "sha256",
            ),
        ),
        (
            "a key of its own",
            signed(
                &with(&header, "jwk", Some(json!({"kty": "oct", "k": "AA"}))),
                &body,
                SECRET,
                "sha256",
            ),
        ),
        (
            "critical",
            signed(
                &with(&header, "crit", Some(json!(["exp"]))),
                &body,
                SECRET,
                "sha256",
            ),
        ),
        ("expired", claim("exp", json!(now - 1))),
        ("expired long ago", claim("exp", json!(1))),
        ("from the future", claim("iat", json!(now + 3600))),
        ("an end in words", claim("exp", json!("9999999999"))),
        (
            "an end that is no whole number",
            claim("exp", json!(9_999_999_999.5)),
        ),
        (
            "no end",
            signed(&head, &with(&claims, "exp", None), SECRET, "sha256"),
        ),
        (
            "no beginning",
            signed(&head, &with(&claims, "iat", None), SECRET, "sha256"),
        ),
        (
            "no user",
            signed(&head, &with(&claims, "sub", None), SECRET, "sha256"),
        ),
        ("nobody", claim("sub", json!("nobody"))),
        (
            "the admin, of alice's generation",
            claim("sub", json!("admin")),
        ),
        ("a list of users", claim("sub", json!(["alice"]))),
        (
            "another generation",
            claim("gen", json!(claims["gen"].as_u64().unwrap() + 1)),
        ),
        ("another cluster", claim("iss", json!("cluster-1"))),
        ("a role of its own", claim("role", json!("admin"))),
        (
            "two users",
            in_body("\"sub\":\"alice\"", "\"sub\":\"admin\",\"sub\":\"alice\""),
        ),
        ("two ends", in_body("\"exp\":", "\"exp\":1,\"exp\":")),
        (
            "the name of a claim escaped",
            in_body(
                "\"sub\":\"alice\"",
                "\"sub\":\"alice\",\"\\u0073ub\":\"admin\"",
            ),
        ),
        ("cut short by one", alice[..alice.len() - 1].to_owned()),
        (
            "cut short in the middle",
            alice[..alice.len() / 2].to_owned(),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{alice}.{}", parts[2])),
        ("padded", format!("{alice}=")),
        ("a bit more behind", format!("{alice}A")),
        ("twice", format!("{alice}{alice}")),
        ("no JSON", signed(&head, "alice", SECRET, "sha256")),
        (
            "deep JSON",
            signed(&head, &"[".repeat(300), SECRET, "sha256"),
        ),
        ("long", "a".repeat(20_000)),
        ("a removed user's", removed),
        ("one that was logged out", logged_out),
        ("nothing", String::new()),
        ("a key's beginning", "cak_".to_owned()),
        (
            "a key that there isn't",
            format!("cak_{}{}", "0".repeat(16), "0".repeat(64)),
        ),
    ];
    // then no door opens to any other, and none says why.
    let unlike = get("/api/auth/me")
        .send(site.at())
        .await
        .expect_problem(401, "unauthenticated");
    for (what, token) in &forged {
        for asked in shown(token) {
            let refused = asked.send(site.at()).await;
            assert_eq!(refused.status, 401, "{what}: {asked:?}: {}", refused.text());
            assert_eq!(refused.nameless(), unlike.nameless(), "{what}");
            assert!(refused.header("www-authenticate").is_some());
        }
        if token.len() < 10_000 {
            let refused = socket(site.at(), "/ws/telemetry", token).await.map(|_| ());
            assert_eq!(refused.unwrap_err().0, 401, "{what}");
        }
    }
    // Two at once are none, whichever is right.
    let twice = get("/api/auth/me")
        .by(&alice)
        .by(&alice)
        .send(site.at())
        .await;
    twice.expect_problem(401, "unauthenticated");
    // The real one still counts, and none of them stands in the log.
    get("/api/auth/me")
        .by(&alice)
        .send(site.at())
        .await
        .expect(200);
    let said = site.cluster.master.lines().join("\n");
    assert!(
        said.contains("not let in"),
        "the log is looked at as it is meant"
    );
    for secret in [&alice, parts[2], &site.admin, SECRET, PASSWORD] {
        assert!(!said.contains(secret), "a secret stands in the log");
    }
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_lets_tokens_of_the_one_before_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    let write = |secret: &str| std::fs::write(&file, format!("JWT_SECRET={secret}\n")).unwrap();
    let (first, second) = ("a".repeat(32), "b".repeat(32));
    write(&first);
    let mut site = Site::start_in(&["-env-file", file.to_str().unwrap()], &[]).await;
    let alice = site.user("alice").await;
    write(&second);
    site.cluster.kill_master().await;
    site.cluster.restart_master().await;
    let fresh = log_in(site.at(), "alice", PASSWORD).await;
    assert_ne!(
        decoded(fresh.split('.').next().unwrap()),
        decoded(alice.split('.').next().unwrap())
    );
    for token in [&alice, &fresh] {
        get("/api/auth/me")
            .by(token)
            .send(site.at())
            .await
            .expect(200);
    }
    site.cluster.end().await;
}
