//! Real containers from their plan to their end.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use cloudai_engine::{
    ContainerId, CreateError, Engine, EngineError, HeldState, ImageId, Sight, StartError,
    StopCause, Stopped, WaitError, end_of,
};
use cloudai_model::{Command, Exit, PeakUsage};
use support::{MIB, Place, appears, import, proxy::Proxy, within};

const GRACE: Duration = Duration::from_secs(1);
/// Longer than any test: a stop that takes so long has not been heard.
const LONG_GRACE: Duration = Duration::from_secs(100);

#[tokio::test]
async fn code_signal_and_memory_are_told_apart() {
    let place = Place::new().await;
    for (line, expected) in [
        ("exit 0", Exit::Exited(0)),
        ("exit 3", Exit::Exited(3)),
        ("exit 255", Exit::Exited(255)),
        ("no-such-program", Exit::Exited(127)),
        ("kill -SEGV $$", Exit::Signalled(11)),
        ("kill -KILL $$", Exit::Signalled(9)),
        ("kill -TERM $$", Exit::Signalled(15)),
        // Given a pipe into a program that must hold all of it
        ("tail -c 200m /dev/zero", Exit::OutOfMemory),
    ] {
        let end = place.run(line).await;
        assert_eq!(end_of(&end, None), expected, "{line}: {end:?}");
        assert!(end.started_at.is_some(), "{line}: {end:?}");
        assert!(end.finished_at >= end.started_at, "{line}: {end:?}");
    }
}

#[tokio::test]
async fn out_of_memory_is_always_known_as_such() {
    let place = Place::new().await;
    for round in 0..10 {
        // The engine listens for memory kills from a moment after the start on: known limits in
        // ARCHITECTURE.md.
        let end = place.run("sleep 0.5; exec tail -c 200m /dev/zero").await;
        assert_eq!(
            end_of(&end, None),
            Exit::OutOfMemory,
            "round {round}: {end:?}"
        );
    }
}

#[tokio::test]
async fn a_command_that_outlives_its_childs_memory_kill_ends_by_itself() {
    let place = Place::new().await;
    let end = place.run("tail -c 200m /dev/zero; exit 7").await;
    assert_eq!(end_of(&end, None), Exit::Exited(7), "{end:?}");
}

#[tokio::test]
async fn what_runs_is_what_was_asked_for_and_nothing_before_it() {
    let place = Place::new().await;
    let image = import(
        "cloudai-engine-test/entry:1",
        &[
            r#"ENTRYPOINT ["echo", "entry"]"#,
            r#"CMD ["cmd"]"#,
            "ENV FROM=image BOTH=image",
        ],
    )
    .await;
    for (command, expected) in [
        (Command::Image, "entry cmd\n"),
        (Command::Shell("echo a  b | cat".to_owned()), "a b\n"),
        (
            Command::Exec(vec!["echo".to_owned(), "$HOME  |".to_owned()]),
            "$HOME  |\n",
        ),
        (
            Command::Shell("echo $FROM $BOTH $CLOUDAI_TASK_ID $CLOUDAI_ATTEMPT".to_owned()),
            "image task TASK 1\n",
        ),
    ] {
        let mut plan = place.plan(command).await;
        plan.image = image.clone();
        plan.env.insert("BOTH".to_owned(), "task".to_owned());
        let (end, written) = place.run_with_log(&plan).await;
        let expected = expected.replace("TASK", &plan.attempt.task.to_string());
        assert_eq!((end.exit_code, written.text()), (0, expected), "{end:?}");
    }
}

#[tokio::test]
async fn limits_hold_inside() {
    let place = Place::new().await;
    let mut plan = place
        .shell(
            "grep NoNewPrivs /proc/self/status | tr -d '\\t'
             i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done 2>&1 | head -n 1; exit 9",
        )
        .await;
    plan.settings.pids_limit = 20;
    let (end, written) = place.run_with_log(&plan).await;
    assert!(written.text().starts_with("NoNewPrivs:1\n"), "{written:?}");
    assert!(
        (written.text() + &String::from_utf8_lossy(&written.stderr)).contains("can't fork"),
        "{written:?}"
    );
    assert_ne!(end.exit_code, 0);
}

