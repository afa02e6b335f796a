//! What real containers write, taken from their outputs: every byte, and the rest after a break.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use cloudai_engine::{ContainerId, Engine, LogError, LogPieces, LogPosition};
use futures_util::StreamExt as _;
use support::{
    MIB, Place, Written,
    bytes::{assert_same, awkward, noise},
    proxy::Proxy,
    read_log, within,
};

/// Starts a container with its outputs attached.
async fn attached(
    place: &Place,
    engine: &Engine,
    what: &Written,
    line: &str,
) -> (ContainerId, LogPieces) {
    let plan = place.shell(line).await;
    std::fs::write(plan.output_dir.join("out"), &what.stdout).unwrap();
    std::fs::write(plan.output_dir.join("err"), &what.stderr).unwrap();
    let id = place.engine.create(&plan).await.unwrap().id;
    let pieces = engine.attach(&id).await.unwrap();
    engine.start(&id).await.unwrap();
    (id, pieces)
}

/// Takes in what comes until the end, or the error that it breaks off with.
async fn read(pieces: &mut LogPieces, into: &mut Written) -> Result<(), LogError> {
    while let Some(piece) = within(pieces.next()).await {
        into.push(&piece?);
    }
    Ok(())
}

const BOTH: &str = "cat /output/out & cat /output/err >&2; wait";

#[tokio::test]
async fn both_outputs_arrive_byte_for_byte() {
    let place = Place::new().await;
    // Given lines that end with a newline and lines that don't, of lengths at which the engine's
    // log can't tell one from the other
    for last_line in [0, 1, 16_383, 16_384, 16_385, 20_000] {
        let mut expected = Written {
            stdout: awkward(1),
            stderr: awkward(2),
        };
        expected.stdout.push(b'\n');
        expected.stdout.extend(std::iter::repeat_n(b'x', last_line));
        expected.stderr.clone_from(&expected.stdout);
        expected.stderr.push(b'\n');

        // When both are written at once, then all of it is here.
        let (_, mut pieces) = attached(&place, &place.engine, &expected, BOTH).await;
        let mut got = Written::default();
        read(&mut pieces, &mut got).await.unwrap();
        assert_same(&got, &expected);
    }
}

#[tokio::test]
async fn a_line_of_10_mb_arrives_whole() {
    let place = Place::new().await;
    let expected = Written {
        stdout: vec![b'x'; 10 * MIB as usize],
        stderr: Vec::new(),
    };
    let (_, mut pieces) = attached(&place, &place.engine, &expected, BOTH).await;
    let mut got = Written::default();
    read(&mut pieces, &mut got).await.unwrap();
    assert_same(&got, &expected);
}

#[tokio::test]
async fn bursts_of_containers_that_end_at_once_lose_nothing() {
    let place = Place::new().await;
    let expected = Written {
        stdout: noise(6, 70_000),
        stderr: noise(7, 50_000),
    };
    for _ in 0..3 {
        let runs = (0..8).map(|_| async {
            let (_, mut pieces) = attached(&place, &place.engine, &expected, BOTH).await;
            let mut got = Written::default();
            read(&mut pieces, &mut got).await.unwrap();
            got
        });
        for got in futures_util::future::join_all(runs).await {
            assert_same(&got, &expected);
        }
    }
}

#[tokio::test]
async fn after_a_break_the_log_gives_the_rest() {
    let place = Place::new().await;
    let expected = Written {
        stdout: [awkward(3), noise(4, 3_000_000), b"\n".to_vec()].concat(),
        stderr: [awkward(5), b"\n".to_vec()].concat(),
    };
    // Given a way to the engine that breaks while the container writes
    let proxy = Proxy::new();
    let engine = Engine::connect(Some(&proxy.host())).await.unwrap();
    let (id, mut pieces) = attached(&place, &engine, &expected, BOTH).await;
    let mut got = Written::default();
    while got.stdout.len() < 500_000 {
        got.push(&within(pieces.next()).await.unwrap().unwrap());
    }
    proxy.cut();
    let error = read(&mut pieces, &mut got).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(within(pieces.next()).await.is_none());

    // When the rest is asked of its log, then nothing is missing and nothing is there twice.
    let mut position = LogPosition::START;
    position.stdout_bytes = got.stdout.len() as u64;
    position.stderr_bytes = got.stderr.len() as u64;
    let rest = within(read_log(&place.engine, &id, position)).await;
    got.stdout.extend(rest.stdout);
    got.stderr.extend(rest.stderr);
    assert_same(&got, &expected);
}

