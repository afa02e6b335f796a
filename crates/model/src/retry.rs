//! After which of its own failures a task is run again, and what a time-out is of.
//!
//! Failures of machines are no matter of it: those never take a retry.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use crate::{attempt::Exit, status::words, time::span_words};

/// More kinds and codes than these are nobody's list.
const MOST_RULES: usize = 64;
/// Codes are a byte on Linux, and 0 is success.
const CODES: std::ops::RangeInclusive<u8> = 1..=255;

words!(
    /// What a time-out is of.
    TimeOut, "time-out" {
        /// Of the wait in the queue before the first start.
        Queue = "queue",
        /// Of the pull of the image.
        Pull = "pull",
        /// Of the run.
        Run = "run",
    }
);

words!(
    /// A kind of failure of the task's own.
    FailureKind, "kind of failure" {
        /// Any but a time-out.
        Any = "any",
        /// The command ended with a code other than 0.
        Exit = "exit",
        /// A signal ended it.
        Signal = "signal",
        /// It was ended at its memory limit.
        OutOfMemory = "oom",
        /// No container was started: image unknown, command not found.
        NotStarted = "start",
        /// The worker stopped it: it took more disk than it was given.
        Stopped = "stopped",
        /// It ran out of time.
        TimeOut = "timeout",
        /// The pull of its image ran out of time.
        PullTimeOut = "pull-timeout",
    }
);

/// How an attempt failed, as far as its task is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure<'a> {
    /// Its container ended so, or there was none.
    Ended(&'a Exit),
    /// It was stopped for want of time.
    TimedOut(TimeOut),
}

/// After which failures a task is run again.
///
/// As text, with commas between: exit codes as a shell shows them (137 is a memory kill as well as
/// SIGKILL), ranges of them, and the words of [`FailureKind`]: `1,75,100-110,oom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn(Arc<[Rule]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Codes { first: u8, last: u8 },
    Kind(FailureKind),
}

/// A text that is no list of failures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not valid: expected exit codes from 1 to 255, ranges of them, or words ({words}), \
     with commas between, such as 1,75,100-110,oom",
    words = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ")
)]
pub struct RetryOnError(String);

impl RetryOn {
    /// Whether a task that failed so is run again, if it has retries left.
    #[must_use]
    pub fn counts(&self, failure: Failure<'_>) -> bool {
        self.0.iter().any(|rule| rule.counts(failure))
    }
}

impl Default for RetryOn {
    /// Every failure of the task itself but a time-out.
    fn default() -> Self {
        Self([Rule::Kind(FailureKind::Any)].into())
    }
}

impl Rule {
    fn counts(self, failure: Failure<'_>) -> bool {
        let exit = match failure {
            Failure::TimedOut(TimeOut::Run) => return self == Self::Kind(FailureKind::TimeOut),
            Failure::TimedOut(TimeOut::Pull) => {
                return self == Self::Kind(FailureKind::PullTimeOut);
            }
            // It never was given to a worker: there is nothing to do again.
            Failure::TimedOut(TimeOut::Queue) => return false,
            Failure::Ended(exit) => exit,
        };
        match self {
            Self::Codes { first, last } => exit
                .code()
                .is_some_and(|code| (i32::from(first)..=i32::from(last)).contains(&code)),
            Self::Kind(FailureKind::Any) => !exit.is_success(),
            Self::Kind(kind) => FailureKind::of(exit) == Some(kind),
        }
    }
}

impl FailureKind {
    /// The kind of a container's end, if the task is to blame for it.
    fn of(exit: &Exit) -> Option<Self> {
        match exit {
            Exit::Exited(0) | Exit::Cancelled | Exit::Interrupted(_) => None,
            Exit::Exited(_) => Some(Self::Exit),
            Exit::Signalled(_) => Some(Self::Signal),
            Exit::OutOfMemory => Some(Self::OutOfMemory),
            Exit::NotStarted(_) => Some(Self::NotStarted),
            Exit::Stopped(_) => Some(Self::Stopped),
        }
    }
}

impl FromStr for RetryOn {
    type Err = RetryOnError;

    fn from_str(text: &str) -> Result<Self, RetryOnError> {
        let error = || RetryOnError(text.chars().take(80).collect());
        let words = text.split(',').map(str::trim);
        let mut rules: Vec<Rule> = Vec::new();
        for word in words {
            let rule = rule(word).ok_or_else(error)?;
            if rules.contains(&rule) {
                continue;
            }
            // At once: each further word would be compared with all before it.
            if rules.len() == MOST_RULES {
                return Err(error());
            }
            rules.push(rule);
        }
        Ok(Self(rules.into()))
    }
}

fn rule(word: &str) -> Option<Rule> {
    if let Ok(kind) = word.parse() {
        return Some(Rule::Kind(kind));
    }
    let code = |digits: &str| {
        let digits = digits.trim();
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let code = plain.then(|| digits.parse().ok()).flatten()?;
        CODES.contains(&code).then_some(code)
    };
    let (first, last) = match word.split_once('-') {
        Some((first, last)) => (code(first)?, code(last)?),
        None => (code(word)?, code(word)?),
    };
    (first <= last).then_some(Rule::Codes { first, last })
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match rule {
                Rule::Codes { first, last } if first == last => write!(f, "{first}")?,
                Rule::Codes { first, last } => write!(f, "{first}-{last}")?,
                Rule::Kind(kind) => write!(f, "{kind}")?,
            }
        }
        Ok(())
    }
}

