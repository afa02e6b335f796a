//! What an engine answers, and what a Docker config says: JSON of others.
//!
//! The first line says which answer, the rest is its JSON. What holds: figures that can't be are none;
//! a container has ended or runs, never both, and its end is not before its start; a container or a
//! volume is ours if its labels are there as we write them, and only then; a memory kill is one that is
//! announced of that container; progress never counts more layers done than there are; a refusal of a pull names the
//! image; and an error about credentials names the registry and never shows them,
//! whether they come from a config or from a helper.

use cloudai_engine::{HeldState, StopCause, end_of, fuzzing, labels};
use cloudai_model::{AttemptId, Exit, ImageRef};
use serde_json::Value;

use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said_within},
    sections,
};

/// Stands for a password: no error and nothing that is shown may hold it.
const SECRET: &str = "hunter2secret";

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let (kind, json) = first_line(bytes);
    match kind {
        b"state" => state(json),
        b"usage" => usage(json),
        b"held" => held(json),
        b"volume" => volume(json),
        b"kill" => kill(json),
        b"helper" => helper(json),
        b"info" => info(json),
        b"pull" => pull(json),
        b"refusal" => refusal(json),
        b"digests" => digests(json),
        b"config" => config(json),
        _ => Verdict::Refused,
    }
}

fn state(json: &[u8]) -> Verdict {
    let Ok(state) = fuzzing::container_state(json) else {
        return Verdict::Refused;
    };
    assert!(!state.running || state.end.is_none(), "{state:?}");
    if let Some(end) = &state.end {
        assert!(end.started_at.is_some());
        assert!(
            end.finished_at.is_none() || end.started_at <= end.finished_at,
            "{state:?}"
        );
        let removed = cloudai_engine::RawEnd {
            removing: true,
            ..end.clone()
        };
        for end in [end, &removed] {
            match end_of(end, None) {
                Exit::Signalled(signal) => assert!((1..=64).contains(&signal)),
                Exit::Exited(_) | Exit::OutOfMemory | Exit::Interrupted(_) => {}
                other => assert!(other.is_success(), "nobody stopped it: {other:?}"),
            }
            assert_eq!(end_of(end, Some(&StopCause::Cancel)), Exit::Cancelled);
        }
    }
    Verdict::Accepted
}

fn held(json: &[u8]) -> Verdict {
    let Ok(found) = fuzzing::held_container(json) else {
        return Verdict::Refused;
    };
    let Some(said) = all_of(json) else {
        return Verdict::Refused;
    };
    let labelled = labelled(&said);
    let Some(found) = found else {
        let is_whole = said["Id"].is_string() && said["State"].is_string();
        assert!(labelled.is_none() || !is_whole, "it is ours: {said}");
        return Verdict::Refused;
    };
    assert_eq!(Some(&found.attempt), labelled.as_ref(), "{said}");
    assert_eq!(Some(found.id.as_str()), said["Id"].as_str());
    let expected = match said["State"].as_str() {
        Some("created") => HeldState::Created,
        Some("running" | "paused" | "restarting") => HeldState::Running,
        _ => HeldState::Ended,
    };
    assert_eq!(found.state, expected, "{said}");
    Verdict::Accepted
}

fn volume(json: &[u8]) -> Verdict {
    let Ok(found) = fuzzing::held_volume(json) else {
        return Verdict::Refused;
    };
    let Some(said) = all_of(json) else {
        return Verdict::Refused;
    };
    assert_eq!(found, labelled(&said), "{said}");
    Verdict::accepted_if(found.is_some())
}

/// The whole of an answer; `None` if what nobody reads of it is no text, which its reader passes over.
fn all_of(json: &[u8]) -> Option<Value> {
    serde_json::from_slice(json).ok()
}

/// The attempt whose labels are these, letter by letter.
fn labelled(said: &Value) -> Option<AttemptId> {
    let labels = said["Labels"].as_object()?;
    let label = |name: &str| labels.get(name)?.as_str();
    let (task, number) = (label(labels::TASK)?, label(labels::ATTEMPT)?);
    let attempt = AttemptId::new(task.parse().ok()?, number.parse().ok()?);
    let written = (attempt.task.to_string(), attempt.number.to_string());
    (written == (task.to_owned(), number.to_owned())).then_some(attempt)
}