#[tokio::test]
async fn a_break_that_is_seen_after_the_container_has_ended_is_no_end() {
    let place = Place::new().await;
    let expected = Written {
        stdout: b"first words\n".to_vec(),
        stderr: Vec::new(),
    };
    // Given a way to the engine that breaks between two lines,
    let proxy = Proxy::new();
    let engine = Engine::connect(Some(&proxy.host())).await.unwrap();
    let line = "cat /output/out; while [ ! -e /output/go ]; do :; done; echo last words";
    let (id, mut pieces) = attached(&place, &engine, &expected, line).await;
    let mut got = Written::default();
    while got.stdout.len() < expected.stdout.len() {
        got.push(&within(pieces.next()).await.unwrap().unwrap());
    }
    proxy.cut();

    // when whoever reads looks again only after the container's end, then that is not taken for all.
    let output = place.output(&cloudai_model::TaskId::numbered(0));
    std::fs::write(output.join("go"), "").unwrap();
    within(place.engine.wait(&id)).await.unwrap();
    proxy.mend();
    let error = read(&mut pieces, &mut got).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn outputs_that_died_without_a_word_before_the_start_have_no_end() {
    let place = Place::new().await;
    // Given outputs whose connection dies as soon as it is open, where new ones are well,
    let proxy = Proxy::new();
    let engine = Engine::connect(Some(&proxy.host())).await.unwrap();
    let plan = place.shell("echo words").await;
    let id = place.engine.create(&plan).await.unwrap().id;
    let mut pieces = engine.attach(&id).await.unwrap();
    proxy.freeze();
    engine.start(&id).await.unwrap();
    within(place.engine.wait(&id)).await.unwrap();

    // when they break at last, then that is not taken for the end of what was written.
    proxy.cut();
    let error = read(&mut pieces, &mut Written::default())
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_reader_that_is_gone_does_not_hold_the_container_up() {
    let place = Place::new().await;
    let expected = Written {
        stdout: [noise(8, 8_000_000), b"\n".to_vec()].concat(),
        stderr: Vec::new(),
    };
    let (id, mut pieces) = attached(&place, &place.engine, &expected, BOTH).await;
    within(pieces.next()).await.unwrap().unwrap();
    drop(pieces);
    within(place.engine.wait(&id)).await.unwrap();
    let got = within(read_log(&place.engine, &id, LogPosition::START)).await;
    assert_same(&got, &expected);
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_the_container_up_and_misses_nothing() {
    let place = Place::new().await;
    // Given more than the engine and the pipes on the way hold
    let expected = Written {
        stdout: noise(9, 8_000_000),
        stderr: Vec::new(),
    };
    let line = "cat /output/out; touch /output/written; sleep 5";
    let plan_output = |id: u32| place.output(&cloudai_model::TaskId::numbered(u64::from(id)));
    let (id, mut pieces) = attached(&place, &place.engine, &expected, line).await;
    let written = plan_output(0).join("written");

    // When nobody reads, then the container doesn't get done,
    let end = tokio::time::timeout(std::time::Duration::from_secs(2), place.engine.wait(&id));
    assert!(end.await.is_err());
    assert!(!written.exists());

    // and when somebody does, then everything is there.
    let mut got = Written::default();
    read(&mut pieces, &mut got).await.unwrap();
    assert_same(&got, &expected);
    assert!(written.exists());
}

#[tokio::test]
async fn what_the_engine_throws_away_is_told() {
    // Where exactly the engine stands when a container ends is up to both.
    for _ in 0..4 {
        if how_many_ends_were_thrown_away().await > 0 {
            return;
        }
    }
    panic!("none came to where it matters");
}

async fn how_many_ends_were_thrown_away() -> usize {
    let place = Place::new().await;
    // Given containers that write a little more each, from what fits on the way to a reader who stands
    // still, to what doesn't and holds its container up
    let mut written = Vec::new();
    for step in 0..16_u64 {
        let what = Written {
            stdout: noise(step, MIB as usize + 48 * 1024 * step as usize),
            stderr: Vec::new(),
        };
        let (id, pieces) = attached(&place, &place.engine, &what, "cat /output/out").await;
        written.push((what, id, pieces));
    }
    // (asked as soon as each has ended: the engine remembers some hundred events)
    let asked: Vec<_> = written
        .iter()
        .map(|(_, id, _)| {
            let (engine, id) = (place.engine.clone(), id.clone());
            tokio::spawn(async move {
                engine.wait(&id).await.unwrap();
                engine.may_lack_the_end(&id).await.unwrap()
            })
        })
        .collect();
    let ends = written.iter().map(|(_, id, _)| place.engine.wait(id));
    let all = futures_util::future::join_all(ends);
    let held_up = tokio::time::timeout(std::time::Duration::from_secs(5), all).await;
    assert!(held_up.is_err(), "the largest doesn't end unread");

    // when they are read at last, then some lack their end, and each of those is told.
    let mut lacking = 0;
    for ((what, id, mut pieces), told) in written.into_iter().zip(asked) {
        let mut got = Written::default();
        read(&mut pieces, &mut got).await.unwrap();
        assert!(what.stdout.starts_with(&got.stdout));
        let told = within(told).await.unwrap();
        if got.stdout.len() < what.stdout.len() {
            lacking += 1;
            assert_eq!(told, Some(true), "{} bytes", what.stdout.len());
        }
        let log = within(read_log(&place.engine, &id, LogPosition::START)).await;
        assert_eq!(log.stdout.len(), got.stdout.len(), "the log has no more");
    }
    lacking
}

#[tokio::test]
async fn outputs_that_a_command_closes_are_no_end() {
    let place = Place::new().await;
    let expected = Written {
        stdout: b"last words\n".to_vec(),
        stderr: Vec::new(),
    };
    let line = "cat /output/out; exec >&- 2>&-; sleep 1";
    let (id, mut pieces) = attached(&place, &place.engine, &expected, line).await;
    let mut got = Written::default();
    read(&mut pieces, &mut got).await.unwrap();
    assert_same(&got, &expected);
    let state = place.engine.inspect(&id).await.unwrap();
    assert!(!state.running);
}

#[tokio::test]
async fn a_container_that_is_not_there_cannot_be_attached() {
    let place = Place::new().await;
    let id = ContainerId::new("0".repeat(64));
    assert!(place.engine.attach(&id).await.is_err());
}
