//! Logs of real containers: every byte, once, in order, and the rest of them after a break.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::fmt::Write as _;

use cloudai_engine::{LogError, LogPosition, LogStream};
use futures_util::StreamExt as _;
use support::{
    Place, Written, appears,
    bytes::{assert_same, awkward, noise},
    proxy::Proxy,
    read_log, within,
};

/// Starts a container that writes these bytes and ends at once.
async fn writer(place: &Place, what: &Written, line: &str) -> cloudai_engine::ContainerId {
    let plan = place.shell(line).await;
    std::fs::write(plan.output_dir.join("out"), &what.stdout).unwrap();
    std::fs::write(plan.output_dir.join("err"), &what.stderr).unwrap();
    place.start(&plan).await
}

#[tokio::test]
async fn both_outputs_arrive_byte_for_byte() {
    let place = Place::new().await;
    let mut ends_with_newline = awkward(2);
    ends_with_newline.push(b'\n');
    let expected = Written {
        stdout: awkward(1),
        stderr: ends_with_newline,
    };
    let id = writer(
        &place,
        &expected,
        "cat /output/out & cat /output/err >&2; wait",
    )
    .await;
    let got = within(read_log(&place.engine, &id, LogPosition::START)).await;
    assert_same(&got, &expected);

    // And once more, of a container that has long ended.
    let again = within(read_log(&place.engine, &id, LogPosition::START)).await;
    assert_same(&again, &expected);
}