/// The container, and the engine's events, one a line.
fn kill(text: &[u8]) -> Verdict {
    let (id, events) = first_line(text);
    let Ok(id) = std::str::from_utf8(id) else {
        return Verdict::Refused;
    };
    let Ok(killed) = fuzzing::memory_kill(events, id) else {
        return Verdict::Refused;
    };
    let events = events.split(|byte| *byte == b'\n').map(all_of);
    let Some(events) = events.collect::<Option<Vec<_>>>() else {
        return Verdict::accepted_if(killed);
    };
    let announced = events.iter().any(|said| {
        said["Action"] == "oom" && said["Type"] == "container" && said["Actor"]["ID"] == id
    });
    assert_eq!(killed, announced);
    Verdict::accepted_if(killed)
}

/// The image that is to be pulled, whether the helper succeeded, its output, and behind `%%stderr`
/// what it complained of.
fn helper(text: &[u8]) -> Verdict {
    let (image, text) = first_line(text);
    let (exit, text) = first_line(text);
    let image = String::from_utf8_lossy(image);
    let Ok(image) = image.parse::<ImageRef>() else {
        return Verdict::Refused;
    };
    let parts = sections::split(text);
    let stdout = parts[0].1;
    let stderr = parts.iter().find(|(name, _)| *name == "stderr");
    let stderr = stderr.map_or(&b""[..], |(_, stderr)| stderr);
    let succeeded = exit == b"ok";
    match fuzzing::helper_credentials(&image, (succeeded, stdout, stderr)) {
        Ok(Some((found, [user, password, token]))) => {
            let shown = format!("{found:?}");
            assert!(!shown.contains(SECRET) || image.as_str().contains(SECRET));
            assert!(succeeded, "a helper that fails has none: {shown}");
            let said: HelperSaid = serde_json::from_slice(stdout).expect("it was read as JSON");
            assert!(
                !said.secret.is_empty() || !said.username.is_empty(),
                "it has none"
            );
            let is_token = said.username == "<token>";
            let secret = Some(said.secret);
            let expected = match is_token {
                true => [None, None, secret],
                false => [Some(said.username), secret, None],
            };
            assert_eq!([user, password, token], expected);
            Verdict::Accepted
        }
        Ok(None) => Verdict::Refused,
        Err(error) => {
            let words = error.to_string();
            // What a helper complains of is shown, if it is one line of a bounded length.
            assert!(!succeeded || !words.contains(SECRET) || image.as_str().contains(SECRET));
            assert_said_within(words, LONGEST);
            Verdict::Refused
        }
    }
}

/// A helper's answer, as its protocol has it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct HelperSaid {
    username: String,
    secret: String,
}

/// A line, and what is behind it.
fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n');
    let (line, rest) = text.split_at(end.unwrap_or(text.len()));
    (line, rest.strip_prefix(b"\n").unwrap_or(rest))
}

fn usage(json: &[u8]) -> Verdict {
    let Ok(Some(usage)) = fuzzing::container_usage(json) else {
        return Verdict::Refused;
    };
    assert!(usage.memory_bytes <= usage.memory_peak_bytes);
    Verdict::Accepted
}

fn info(json: &[u8]) -> Verdict {
    let Ok(info) = fuzzing::engine_info(json) else {
        return Verdict::Refused;
    };
    for lack in &info.lacks {
        assert_said_within(lack, LONGEST);
    }
    Verdict::Accepted
}

fn pull(messages: &[u8]) -> Verdict {
    let Ok(progress) = fuzzing::pull(messages) else {
        return Verdict::Refused;
    };
    assert!(progress.layers_done + progress.under_way.len() <= progress.layers_total);
    let words = progress.to_string();
    assert!(
        words.contains(&format!("of {} layers", progress.layers_total)),
        "{words}"
    );
    Verdict::Accepted
}