#[tokio::test]
async fn files_that_a_command_leaves_are_in_the_plans_folder() {
    let place = Place::new().await;
    let plan = place.shell("echo made > $CLOUDAI_OUTPUT/file").await;
    place.run_with_log(&plan).await;
    let left = std::fs::read_to_string(plan.output_dir.join("file")).unwrap();
    assert_eq!(left, "made\n");
}

#[tokio::test]
async fn an_attempt_that_was_created_before_a_crash_is_found_again() {
    let place = Place::new().await;
    let plan = place.shell("sleep 600").await;
    let first = place.engine.create(&plan).await.unwrap();
    assert!(!first.existed);

    let second = place.engine.create(&plan).await.unwrap();
    assert_eq!((&second.id, second.existed), (&first.id, true));

    // Given another worker that claims the same attempt, then the container isn't its.
    let mut other = plan.clone();
    other.worker = "worker-2".parse().unwrap();
    let error = place.engine.create(&other).await.unwrap_err();
    assert!(matches!(&error, CreateError::NameTaken(_)), "{error}");
}

#[tokio::test]
async fn a_worker_finds_its_own_containers_and_their_state() {
    let place = Place::new().await;
    let created = place.shell("true").await;
    let running = place.shell("sleep 600").await;
    let ended = place.shell("true").await;
    let mut of_another = place.shell("true").await;
    of_another.worker = "worker-2".parse().unwrap();

    place.engine.create(&created).await.unwrap();
    place.start(&running).await;
    let id = place.start(&ended).await;
    within(place.engine.wait(&id)).await.unwrap();
    let foreign = place.engine.create(&of_another).await.unwrap();

    let held = place
        .engine
        .list(&place.cluster, &"worker-1".parse().unwrap())
        .await
        .unwrap();
    let states: Vec<_> = held.into_iter().map(|h| (h.attempt, h.state)).collect();
    assert_eq!(
        states,
        [
            (created.attempt, HeldState::Created),
            (running.attempt, HeldState::Running),
            (ended.attempt, HeldState::Ended),
        ]
    );
    place.engine.remove(&foreign.id).await.unwrap();
}

#[tokio::test]
async fn a_stop_is_a_polite_request_first() {
    let place = Place::new().await;
    let plan = place
        .shell("trap 'echo bye > /output/bye; exit 5' TERM; touch /output/ready; while true; do usleep 10000; done")
        .await;
    let id = place.start(&plan).await;
    appears(&plan.output_dir.join("ready")).await;

    let stopped = within(place.engine.stop(&id, LONG_GRACE)).await.unwrap();
    assert_eq!(stopped, Stopped::ByUs);
    assert!(plan.output_dir.join("bye").exists());
    let end = within(place.engine.wait(&id)).await.unwrap();
    assert_eq!(end.exit_code, 5);
    assert_eq!(end_of(&end, Some(&StopCause::Cancel)), Exit::Cancelled);
}

#[tokio::test]
async fn a_command_without_a_handler_hears_a_stop_at_once() {
    let place = Place::new().await;
    let words = ["sleep", "600"].map(str::to_owned);
    let id = place
        .start(&place.plan(Command::Exec(words.into())).await)
        .await;
    // Without an init process it would last until the grace is over, and the test with it.
    within(place.engine.stop(&id, LONG_GRACE)).await.unwrap();
    let end = within(place.engine.wait(&id)).await.unwrap();
    assert_eq!(end_of(&end, None), Exit::Signalled(15));
}

#[tokio::test]
async fn who_ignores_a_stop_is_ended_after_the_grace() {
    let place = Place::new().await;
    let plan = place
        .shell("trap '' TERM; touch /output/ready; while true; do usleep 10000; done")
        .await;
    let id = place.start(&plan).await;
    appears(&plan.output_dir.join("ready")).await;
    within(place.engine.stop(&id, GRACE)).await.unwrap();
    let end = within(place.engine.wait(&id)).await.unwrap();
    assert_eq!(end_of(&end, None), Exit::Signalled(9));
}

