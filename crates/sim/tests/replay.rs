//! A seed is the same run each time; a plan that is cut down still fails, and survives a file.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may"
)]

use cloudai_sim::{
    audit::Kind,
    bugs::Bug,
    plan::{self, Generator, What, generate},
    run::run,
    shrink::shrink,
};

#[test]
fn a_seed_replays_to_the_same_log() {
    for seed in [1, 7, 23, 40] {
        let plan = generate(seed, &Generator::default());
        let (one, other) = (run(&plan, None, true), run(&plan, None, true));
        assert!(one.log.len() > 100, "{} lines", one.log.len());
        assert_eq!(one.log, other.log);
        assert_eq!(one.steps, other.steps);
    }
}

#[test]
fn another_process_replays_a_seed_to_the_same_log() {
    // Another address space, another environment, other seeds of whatever is random.
    let program = env!("CARGO_BIN_EXE_cloudai-sim");
    for seed in [3, 23] {
        let here = run(&generate(seed, &Generator::default()), None, true);
        let there = std::process::Command::new(program)
            .args(["replay", &seed.to_string()])
            .env("SOMETHING_ELSE", seed.to_string())
            .output()
            .unwrap();
        let there = String::from_utf8(there.stdout).unwrap();
        let lines: Vec<&str> = there.lines().take(here.log.len()).collect();
        assert_eq!(here.log, lines);
    }
}

#[test]
fn a_task_that_fits_nowhere_is_no_example_of_a_bug() {
    // Given a seed that shows that what was promised to a cancelled task is kept
    let bug = Some(Bug::NoReleaseAtCancel);
    let small = Generator {
        most_tasks: 6,
        most_workers: 2,
        ..Generator::default()
    };
    let failing = (0..200).find_map(|seed| {
        let plan = generate(seed, &small);
        let finding = run(&plan, bug, false).finding?;
        (finding.violation.kind == Kind::NeverFinal).then_some(plan)
    });

    // When it is cut down
    let shrunk = shrink(&failing.unwrap(), bug, &mut |_, _| {}).unwrap();

    // Then what is left fails for the bug alone
    assert!(shrunk.plan.is_possible(), "{:#?}", shrunk.plan);
    assert_eq!(run(&shrunk.plan, None, false).finding, None);
    let is_cancel = |item: &plan::Item| matches!(item.what, What::Cancel { .. });
    let endless = shrunk.plan.tasks().any(|task| task.does.is_endless());
    let cancelled = shrunk.plan.items.iter().any(is_cancel);
    assert!(endless || cancelled, "{:#?}", shrunk.plan.items);
}

#[test]
fn a_plan_is_cut_down_to_what_it_needs_to_fail_and_replays_from_a_file() {
    // Given a seed that finds a bug that was put in
    let bug = Some(Bug::NoOutbox);
    let failing = (0..200).find_map(|seed| {
        let plan = generate(seed, &Generator::default());
        let finding = run(&plan, bug, false).finding?;
        Some((plan, finding))
    });
    let (whole, finding) = failing.unwrap();

    // When it is cut down
    let mut told = 0;
    let shrunk = shrink(&whole, bug, &mut |_, _| told += 1).unwrap();

    // Then a task, a worker for it and little else are left, and fail in the same way
    let left = shrunk.plan.items.len();
    assert!(told > 0 && left < whole.items.len(), "{left} items left");
    assert!(left <= 6, "{:#?}", shrunk.plan.items);
    let is_task = |item: &plan::Item| matches!(item.what, What::Submit(_));
    assert!(shrunk.plan.items.iter().any(is_task));
    let text = plan::write(&shrunk.plan).unwrap();
    let again = run(&plan::read(&text).unwrap(), bug, false);
    let again = again.finding.unwrap();
    assert_eq!(again.violation.kind, finding.violation.kind);
    assert_eq!(Some(again), shrunk.outcome.finding);

    // And without the bug nothing is amiss with it.
    assert_eq!(run(&shrunk.plan, None, false).finding, None);
}