/// What a task waits for that failed and is run again in a while: `retry 2 of 3 in 8 s: exit
/// code 1`. With `left` unknown or over it says no span.
#[must_use]
pub fn retry_words(used: u32, most: u32, left: Option<Duration>, why: &str) -> String {
    // A wait of a part of a second is one of a second to people.
    let left = left.filter(|left| !left.is_zero());
    let left = left.map(|left| Duration::from_secs(left.as_millis().div_ceil(1000) as u64));
    let left = left.map_or_else(String::new, |left| format!(" in {}", span_words(left)));
    match why {
        "" => format!("retry {used} of {most}{left}"),
        why => format!("retry {used} of {most}{left}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(text: &str) -> RetryOn {
        text.parse().unwrap()
    }

    fn every_failure() -> [Exit; 5] {
        [
            Exit::Exited(1),
            Exit::Signalled(11),
            Exit::OutOfMemory,
            Exit::NotStarted("no such image".into()),
            Exit::Stopped("over its disk".into()),
        ]
    }

    #[test]
    fn without_a_list_every_failure_counts_but_time_outs() {
        let default = RetryOn::default();
        assert!(
            every_failure()
                .iter()
                .all(|exit| default.counts(Failure::Ended(exit)))
        );
        assert!(!default.counts(Failure::Ended(&Exit::Exited(0))));
        for time_out in TimeOut::ALL {
            assert!(!default.counts(Failure::TimedOut(*time_out)), "{time_out}");
        }
    }

    #[test]
    fn codes_are_those_that_a_shell_shows() {
        let list = on("1, 75,100-110,137");
        for (exit, expected) in [
            (Exit::Exited(1), true),
            (Exit::Exited(2), false),
            (Exit::Exited(75), true),
            (Exit::Exited(100), true),
            (Exit::Exited(110), true),
            (Exit::Exited(111), false),
            (Exit::Signalled(9), true),
            (Exit::OutOfMemory, true),
            (Exit::Signalled(15), false),
            (Exit::NotStarted("x".into()), false),
        ] {
            assert_eq!(list.counts(Failure::Ended(&exit)), expected, "{exit:?}");
        }
    }

    #[test]
    fn each_word_is_one_kind() {
        for (word, kind) in [
            ("exit", 0),
            ("signal", 1),
            ("oom", 2),
            ("start", 3),
            ("stopped", 4),
        ] {
            for (index, exit) in every_failure().iter().enumerate() {
                let counts = on(word).counts(Failure::Ended(exit));
                assert_eq!(counts, index == kind, "{word}: {exit:?}");
            }
        }
        assert!(on("timeout").counts(Failure::TimedOut(TimeOut::Run)));
        assert!(!on("timeout").counts(Failure::TimedOut(TimeOut::Pull)));
        assert!(on("any,pull-timeout").counts(Failure::TimedOut(TimeOut::Pull)));
        let all = on("any,timeout,pull-timeout");
        assert!(!all.counts(Failure::TimedOut(TimeOut::Queue)));
    }

    #[test]
    fn a_list_survives_the_way_through_text() {
        for (text, shown) in [
            ("any", "any"),
            ("1,75,137", "1,75,137"),
            (" 3-3 , 3, oom,oom", "3,oom"),
            ("1-255,timeout", "1-255,timeout"),
        ] {
            assert_eq!(on(text).to_string(), shown);
            assert_eq!(on(shown), on(text));
        }
        assert_eq!(RetryOn::default().to_string(), "any");
    }

    #[test]
    fn what_is_no_list_is_answered_with_one() {
        let long = (1..=65)
            .map(|code| code.to_string())
            .collect::<Vec<_>>()
            .join(",");
        for text in [
            "", "0", "256", "-1", "1,", "5-3", "1-", "never", "+1", "1 2", &long,
        ] {
            let error = text.parse::<RetryOn>().unwrap_err().to_string();
            assert!(error.contains("such as 1,75,100-110,oom"), "{error}");
        }
    }

    #[test]
    fn a_list_without_end_is_refused_before_it_is_read() {
        let ranges = (1..=255).flat_map(|first| (first..=255).map(move |last| (first, last)));
        let ranges = ranges.map(|(first, last)| format!("{first}-{last}"));
        let every_range = ranges.collect::<Vec<_>>().join(",");
        // What stands behind the limit is not looked at: it is not even a rule.
        let error = format!("{every_range},nonsense").parse::<RetryOn>();
        assert_eq!(error, every_range.parse::<RetryOn>());
        assert!(error.is_err());
        let repeated = vec!["137"; 100_000].join(",");
        assert_eq!(on(&repeated), on("137"));
    }

    #[test]
    fn a_wait_is_told_with_how_many_retries_were_used() {
        let told = |left_ms| {
            let left = Some(Duration::from_millis(left_ms));
            retry_words(2, 3, left, "exit code 1")
        };
        assert_eq!(told(7_200), "retry 2 of 3 in 8s: exit code 1");
        assert_eq!(told(90_000), "retry 2 of 3 in 1m 30s: exit code 1");
        assert_eq!(told(0), "retry 2 of 3: exit code 1");
        assert_eq!(retry_words(1, 1, None, ""), "retry 1 of 1");
    }
}
