//! What ended tasks have left with the master, compared with what they wrote.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cloudai_proto::{LogMessage, LogPiece, LogRequest, OutputStream};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tokio_stream::StreamExt as _;

use super::{
    audit::{Compared, Left},
    listed::Listed,
    site::Site,
    tasks::{Kind, Written},
    workload::{Order, client},
};

/// So many tasks are looked at at a time.
const AT_A_TIME: usize = 4;
/// A log that has not come whole by then never does.
const LOG_WITHIN: Duration = Duration::from_secs(60);

/// Looks at what each of these tasks has left, if it had an attempt; by id.
pub async fn look(
    site: &Arc<Site>,
    orders: &[Order],
    listed: &[Listed],
    data_dir: &Path,
) -> BTreeMap<String, Left> {
    let kinds: BTreeMap<&str, &Kind> = orders
        .iter()
        .map(|order| (order.name.as_str(), &order.kind))
        .collect();
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut looking = JoinSet::new();
    for task in listed
        .iter()
        .filter(|task| task.attempt > 0 && task.is_final())
    {
        let Some(kind) = kinds.get(task.name.as_str()).map(|kind| (*kind).clone()) else {
            continue;
        };
        // As the contract has it: <files>/<user>/<task>.
        let folder = data_dir.join("files/admin").join(&task.id);
        let (site, task, places) = (site.clone(), task.clone(), places.clone());
        looking.spawn(async move {
            let _place = places.acquire().await.expect("nobody closes it");
            let log = log(&site, &task).await;
            let (id, wanted) = (task.id.clone(), kind);
            let comparing = tokio::task::spawn_blocking(move || Left {
                log: log.map_or_else(Compared::Unreadable, |log| {
                    compared_log(&wanted.written(), &log)
                }),
                files: compared_files(&wanted.files(), &folder),
            });
            (id, comparing.await.expect("a comparison ends"))
        });
    }
    let mut left = BTreeMap::new();
    while let Some(looked) = looking.join_next().await {
        let (id, found) = looked.expect("a look ends");
        left.insert(id, found);
    }
    left
}

/// Both outputs of a task's last attempt.
async fn log(site: &Site, task: &Listed) -> Result<[Vec<u8>; 2], String> {
    let request = LogRequest {
        task: task.id.parse().map_err(|error| format!("{error}"))?,
        attempt: Some(task.attempt),
        user: None,
        follow: true,
        framed: false,
        offset: 0,
        without_text: true,
    };
    let reading = async {
        let mut client = client(site);
        let stream = client.stream_task_logs(request.into_wire()).await?;
        let mut stream = stream.into_inner();
        let mut log = [Vec::new(), Vec::new()];
        while let Some(chunk) = stream.next().await {
            let message = LogMessage::from_wire(chunk?);
            let message = message.map_err(|error| tonic::Status::data_loss(error.to_string()))?;
            if let Some(LogPiece::Output { stream, data, .. }) = message.piece {
                let output = match stream {
                    OutputStream::Stdout => 0,
                    OutputStream::Stderr => 1,
                };
                log[output].extend_from_slice(&data);
            }
            if message.is_complete {
                return Ok(log);
            }
        }
        Err(tonic::Status::unavailable(
            "the stream ended before the log",
        ))
    };
    match timeout(LOG_WITHIN, reading).await {
        Ok(read) => read.map_err(|status| status.to_string()),
        Err(_) => Err(format!("it did not end within {LOG_WITHIN:?}")),
    }
}

fn compared_log(written: &Written, log: &[Vec<u8>; 2]) -> Compared {
    let (expected, must_be_all) = match written {
        Written::Exactly(expected) => (expected, true),
        Written::BeginningOf(expected) => (expected, false),
    };
    let mut missing = Vec::new();
    for (name, (expected, seen)) in ["stdout", "stderr"].iter().zip(expected.iter().zip(log)) {
        let same = seen
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b)
            .count();
        if same < seen.len() {
            let length = seen.len();
            let wanted = expected.len();
            return Compared::Differs(format!(
                "{name} differs at byte {same}; it has {length}, and should have {wanted}"
            ));
        }
        if same < expected.len() {
            missing.push(format!("{name} ends at byte {same} of {}", expected.len()));
        }
    }
    match missing.is_empty() {
        true => Compared::Whole,
        false if must_be_all => Compared::Part(missing.join(", ")),
        false => Compared::Beginning(log.iter().map(Vec::len).sum()),
    }
}

fn compared_files(expected: &[(String, Vec<u8>)], folder: &Path) -> Compared {
    let mut there = Vec::new();
    if let Err(error) = files_below(folder, &mut there) {
        return Compared::Unreadable(error.to_string());
    }
    for path in &there {
        let name = path.strip_prefix(folder).unwrap_or(path);
        if !expected.iter().any(|(wanted, _)| Path::new(wanted) == name) {
            return Compared::Differs(format!("{} is not of this task", name.display()));
        }
    }
    let mut missing = Vec::new();
    for (name, content) in expected {
        match fs::read(folder.join(name)) {
            Ok(seen) if checksum(&seen) == checksum(content) => {}
            Ok(seen) => {
                let (length, wanted) = (seen.len(), content.len());
                return Compared::Differs(format!(
                    "{name} has another checksum; it has {length} bytes, and should have {wanted}"
                ));
            }
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    match missing.first() {
        None => Compared::Whole,
        Some(first) => Compared::Part(format!("{} are missing, as {first}", missing.len())),
    }
}

fn checksum(bytes: &[u8]) -> [u8; 32] {
    <sha2::Sha256 as sha2::Digest>::digest(bytes).into()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(stdout: &str) -> [Vec<u8>; 2] {
        [stdout.into(), Vec::new()]
    }

    #[test]
    fn a_log_is_whole_short_or_wrong() {
        let exactly = Written::Exactly(log("one two"));
        assert_eq!(compared_log(&exactly, &log("one two")), Compared::Whole);
        assert!(matches!(
            compared_log(&exactly, &log("one")),
            Compared::Part(_)
        ));
        for wrong in ["one twx", "one two three", "x"] {
            let compared = compared_log(&exactly, &log(wrong));
            assert!(matches!(compared, Compared::Differs(_)), "{wrong}");
        }
        let beginning = Written::BeginningOf(log("one two"));
        assert_eq!(compared_log(&beginning, &log("one two")), Compared::Whole);
        let compared = compared_log(&beginning, &log("one"));
        assert_eq!(compared, Compared::Beginning(3));
        let compared = compared_log(&beginning, &log("two"));
        assert!(matches!(compared, Compared::Differs(_)));
    }

    #[test]
    fn files_are_all_there_or_missing_or_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let expected = [("a/b".to_owned(), b"content".to_vec())];
        let compared = || compared_files(&expected, folder.path());
        assert!(matches!(compared(), Compared::Part(_)));
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), "content").unwrap();
        assert_eq!(compared(), Compared::Whole);
        fs::write(folder.path().join("a/b"), "contenT").unwrap();
        assert!(matches!(compared(), Compared::Differs(_)));
        fs::write(folder.path().join("a/b"), "content").unwrap();
        fs::write(folder.path().join("stranger"), "").unwrap();
        assert!(matches!(compared(), Compared::Differs(_)));
    }
}
