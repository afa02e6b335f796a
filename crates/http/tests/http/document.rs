//! The document of the interface, and the pages.

use std::collections::BTreeSet;

use cloudai_api::Code;
use serde_json::{Value, json};

use crate::support::{Site, client::get};

async fn document(site: &Site) -> Value {
    site.send(get("/api-docs/openapi.json"))
        .await
        .expect(200)
        .json()
}

/// Every operation, as method and path.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, it)| (method.clone(), path.clone(), it.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn it_is_openapi_3_1_and_names_every_path_of_the_contract() {
    let site = Site::new().await;
    let document = document(&site).await;
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1."),
        "{}",
        document["openapi"]
    );
    let operations = operations(&document);
    let there: BTreeSet<String> = operations
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    for wanted in [
        "post /api/auth/register",
        "post /api/auth/login",
        "post /api/auth/logout",
        "get /api/auth/me",
        "post /api/auth/password",
        "post /api/tasks",
        "post /api/tasks/batch",
        "get /api/tasks",
        "get /api/tasks/{id}",
        "patch /api/tasks/{id}",
        "delete /api/tasks/{id}",
        "get /api/tasks/{id}/logs",
        "get /api/tasks/{id}/events",
        "get /api/tasks/{id}/explain",
        "get /api/workers",
        "get /api/workers/{id}",
        "get /api/workers/{id}/tasks",
        "get /api/workers/{id}/metrics",
        "get /workers",
        "get /telemetry",
        "get /telemetry/{worker}",
        "get /metrics",
        "post /api/workers",
        "delete /api/workers/{id}",
        "post /api/workers/{id}/drain",
        "get /api/files",
        "get /api/files/{task}",
        "get /api/files/{task}/download/{path}",
        "get /api/files/{task}/archive",
        "delete /api/files/{task}",
        "get /health",
        "get /ready",
    ] {
        assert!(there.contains(wanted), "{wanted} is not among {there:#?}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_its_problems() {
    let site = Site::new().await;
    let document = document(&site).await;
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.trim_start_matches('#');
                    assert!(
                        document.pointer(pointer).is_some(),
                        "{reference} leads nowhere"
                    );
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let id = operation["operationId"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        let answers = operation["responses"].as_object().unwrap();
        assert!(
            answers.keys().any(|status| status.starts_with('2')),
            "{name}"
        );
        assert!(
            answers.contains_key("405") && answers.contains_key("500"),
            "{name}"
        );
        let is_open = operation["security"] == json!([{}]);
        assert_eq!(
            answers.contains_key("401"),
            !is_open || path.ends_with("login"),
            "{name}"
        );
        for (status, answer) in answers {
            let is_problem = answer["content"].get("application/problem+json").is_some();
            assert_eq!(
                is_problem,
                status.as_str() >= "400" && name != "get /ready"
                    || ["405", "421", "500"].contains(&status.as_str()),
                "{name} {status}"
            );
        }
    }
}

#[tokio::test]
async fn every_code_is_in_the_document() {
    let site = Site::new().await;
    let document = document(&site).await;
    let listed = document["components"]["schemas"]["Code"]["enum"]
        .as_array()
        .unwrap()
        .clone();
    let codes: Vec<Value> = Code::ALL.iter().map(|code| json!(code.as_str())).collect();
    assert_eq!(listed, codes);
}

#[tokio::test]
async fn the_pages_need_nothing_from_elsewhere() {
    let site = Site::new().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
        ("/docs/icon.svg", "image/svg+xml"),
    ] {
        let page = site.send(get(path)).await.expect(200);
        assert_eq!(page.header("content-type"), Some(kind));
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{policy}"
        );
        for elsewhere in ["src=\"http", "href=\"http", "url(", "import ", "//cdn"] {
            assert!(!page.text().contains(elsewhere), "{path} has {elsewhere}");
        }
        let tag = page.header("etag").unwrap();
        for known in [tag, &format!("\"x\", W/{tag}"), "*"] {
            let again = get(path).header("If-None-Match", known);
            site.send(again).await.expect(304);
        }
    }
    let page = site.send(get("/docs")).await.text();
    for part in ["/docs/page.js", "/docs/page.css", "/api-docs/openapi.json"] {
        assert!(page.contains(part), "{part}");
    }
}