#[tokio::test]
async fn stopping_what_has_ended_or_is_gone_is_no_error() {
    let place = Place::new().await;
    let id = place.start(&place.shell("exit 4").await).await;
    within(place.engine.wait(&id)).await.unwrap();
    let stop = || place.engine.stop(&id, GRACE);
    assert_eq!(stop().await.unwrap(), Stopped::Already);
    assert_eq!(place.engine.kill(&id).await.unwrap(), Stopped::Already);

    place.engine.remove(&id).await.unwrap();
    place.engine.remove(&id).await.unwrap();
    assert_eq!(stop().await.unwrap(), Stopped::Already);
    assert_eq!(place.engine.kill(&id).await.unwrap(), Stopped::Already);
    let error = place.engine.inspect(&id).await.unwrap_err();
    assert!(matches!(error, EngineError::NoSuchContainer(_)), "{error}");
}

#[tokio::test]
async fn a_kill_waits_for_nothing() {
    let place = Place::new().await;
    let id = place
        .start(&place.shell("trap '' TERM; sleep 600").await)
        .await;
    assert_eq!(place.engine.kill(&id).await.unwrap(), Stopped::ByUs);
    let end = within(place.engine.wait(&id)).await.unwrap();
    assert_eq!(end.exit_code, 137);
}