/// The image that was asked for, and the engine's words.
fn refusal(text: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(text);
    let (image, words) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(image) = image.parse::<ImageRef>() else {
        return Verdict::Refused;
    };
    for had_credentials in [false, true] {
        let said = fuzzing::pull_refusal(&image, had_credentials, words);
        assert!(said.contains(image.as_str()), "{said}");
    }
    Verdict::Accepted
}

/// The image that was asked for, and the digests that the engine knows it by, one a line.
fn digests(text: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.split('\n');
    let Ok(image) = lines.next().unwrap_or_default().parse::<ImageRef>() else {
        return Verdict::Refused;
    };
    let known: Vec<String> = lines.map(str::to_owned).collect();
    match fuzzing::digest(&image, known.clone()) {
        Some(digest) => {
            let end = format!("@{digest}");
            assert!(known.iter().any(|one| one.ends_with(&end)), "{digest}");
            Verdict::Accepted
        }
        None => {
            assert!(known.iter().all(|one| !one.contains('@')));
            Verdict::Refused
        }
    }
}

/// The image that is to be pulled, and the config.
fn config(text: &[u8]) -> Verdict {
    let (image, config) = first_line(text);
    let image = String::from_utf8_lossy(image);
    let Ok(image) = image.parse::<ImageRef>() else {
        return Verdict::Refused;
    };
    match fuzzing::config_credentials(config, &image) {
        Some(Ok(found)) => {
            let shown = format!("{found:?}");
            assert!(!shown.contains(SECRET), "{shown}");
            Verdict::accepted_if(found.is_some())
        }
        Some(Err(error)) => {
            let words = error.to_string();
            assert!(
                !words.contains(SECRET) || image.as_str().contains(SECRET),
                "{words}"
            );
            assert_said_within(words, LONGEST);
            Verdict::Refused
        }
        None => Verdict::Refused,
    }
}

