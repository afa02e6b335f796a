//! The command line.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};
use cloudai_sim::{
    bugs::Bug,
    plan::{FaultKind, Generator},
};

/// What is wanted.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Many),
    Replay(Subject),
    Shrink {
        subject: Subject,
        /// Where the plan that is left is written to.
        write: Option<String>,
    },
    Plan(Subject),
    List,
}

/// Many seeds.
#[derive(Debug)]
pub(crate) struct Many {
    pub(crate) seeds: u64,
    pub(crate) span: Option<Duration>,
    pub(crate) from: u64,
    pub(crate) threads: Option<usize>,
    pub(crate) keep_going: bool,
    pub(crate) options: Options,
}

/// One seed, or one plan.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) seed: Option<u64>,
    pub(crate) file: Option<String>,
    pub(crate) options: Options,
}

/// What plans are made of, and the bug that is put in.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) generator: Generator,
    pub(crate) bug: Option<Bug>,
}

/// Reads the command line; ends the program where it can't be meant.
pub(crate) fn read() -> Command {
    let matches = program().get_matches();
    match matches.subcommand() {
        Some(("run", of)) => Command::Run(Many {
            seeds: of.get_one("seeds").copied().unwrap_or(1000),
            span: of.get_one("for").copied(),
            from: of.get_one("from").copied().unwrap_or(0),
            threads: of.get_one("threads").copied(),
            keep_going: of.get_flag("keep-going"),
            options: options_of(of),
        }),
        Some(("replay", of)) => Command::Replay(subject_of(of)),
        Some(("shrink", of)) => Command::Shrink {
            subject: subject_of(of),
            write: of.get_one("write").cloned(),
        },
        Some(("plan", of)) => Command::Plan(subject_of(of)),
        _ => Command::List,
    }
}

fn program() -> Clap {
    let write = Arg::new("write")
        .long("write")
        .value_name("FILE")
        .help("Writes what is left into this file, for `replay --plan`");
    Clap::new("cloudai-sim")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Runs the real cores under simulated time, network, machines and stores, and watches \
             what they promise",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(many(
            Clap::new("run").about("Runs many seeds, on all cores"),
        ))
        .subcommand(subject(
            Clap::new("replay").about("Runs one seed, or one plan, and shows its log"),
        ))
        .subcommand(
            subject(
                Clap::new("shrink")
                    .about("Cuts a plan that fails down to the fewest items that still fail"),
            )
            .arg(write),
        )
        .subcommand(subject(Clap::new("plan").about("Shows the plan of a seed")))
        .subcommand(
            Clap::new("list")
                .about("Lists faults, bugs that can be put in, and what can be found amiss"),
        )
}

fn many(command: Clap) -> Clap {
    let command = command.args([
        Arg::new("seeds")
            .long("seeds")
            .value_name("N")
            .value_parser(value_parser!(u64))
            .conflicts_with("for")
            .help("So many seeds; 1000 if nothing is said"),
        Arg::new("for")
            .long("for")
            .value_name("TIME")
            .value_parser(humantime::parse_duration)
            .help("For so long instead, such as 10m"),
        Arg::new("from")
            .long("from")
            .value_name("SEED")
            .value_parser(value_parser!(u64))
            .help("From this seed on; 0 if nothing is said"),
        Arg::new("threads")
            .long("threads")
            .value_name("N")
            .value_parser(value_parser!(usize))
            .help("On so many threads; as many as there are cores if nothing is said"),
        Arg::new("keep-going")
            .long("keep-going")
            .action(ArgAction::SetTrue)
            .help("Goes on when something was found amiss"),
    ]);
    with_options(command)
}

fn subject(command: Clap) -> Clap {
    let command = command.args([
        Arg::new("seed")
            .value_name("SEED")
            .value_parser(value_parser!(u64))
            .required_unless_present("plan"),
        Arg::new("plan")
            .long("plan")
            .value_name("FILE")
            .conflicts_with("seed")
            .help("A plan that `shrink --write` wrote, instead"),
    ]);
    with_options(command)
}

/// A seed gives the same plan with the same of these alone.
fn with_options(command: Clap) -> Clap {
    let faults = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FAULT,...")
            .value_delimiter(',')
            .value_parser(|text: &str| text.parse::<FaultKind>())
    };
    command.args([
        faults("faults").help("Only these faults; see `list`"),
        faults("no-faults")
            .conflicts_with("faults")
            .num_args(0..)
            .help("None, or all but these"),
        Arg::new("tasks")
            .long("tasks")
            .value_name("N")
            .value_parser(value_parser!(u64).range(3..))
            .help("At most so many tasks; 30 if nothing is said"),
        Arg::new("workers")
            .long("workers")
            .value_name("N")
            .value_parser(value_parser!(u64).range(2..))
            .help("At most so many workers; 5 if nothing is said"),
        Arg::new("bug")
            .long("bug")
            .value_name("BUG")
            .value_parser(|text: &str| text.parse::<Bug>())
            .help("Puts a bug in; see `list`"),
    ])
}

fn subject_of(of: &ArgMatches) -> Subject {
    Subject {
        seed: of.get_one("seed").copied(),
        file: of.get_one("plan").cloned(),
        options: options_of(of),
    }
}

fn options_of(of: &ArgMatches) -> Options {
    let mut generator = Generator::default();
    if let Some(only) = of.get_many("faults") {
        generator.faults = only.copied().collect();
    }
    if of.contains_id("no-faults") {
        let but: Vec<FaultKind> = of
            .get_many("no-faults")
            .unwrap_or_default()
            .copied()
            .collect();
        let kept = |kind: &FaultKind| !but.is_empty() && !but.contains(kind);
        generator.faults.retain(kept);
    }
    generator.most_tasks = of.get_one("tasks").copied().unwrap_or(generator.most_tasks);
    let workers = of.get_one("workers").copied();
    generator.most_workers = workers.unwrap_or(generator.most_workers);
    Options {
        generator,
        bug: of.get_one("bug").copied(),
    }
}
