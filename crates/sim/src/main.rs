//! wip
#![allow(clippy::print_stdout, clippy::disallowed_methods)]
use cloudai_sim::{
    bugs::Bug,
    plan::{Generator, generate},
    run::run,
};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let bug: Option<Bug> = args
        .iter()
        .find_map(|a| a.strip_prefix("bug="))
        .map(|b| b.parse().expect("bug"));
    let faults = !args.iter().any(|a| a == "nofaults");
    let mut generator = Generator::default();
    if !faults {
        generator.faults.clear();
    }
    match args[1].as_str() {
        "replay" => {
            let seed = args[2].parse().expect("seed");
            let outcome = run(&generate(seed, &generator), bug, true);
            for line in &outcome.log {
                println!("{line}");
            }
            println!("{:?}", outcome.finding);
        }
        "shrink" => {
            let seed = args[2].parse().expect("seed");
            let shrunk =
                cloudai_sim::shrink::shrink(&generate(seed, &generator), bug, &mut |_, _| {})
                    .expect("fails");
            for line in &shrunk.outcome.log {
                println!("{line}");
            }
            print!("{}", cloudai_sim::plan::write(&shrunk.plan).expect("plan"));
            println!("{} runs {:?}", shrunk.runs, shrunk.outcome.finding);
        }
        _ => {
            let from: u64 = args[2].parse().expect("from");
            let count: u64 = args[3].parse().expect("count");
            let (mut steps, mut fails) = (0, 0);
            for seed in from..from + count {
                let outcome = run(&generate(seed, &generator), bug, false);
                steps += outcome.steps;
                if let Some(finding) = outcome.finding {
                    fails += 1;
                    println!(
                        "seed {seed} step {} at {} ms: {}",
                        finding.step, finding.at_ms, finding.violation
                    );
                }
            }
            println!("{count} seeds, {steps} steps, {fails} fail");
        }
    }
}