#[tokio::test]
async fn a_wait_outlives_a_break_of_the_connection() {
    let place = Place::new().await;
    let proxy = Proxy::new();
    let engine = Engine::connect(Some(&proxy.host())).await.unwrap();
    let plan = place
        .shell("while [ ! -e /output/go ]; do usleep 5000; done; exit 6")
        .await;
    let id = place.start(&plan).await;

    let waiting = tokio::spawn(async move {
        let mut sight = Sight::Kept;
        (engine.watch(&id, &mut sight).await, sight)
    });
    within(async {
        while proxy.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // When the engine goes away, the command ends meanwhile, and the engine is back,
    proxy.cut();
    std::fs::write(plan.output_dir.join("go"), "").unwrap();
    within(async {
        while place
            .engine
            .list(&place.cluster, &plan.worker)
            .await
            .unwrap()[0]
            .state
            != HeldState::Ended
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!waiting.is_finished());
    proxy.mend();
    // then the end is known all the same, and that nobody saw it.
    let (end, sight) = within(waiting).await.unwrap();
    assert_eq!((end.unwrap().exit_code, sight), (6, Sight::Lost));
}

#[tokio::test]
async fn what_outlives_a_break_of_the_connection_is_seen_to_its_end() {
    let place = Place::new().await;
    let proxy = Proxy::new();
    let engine = Engine::connect(Some(&proxy.host())).await.unwrap();
    let plan = place
        .shell("while [ ! -e /output/go ]; do usleep 5000; done; sleep 1; exit 6")
        .await;
    let id = place.start(&plan).await;

    // Given a wait that the engine broke off, for a container that runs on
    let waiting = tokio::spawn(async move {
        let mut sight = Sight::Lost;
        (engine.watch(&id, &mut sight).await, sight)
    });
    let connected = async || {
        within(async {
            while proxy.connections() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    connected().await;
    proxy.cut();
    within(async {
        while proxy.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    proxy.mend();
    connected().await;

    // When it ends, then that is seen.
    std::fs::write(plan.output_dir.join("go"), "").unwrap();
    let (end, sight) = within(waiting).await.unwrap();
    assert_eq!((end.unwrap().exit_code, sight), (6, Sight::Kept));
}

#[tokio::test]
async fn an_engine_names_its_run_and_a_container_its_stop_signal() {
    let place = Place::new().await;
    let run = place.engine.run_id().await.unwrap();
    assert!(run.is_some());
    let again = Engine::connect(None).await.unwrap();
    assert_eq!(again.run_id().await.unwrap(), run);

    let mut plan = place.shell("kill -INT $$").await;
    plan.settings.asked.stop_signal = Some("SIGINT".parse().unwrap());
    let id = place.start(&plan).await;
    let end = within(place.engine.wait(&id)).await.unwrap();
    assert_eq!((end.exit_code, end.stop_signal), (130, 2));
    assert!(end.is_like_an_engines());
}

#[tokio::test]
async fn a_wait_for_what_has_no_end_says_so() {
    let place = Place::new().await;
    let created = place
        .engine
        .create(&place.shell("true").await)
        .await
        .unwrap();
    let error = within(place.engine.wait(&created.id)).await.unwrap_err();
    assert!(matches!(error, WaitError::NotStarted), "{error}");

    let running = place.start(&place.shell("sleep 600").await).await;
    let engine = place.engine.clone();
    let id = running.clone();
    let waiting = tokio::spawn(async move { engine.wait(&id).await });
    place.engine.remove(&running).await.unwrap();
    // The kill that a removal begins with is not its end.
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, WaitError::Gone(_)), "{error}");
    let error = place
        .engine
        .wait(&ContainerId::new("0123abc"))
        .await
        .unwrap_err();
    assert!(matches!(error, WaitError::Gone(_)), "{error}");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let place = Place::new().await;
    // Given a program that isn't there, without the init that would hide it
    let mut plan = place
        .plan(Command::Exec(vec!["/no/such/program".to_owned()]))
        .await;
    plan.settings.init = false;
    let created = place.engine.create(&plan).await.unwrap();
    let error = place.engine.start(&created.id).await.unwrap_err();
    assert!(
        matches!(&error, StartError::Command(m) if m.contains("/no/such/program")),
        "{error}"
    );
    let state = place.engine.inspect(&created.id).await.unwrap();
    assert_eq!((state.running, state.end), (false, None));

    // Given an image that isn't there
    let mut plan = place.shell("true").await;
    plan.image = ImageId::new(format!("sha256:{}", "0".repeat(64)));
    let error = place.engine.create(&plan).await.unwrap_err();
    assert!(matches!(error, CreateError::NoSuchImage(_)), "{error}");

    // Given a folder for the output that isn't there
    let mut plan = place.shell("true").await;
    plan.output_dir.push("missing");
    let error = place.engine.create(&plan).await.unwrap_err();
    assert!(
        matches!(&error, CreateError::OutputOutOfSight(folder) if folder.ends_with("missing")),
        "{error}"
    );
}

#[tokio::test]
async fn usage_is_sampled_while_it_runs() {
    let place = Place::new().await;
    let plan = place
        .shell(
            "x=$(head -c 8000000 /dev/zero | tr '\\0' x)
             i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
             touch /output/ready; while true; do usleep 10000; done",
        )
        .await;
    let id = place.start(&plan).await;
    appears(&plan.output_dir.join("ready")).await;

    let usage = place.engine.sample(&id).await.unwrap().unwrap();
    assert!(usage.memory_bytes > 8_000_000, "{usage:?}");
    assert!(usage.memory_peak_bytes >= usage.memory_bytes);
    assert!(usage.memory_peak_bytes <= 64 * MIB);
    assert!(usage.cpu_time > Duration::from_millis(1), "{usage:?}");
    let mut peak = PeakUsage::default();
    usage.fold_into(&mut peak);

    place.engine.kill(&id).await.unwrap();
    within(place.engine.wait(&id)).await.unwrap();
    assert_eq!(place.engine.sample(&id).await.unwrap(), None);
    assert_eq!(peak.cpu_time, usage.cpu_time);
}

#[tokio::test]
async fn many_run_side_by_side() {
    let place = Place::new().await;
    let ends = futures_util::future::join_all((0..12).map(|code| {
        let place = &place;
        async move { place.run(&format!("exit {code}")).await.exit_code }
    }));
    assert_eq!(within(ends).await, (0..12).collect::<Vec<i64>>());
}