#[tokio::test]
async fn an_output_that_ends_without_a_newline_gets_none() {
    let place = Place::new().await;
    for (out, err) in [
        ("", ""),
        ("a", ""),
        ("", "\n"),
        ("\n\n", "b"),
        ("a\nb", "a\nb\n"),
    ] {
        let expected = Written {
            stdout: out.into(),
            stderr: err.into(),
        };
        let id = writer(&place, &expected, "cat /output/out; cat /output/err >&2").await;
        let got = within(read_log(&place.engine, &id, LogPosition::START)).await;
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn a_log_that_was_cut_goes_on_exactly_where_it_was() {
    let place = Place::new().await;
    let expected = Written {
        stdout: awkward(3),
        stderr: awkward(4),
    };
    let id = writer(
        &place,
        &expected,
        "cat /output/out & cat /output/err >&2; wait",
    )
    .await;

    let mut pieces = Vec::new();
    let mut log = place.engine.logs(&id, LogPosition::START);
    while let Some(piece) = within(log.next()).await {
        pieces.push(piece.unwrap());
    }
    for cut in noise(5, 12) {
        // Given a reader that had the log up to some piece, and a part of that piece
        let whole = pieces.len() * usize::from(cut) / 256;
        let part = pieces[whole].data.len() / 2;
        let mut had = Written::default();
        let mut position = LogPosition::START;
        for piece in &pieces[..whole] {
            had.push(piece);
            position = position.after(piece.stream, piece.data.len());
        }
        let mut piece = pieces[whole].clone();
        piece.data.truncate(part);
        had.push(&piece);
        position = position.after(piece.stream, part);

        // When it reads on, then it gets the rest and nothing twice.
        let rest = within(read_log(&place.engine, &id, position)).await;
        had.stdout.extend(rest.stdout);
        had.stderr.extend(rest.stderr);
        assert_same(&had, &expected);
    }
}

#[tokio::test]
async fn a_running_log_survives_cut_connections() {
    let place = Place::new().await;
    let proxy = Proxy::new();
    let engine = cloudai_engine::Engine::connect(Some(&proxy.host()))
        .await
        .unwrap();
    let plan = place
        .shell("for i in $(seq 400); do echo $i; echo e$i >&2; usleep 2000; done; printf end")
        .await;
    let id = place.start(&plan).await;

    let mut got = Written::default();
    let mut position = LogPosition::START;
    let mut breaks = 0;
    within(async {
        'again: loop {
            let mut log = engine.logs(&id, position);
            let mut had = 0;
            while let Some(piece) = log.next().await {
                match piece {
                    Ok(piece) => {
                        got.push(&piece);
                        position = position.after(piece.stream, piece.data.len());
                        had += 1;
                        if had == 60 && breaks < 5 {
                            proxy.cut();
                        }
                    }
                    Err(error) => {
                        assert!(error.is_transient(), "{error}");
                        breaks += 1;
                        proxy.mend();
                        continue 'again;
                    }
                }
            }
            break;
        }
    })
    .await;

    let mut expected = Written::default();
    let (mut out, mut err) = (String::new(), String::new());
    for i in 1..=400 {
        writeln!(out, "{i}").unwrap();
        writeln!(err, "e{i}").unwrap();
    }
    out.push_str("end");
    expected.stdout = out.into();
    expected.stderr = err.into();
    assert_same(&got, &expected);
    assert_eq!(breaks, 5);
}

#[tokio::test]
async fn a_line_is_there_while_the_command_runs() {
    let place = Place::new().await;
    let plan = place
        .shell("echo first; while [ ! -e /output/go ]; do usleep 5000; done; echo second >&2")
        .await;
    let id = place.start(&plan).await;
    let mut log = place.engine.logs(&id, LogPosition::START);

    let first = within(log.next()).await.unwrap().unwrap();
    assert_eq!(
        (first.stream, &first.data[..]),
        (LogStream::Stdout, &b"first\n"[..])
    );
    std::fs::write(plan.output_dir.join("go"), "").unwrap();
    let second = within(log.next()).await.unwrap().unwrap();
    assert_eq!(
        (second.stream, &second.data[..]),
        (LogStream::Stderr, &b"second\n"[..])
    );
    assert!(second.at_ns > first.at_ns);
    assert!(within(log.next()).await.is_none());
}

#[tokio::test]
async fn a_log_that_is_read_from_before_the_start_is_whole() {
    let place = Place::new().await;
    let plan = place.shell("echo hello").await;
    let created = place.engine.create(&plan).await.unwrap();
    place.engine.start(&created.id).await.unwrap();
    within(place.engine.wait(&created.id)).await.unwrap();
    let got = within(read_log(&place.engine, &created.id, LogPosition::START)).await;
    assert_eq!(got.text(), "hello\n");
}

#[tokio::test]
async fn bursts_of_containers_that_end_at_once_lose_nothing() {
    let place = Place::new().await;
    let expected = Written {
        stdout: noise(6, 70_000),
        stderr: noise(7, 50_000),
    };
    for _ in 0..5 {
        let ids = futures_util::future::join_all((0..8).map(|_| {
            writer(
                &place,
                &expected,
                "cat /output/out & cat /output/err >&2; wait",
            )
        }))
        .await;
        let read = ids
            .iter()
            .map(|id| read_log(&place.engine, id, LogPosition::START));
        for got in within(futures_util::future::join_all(read)).await {
            assert_same(&got, &expected);
        }
    }
}

#[tokio::test]
async fn the_log_of_a_removed_container_is_gone() {
    let place = Place::new().await;
    let plan = place
        .shell("echo here; touch /output/began; sleep 600")
        .await;
    let id = place.start(&plan).await;
    appears(&plan.output_dir.join("began")).await;
    let mut log = place.engine.logs(&id, LogPosition::START);
    within(log.next()).await.unwrap().unwrap();
    place.engine.remove(&id).await.unwrap();
    let end = within(log.next()).await.unwrap().unwrap_err();
    assert!(matches!(end, LogError::Gone(_)), "{end}");

    let never = within(place.engine.logs(&id, LogPosition::START).next()).await;
    assert!(matches!(never, Some(Err(LogError::Gone(_)))));
}

#[tokio::test]
async fn a_position_beyond_the_log_is_not_taken_for_its_end() {
    let place = Place::new().await;
    let plan = place.shell("echo short").await;
    let id = place.start(&plan).await;
    let beyond = LogPosition::START.after(LogStream::Stdout, 7);
    let error = within(place.engine.logs(&id, beyond).next()).await;
    assert!(matches!(error, Some(Err(LogError::Malformed(_)))));
}

#[tokio::test]
async fn a_last_newline_that_the_engine_lost_is_not_made_up() {
    let place = Place::new().await;
    let loses = {
        let api = place.engine.info().api_version.clone();
        let minor: u32 = api.strip_prefix("1.").unwrap().parse().unwrap();
        minor < 42
    };
    for end in ["", "\n"] {
        // Given a container whose last line is longer than what the engine's log keeps whole
        let expected = Written {
            stdout: format!("short\n{}{end}", "x".repeat(20_000)).into(),
            stderr: Vec::new(),
        };
        let id = writer(&place, &expected, "cat /output/out").await;
        within(place.engine.wait(&id)).await.unwrap();

        // When its log is read, then it is what was written or the beginning of that, and says so
        let mut got = Written::default();
        let mut doubt = None;
        let mut log = place.engine.logs(&id, LogPosition::START);
        while let Some(piece) = within(log.next()).await {
            match piece {
                Ok(piece) => got.push(&piece),
                Err(error) => doubt = Some(error),
            }
        }
        if loses {
            assert!(
                matches!(doubt, Some(LogError::LastNewline(LogStream::Stdout))),
                "{doubt:?}"
            );
            assert_eq!(got.stdout, expected.stdout[..20_006]);
        } else {
            assert!(doubt.is_none(), "{doubt:?}");
            assert_same(&got, &expected);
        }

        // and whoever has had the newline already knows that this is all.
        if end == "\n" {
            let all = LogPosition::START.after(LogStream::Stdout, expected.stdout.len());
            let rest = within(read_log(&place.engine, &id, all)).await;
            assert_eq!(rest, Written::default());
        }
    }
}
