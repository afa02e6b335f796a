//! The kinds of tasks that a run submits, and what must have become of each, whatever broke meanwhile.

use std::time::Duration;

use cloudai_model::{Command, ContainerDraft, TaskDraft};
use cloudai_test_task::{Flood, many_file_content, many_file_path, output_bytes};

use super::random::Random;
use crate::engine::{TEST_SHELL, TEST_TASK};

/// What a task does.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Prints lines to both outputs.
    Lines {
        /// So many.
        count: u64,
        /// So far apart.
        pause_ms: u64,
    },
    /// Prints much.
    Flood {
        /// How much, in what lines.
        flood: Flood,
        /// To stderr.
        to_stderr: bool,
    },
    /// Leaves a file.
    File {
        /// Of so many bytes.
        bytes: usize,
        /// That this seed decides.
        seed: u64,
    },
    /// Leaves many small files.
    ManyFiles {
        /// So many.
        count: usize,
    },
    /// Fails with an exit code, each time.
    Fails {
        /// The exit code.
        code: u8,
        /// As often as it is run again.
        retries: u32,
    },
    /// Fails until its third attempt, and may be run again twice.
    FailsTwice,
    /// Runs for longer than it may.
    TimesOut {
        /// As long as it may.
        after_s: f64,
    },
    /// Waits for no longer than this.
    Impatient {
        /// In the queue.
        queue_s: f64,
    },
    /// Runs for a minute, and is cancelled long before.
    Cancelled {
        /// So long after its submit.
        after: Duration,
    },
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `completed`
    Completed,
    /// `failed`
    Failed,
    /// `cancelled`
    Cancelled,
}

/// What the outputs of the last attempt must be.
#[derive(Debug, Clone)]
pub enum Written {
    /// Exactly these: stdout and stderr.
    Exactly([Vec<u8>; 2]),
    /// Any beginning of these, as it was ended on the way.
    BeginningOf([Vec<u8>; 2]),
}

const LONG_LINES: u64 = 600;
const LONG_PAUSE_MS: u64 = 100;