/// An answer of each kind, of both cgroup versions, and nonsense.
pub(super) fn seeds() -> Vec<Seed> {
    let ended = r#"{"Status":"exited","Running":false,"OOMKilled":true,"ExitCode":137,"Error":"",
        "StartedAt":"2026-11-21T07:13:09.937781475Z","FinishedAt":"2026-11-21T07:13:08Z"}"#;
    let v1 = r#"{"cpu_stats":{"cpu_usage":{"total_usage":313123696}},"memory_stats":{"usage":30527488,
        "max_usage":31735808,"limit":67108864,"stats":{"total_inactive_file":20971520}}}"#;
    let info = r#"{"MemoryLimit":true,"SwapLimit":false,"PidsLimit":false,"CgroupVersion":"2","NCPU":-8,
        "MemTotal":25200000000,"Driver":"overlay2","InitCommit":{"ID":"N/A"},
        "SecurityOptions":["name=seccomp,profile=unconfined"]}"#;
    let pull = r#"{"status":"Pulling from library/alpine","id":"3.22"}
{"status":"Pulling fs layer","id":"9f8e"}
{"status":"Downloading","id":"9f8e","progressDetail":{"current":1024,"total":-1}}
{"status":"Retrying in 4 seconds","id":"0a1b"}
{"status":"Pull complete","id":"9f8e"}"#;
    let held =
        r#"{"Id":"ab","State":"running","Labels":{"cloudai.task":"task-7","cloudai.attempt":"2"}}"#;
    let labels = cloudai_engine::labels::TASK;
    let held = held
        .replace("cloudai.task", labels)
        .replace("cloudai.attempt", cloudai_engine::labels::ATTEMPT);
    let other = held.replace("\"2\"", "\"+2\"");
    let volume = format!(
        r#"{{"Name":"v","Driver":"local","Mountpoint":"/v","Scope":"local","Options":{{}},
        "Labels":{{"{labels}":"task-7","{}":"12"}}}}"#,
        cloudai_engine::labels::ATTEMPT
    );
    let event = |action: &str, id: &str| {
        format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{id}"}},"time":1}}"#)
    };
    let helper = |user: &str, secret: &str| {
        format!(r#"{{"ServerURL":"x","Username":"{user}","Secret":"{secret}"}}"#)
    };
    let auth = |auth: &str| {
        format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#)
    };
    // ann:hunter2secret, and hunter2secret alone.
    let (right, wrong) = ("YW5uOmh1bnRlcjJzZWNyZXQ=", "aHVudGVyMnNlY3JldA");
    vec![
        Seed::good("ended", format!("state\n{ended}")),
        Seed::good(
            "running",
            "state\n{\"Running\":true,\"ExitCode\":0,\"StartedAt\":\"2026-11-21T07:13:09Z\"}",
        ),
        Seed::good(
            "never-started",
            "state\n{\"Status\":\"created\",\"StartedAt\":\"0001-01-01T00:00:00Z\"}",
        ),
        Seed::good(
            "code",
            "state\n{\"ExitCode\":-9223372036854775808,\"StartedAt\":\"2026-11-21T07:13:09Z\"}",
        ),
        Seed::good("usage", format!("usage\n{v1}")),
        Seed::good(
            "usage-v2",
            "usage\n{\"memory_stats\":{\"usage\":5,\"stats\":{\"inactive_file\":9}}}",
        ),
        Seed::good("held", format!("held\n{held}")),
        Seed::bad("held-written-otherwise", format!("held\n{other}")),
        Seed::good("volume", format!("volume\n{volume}")),
        Seed::bad(
            "volume-of-another",
            "volume\n{\"Name\":\"x\",\"Driver\":\"local\",\"Mountpoint\":\"/x\",\"Labels\":{},\"Scope\":\"local\",\"Options\":{}}",
        ),
        Seed::good(
            "kill",
            format!("kill\nab\n{}\n{}", event("oom", "cd"), event("oom", "ab")),
        ),
        Seed::bad(
            "kill-of-another",
            format!("kill\nab\n{}", event("oom", "cd")),
        ),
        Seed::bad("no-kill", format!("kill\nab\n{}", event("die", "ab"))),
        Seed::good(
            "helper",
            format!("helper\nalpine\nok\n{}", helper("ann", SECRET)),
        ),
        Seed::good(
            "helper-token",
            format!("helper\nghcr.io/a/b\nok\n{}", helper("<token>", SECRET)),
        ),
        Seed::bad(
            "helper-has-none",
            format!("helper\nalpine\nok\n{}", helper("", "")),
        ),
        Seed::bad(
            "helper-does-not-know",
            "helper\nalpine\nfailed\ncredentials not found in native keychain\n",
        ),
        Seed::bad(
            "helper-failed",
            "helper\nalpine\nfailed\nno\tkeychain\r\n%%stderr\n\u{1b}[31mpanic: x\n\ngoroutine 1\n",
        ),
        Seed::bad("helper-no-json", format!("helper\nalpine\nok\n{SECRET}")),
        Seed::good("info", format!("info\n{info}")),
        Seed::good("pull", format!("pull\n{pull}")),
        Seed::good(
            "denied",
            "refusal\nghcr.io/a/b:1\npull access denied for a/b, repository does not exist",
        ),
        Seed::good("other-words", "refusal\nalpine\n\u{1b}[31mno idea\u{0}"),
        Seed::good(
            "digests",
            "digests\nalpine\nregistry:5000/x@sha256:1\ndocker.io/library/alpine@sha256:2",
        ),
        Seed::good("config", format!("config\nalpine\n{}", auth(right))),
        Seed::good(
            "config-host",
            format!(
                "config\nghcr.io/a/b\n{}",
                r#"{"auths":{"https://ghcr.io/v2/":{"username":"ann","password":"hunter2secret"}}}"#
            ),
        ),
        Seed::bad("config-wrong", format!("config\nalpine\n{}", auth(wrong))),
        Seed::bad(
            "config-of-another",
            format!("config\nEVIL/app\n{}", auth(right)),
        ),
        Seed::bad("config-no-json", "config\nalpine\nhunter2secret"),
        Seed::bad("no-digest", "digests\nalpine\nalpine:3.22"),
        Seed::bad(
            "not-ours",
            "held\n{\"Id\":\"ab\",\"State\":\"running\",\"Labels\":{}}",
        ),
        Seed::bad("stopped-usage", "usage\n{\"memory_stats\":{}}"),
        Seed::bad("no-json", "state\nhello"),
        Seed::bad("nothing", ""),
    ]
}
