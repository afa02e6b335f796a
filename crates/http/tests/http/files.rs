//! What tasks left.

use std::io::Read as _;

use cloudai_model::{TaskId, TaskStatus};
use serde_json::{Value, json};

use crate::support::{
    Site,
    client::{Reply, answered, delete, get},
};

const MODEL: &[u8] = b"0123456789";

/// A site, and an ended task of alice's that left files.
async fn with_files() -> (Site, String, TaskId) {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 7);
    site.master.end(&task, TaskStatus::Completed);
    let files: [(&str, &[u8]); 3] = [
        ("model.bin", MODEL),
        ("größe\n\"x\".txt", b"odd"),
        ("sub/deep/caf%E9", b"not UTF-8"),
    ];
    site.master.leave(&task, &files);
    (site, token, task)
}

#[tokio::test]
async fn files_are_listed_by_task_and_by_user() {
    let (site, token, task) = with_files().await;
    let look = || get(format!("/api/files/{task}")).by(&token);
    let reply = site.send(look()).await.expect(200);
    let tag = reply.header("etag").unwrap();
    site.send(look().header("If-None-Match", tag))
        .await
        .expect(304);
    let listed = reply.json();
    let paths: Vec<&str> = listed["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["größe\n\"x\".txt", "model.bin", "sub/deep/caf%E9"]);
    assert_eq!(listed["files"][1]["size"], 10);
    assert_eq!(listed["files_complete"], true);

    for number in [3, 9, 5] {
        let task = site.master.put("alice", number);
        site.master.end(&task, TaskStatus::Completed);
        site.master.leave(&task, &[("a", b"a")]);
    }
    let tasks = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|it| it["task_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = site
        .send(get("/api/files?limit=2").by(&token))
        .await
        .expect(200)
        .json();
    // The newest task first, whatever its number.
    assert_eq!(tasks(&page), ["task-5", "task-9"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = get(format!("/api/files?limit=2&cursor={cursor}")).by(&token);
    let page = site.send(next).await.expect(200).json();
    assert_eq!(
        (tasks(&page), &page["next_cursor"]),
        (vec!["task-3".into(), "task-7".into()], &Value::Null)
    );

    let of_alice = |token: &str| get("/api/files?user=alice").by(token);
    let admin = site.token("admin").await;
    assert_eq!(tasks(&site.send(of_alice(&admin)).await.json()).len(), 4);
    let bob = site.token("bob").await;
    assert_eq!(
        site.send(of_alice(&bob)).await.expect(200).json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_file_is_downloaded_whole_or_in_part() {
    let (site, token, task) = with_files().await;
    let path = format!("/api/files/{task}/download/model.bin");
    let ask = || get(&path).by(&token);
    let whole = site.send(ask()).await.expect(200);
    assert_eq!(whole.body, MODEL);
    assert_eq!(
        whole.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(whole.header("content-length"), Some("10"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!(
        tag,
        "\"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\""
    );

    let part = site
        .send(ask().header("Range", "bytes=2-4"))
        .await
        .expect(206);
    assert_eq!(
        (part.body.as_slice(), part.header("content-range")),
        (&b"234"[..], Some("bytes 2-4/10"))
    );
    let last = site
        .send(ask().header("Range", "bytes=-1"))
        .await
        .expect(206);
    assert_eq!(last.body, b"9");
    let ranged = ask().header("Range", "bytes=2-4").header("If-Range", &tag);
    site.send(ranged).await.expect(206);
    let other = ask()
        .header("Range", "bytes=2-4")
        .header("If-Range", "\"other\"");
    assert_eq!(site.send(other).await.expect(200).body, MODEL);
    let beyond = site.send(ask().header("Range", "bytes=10-")).await;
    let beyond = beyond.expect_problem(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    let known = site
        .send(ask().header("If-None-Match", &tag))
        .await
        .expect(304);
    assert!(known.body.is_empty());
    let head = crate::support::client::Ask::new("HEAD", &path).by(&token);
    let head = site.send(head).await.expect(200);
    assert_eq!(
        (head.body.len(), head.header("content-length")),
        (0, Some("10"))
    );
}

#[tokio::test]
async fn odd_names_are_found_and_break_no_header() {
    let (site, token, task) = with_files().await;
    let path = format!("/api/files/{task}/download/gr%C3%B6%C3%9Fe%0A%22x%22.txt");
    let odd = site.send(get(path).by(&token)).await.expect(200);
    assert_eq!(odd.body, b"odd");
    assert_eq!(
        odd.header("content-disposition"),
        Some(
            "attachment; filename=\"gr__e__x_.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%0A%22x%22.txt"
        )
    );
    // As the list has it, with its `%` written as a path has it.
    let path = format!("/api/files/{task}/download/sub/deep/caf%25E9");
    assert_eq!(
        site.send(get(path).by(&token)).await.expect(200).body,
        b"not UTF-8"
    );
}

#[tokio::test]
async fn an_archive_holds_all_of_them() {
    let (site, token, task) = with_files().await;
    let packed = site
        .send(get(format!("/api/files/{task}/archive")).by(&token))
        .await
        .expect(200);
    assert_eq!(packed.header("content-type"), Some("application/gzip"));
    assert_eq!(
        packed.header("content-disposition"),
        Some("attachment; filename=\"task-7.tar.gz\"; filename*=UTF-8''task-7.tar.gz")
    );
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.body.as_slice()));
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.push((path, content));
    }
    let expected: [(&[u8], &[u8]); 3] = [
        ("task-7/größe\n\"x\".txt".as_bytes(), b"odd"),
        (b"task-7/model.bin", MODEL),
        (b"task-7/sub/deep/caf\xe9", b"not UTF-8"),
    ];
    let expected = expected.map(|(path, content)| (path.to_vec(), content.to_vec()));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_file_that_is_gone_from_the_disk_breaks_the_archive_off() {
    let (site, token, task) = with_files().await;
    let stored = site.folder.path().join("files/alice/task-7/model.bin");
    std::fs::write(&stored, b"012").unwrap();
    let asked = get(format!("/api/files/{task}/archive")).by(&token);
    let answer = answered(site.at, &asked.bytes()).await;
    // If it was found before the answer had begun, there is none.
    if !answer.is_empty() {
        let packed = Reply::read(&answer).expect(200);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.body.as_slice()));
        let mut entries = archive.entries().unwrap();
        let whole = entries.try_for_each(|entry| entry?.read_to_end(&mut Vec::new()).map(drop));
        assert!(whole.is_err(), "a part was taken for the whole");
    }
    std::fs::remove_file(&stored).unwrap();
    let path = format!("/api/files/{task}/download/model.bin");
    site.send(get(path).by(&token))
        .await
        .expect_problem(500, "internal");
}

#[tokio::test]
async fn files_are_deleted_once_and_then_told_as_deleted() {
    let (site, token, task) = with_files().await;
    let path = format!("/api/files/{task}");
    site.send(delete(&path).by(&token)).await.expect(204);
    let listed = site.send(get(&path).by(&token)).await.expect(200).json();
    assert_eq!(listed["files_removed"]["by"], "alice");
    site.send(delete(&path).by(&token))
        .await
        .expect_problem(410, "removed");
    site.send(get(format!("{path}/archive")).by(&token))
        .await
        .expect_problem(410, "removed");
    let download = get(format!("{path}/download/model.bin")).by(&token);
    site.send(download).await.expect_problem(410, "removed");
    assert!(
        site.done()
            .contains(&("files.delete".into(), "task-7".into(), true))
    );
}

#[tokio::test]
async fn a_task_that_has_not_ended_has_no_files_yet() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    for path in ["", "/archive", "/download/a"] {
        let asked = get(format!("/api/files/{task}{path}")).by(&token);
        site.send(asked).await.expect_problem(409, "task_not_final");
    }
    let asked = delete(format!("/api/files/{task}")).by(&token);
    site.send(asked).await.expect_problem(409, "task_not_final");
}