impl Kind {
    /// One of them.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        match random.of(0..20) {
            0..5 => Self::Lines {
                count: random.of(1..20),
                pause_ms: random.of(0..30),
            },
            5..8 => Self::Lines {
                count: random.of(20..80),
                pause_ms: random.of(50..150),
            },
            8..11 => Self::Flood {
                flood: Flood {
                    bytes: random.of(200_000..3_000_000) as usize,
                    line_bytes: random.pick(&[80, 1_000, 12_000]),
                    binary: random.pick(&[true, false]),
                    no_newline: false,
                },
                to_stderr: random.pick(&[true, false]),
            },
            11..13 => Self::File {
                bytes: random.of(1..1_500_000) as usize,
                seed: random.of(0..1000),
            },
            13 => Self::ManyFiles {
                count: random.of(2..150) as usize,
            },
            14 => Self::Fails {
                code: random.of(1..120) as u8,
                retries: 0,
            },
            15 => Self::Fails {
                code: random.of(1..120) as u8,
                retries: 2,
            },
            16 => Self::FailsTwice,
            17 => Self::TimesOut {
                after_s: random.of(500..3_000) as f64 / 1000.0,
            },
            18 => Self::Impatient {
                queue_s: random.of(100..3_000) as f64 / 1000.0,
            },
            _ => Self::Cancelled {
                after: Duration::from_millis(random.of(0..8_000)),
            },
        }
    }

    /// As it is submitted.
    #[must_use]
    pub fn draft(&self, name: String) -> TaskDraft {
        let words = |words: &[String]| {
            let program = std::iter::once("/test-task".to_owned());
            Command::Exec(program.chain(words.iter().cloned()).collect())
        };
        let shell = |line: String| (TEST_SHELL, Command::Shell(line));
        // Where the disk is full a program can't write; it tries again, so that it is never its failure.
        let at_last = |command: String| {
            shell(format!(
                "until test-task {command} >/dev/null 2>&1; do usleep 200000; done"
            ))
        };
        let (image, command) = match self {
            Self::Lines { count, pause_ms } => {
                let said = ["lines".into(), count.to_string(), pause_ms.to_string()];
                (TEST_TASK, words(&said))
            }
            Self::Flood { flood, to_stderr } => {
                let mut said = vec!["log-flood".into(), flood.bytes.to_string()];
                said.extend(["--line".into(), flood.line_bytes.to_string()]);
                said.extend(flood.binary.then(|| "--binary".into()));
                said.extend(to_stderr.then(|| "--stderr".into()));
                (TEST_TASK, words(&said))
            }
            Self::File { bytes, seed } => at_last(format!("output {FILE} {bytes} {seed}")),
            Self::ManyFiles { count } => at_last(format!("files many {count}")),
            Self::Fails { code, .. } => (TEST_TASK, words(&["exit".into(), code.to_string()])),
            Self::FailsTwice => shell("[ $CLOUDAI_ATTEMPT -gt 2 ] && echo at last".to_owned()),
            Self::TimesOut { .. } => (TEST_TASK, words(&["sleep".into(), "600".into()])),
            Self::Impatient { .. } => (TEST_TASK, words(&["exit".into(), "0".into()])),
            Self::Cancelled { .. } => {
                let (count, pause) = (LONG_LINES.to_string(), LONG_PAUSE_MS.to_string());
                (TEST_TASK, words(&["lines".into(), count, pause]))
            }
        };
        TaskDraft {
            name: Some(name),
            docker_image: image.to_owned(),
            command,
            cpu_cores: Some(0.5),
            memory_gb: Some(0.0625),
            storage_gb: Some(0.25),
            max_retries: match self {
                Self::Fails { retries, .. } => Some((*retries).into()),
                Self::FailsTwice => Some(2),
                _ => None,
            },
            timeout_s: match self {
                Self::TimesOut { after_s } => Some(*after_s),
                _ => None,
            },
            queue_timeout_s: match self {
                Self::Impatient { queue_s } => Some(*queue_s),
                _ => None,
            },
            container: ContainerDraft {
                // Setting up a network is most of what a short container costs.
                network: Some("none".to_owned()),
                ..ContainerDraft::default()
            },
            ..TaskDraft::default()
        }
    }

    /// What its last attempt must have written.
    #[must_use]
    pub fn written(&self) -> Written {
        let nothing = Vec::new;
        match self {
            Self::Lines { count, .. } => Written::Exactly(lines(*count)),
            Self::Flood { flood, to_stderr } => {
                let content = flood.content().collect();
                Written::Exactly(match to_stderr {
                    true => [nothing(), content],
                    false => [content, nothing()],
                })
            }
            Self::FailsTwice => Written::Exactly([b"at last\n".to_vec(), nothing()]),
            Self::TimesOut { .. } => {
                let said = b"sleeping 600 s\ngot signal 15, ending\n".to_vec();
                Written::BeginningOf([said, nothing()])
            }
            Self::Cancelled { .. } => Written::BeginningOf(lines(LONG_LINES)),
            Self::File { .. }
            | Self::ManyFiles { .. }
            | Self::Fails { .. }
            | Self::Impatient { .. } => Written::Exactly([nothing(), nothing()]),
        }
    }

    /// The files that it must have left, by path.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        match self {
            Self::File { bytes, seed } => vec![(FILE.to_owned(), output_bytes(*bytes, *seed))],
            Self::ManyFiles { count } => (0..*count)
                .map(|index| (many_file_path(index), many_file_content(index).into_bytes()))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// How it must have ended: one of these, with the exit code that belongs to it.
    #[must_use]
    pub fn ends(&self) -> &'static [End] {
        match self {
            Self::Fails { .. } | Self::TimesOut { .. } => &[End::Failed],
            Self::Impatient { .. } => &[End::Completed, End::Failed],
            Self::Cancelled { .. } => &[End::Cancelled, End::Completed],
            _ => &[End::Completed],
        }
    }
}

const FILE: &str = "folder/data.bin";

/// What `lines` prints.
fn lines(count: u64) -> [Vec<u8>; 2] {
    let [mut stdout, mut stderr] = [Vec::new(), Vec::new()];
    for line in 1..=count {
        let output = if line % 5 == 0 {
            &mut stderr
        } else {
            &mut stdout
        };
        output.extend(format!("line {line} of {count}\n").bytes());
    }
    [stdout, stderr]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_drawn_and_its_draft_is_right() {
        let mut random = Random::new(1);
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let kind = Kind::draw(&mut random);
            let checked = kind.draft("chaos-1".to_owned()).check();
            assert!(checked.is_ok(), "{kind:?}: {checked:?}");
            let debug = format!("{kind:?}");
            kinds.insert(debug.split(' ').next().map(str::to_owned));
        }
        assert_eq!(kinds.len(), 9, "{kinds:?}");
    }

    #[test]
    fn every_fifth_line_goes_to_stderr() {
        let [stdout, stderr] = lines(6);
        assert_eq!(stderr, b"line 5 of 6\n");
        assert_eq!(stdout.split(|byte| *byte == b'\n').count(), 6);
    }
}
