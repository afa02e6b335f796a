//! What a program may never do, whatever breaks: panic, and end by itself. Only a disk that is full is a
//! reason to end, and only while it is, and in order.

use std::{process::ExitStatus, time::Duration};

/// A program that found its disk full may need so long to end.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// What a program says first that panics.
const PANICS: &str = "panicked at";
/// With this Rust ends a program that panicked.
const PANICKED: i32 = 101;
/// From here on shells give the signal that ended a program.
const SIGNALLED: i32 = 128;

/// See the module. Times are since the beginning of the run.
#[derive(Debug, Default)]
pub struct Health {
    name: String,
    is_full: bool,
    /// Until then the disk that was full is a reason.
    excused_until: Duration,
    /// It stands still, and the last that it saw was a full disk.
    stands_on_full_disk: bool,
    is_stopped: bool,
    found: Vec<String>,
}

impl Health {
    /// Of a program of this name, that has room.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// What it did that it may not.
    #[must_use]
    pub fn found(&self) -> &[String] {
        &self.found
    }

    /// Its disk is full.
    pub fn filled(&mut self) {
        self.is_full = true;
        self.stands_on_full_disk = self.is_stopped;
    }

    /// There is room again.
    pub fn emptied(&mut self, at: Duration) {
        self.is_full = false;
        self.excused_until = at + ENDS_WITHIN;
    }

    /// It stands still.
    pub fn stopped(&mut self, at: Duration) {
        self.is_stopped = true;
        self.stands_on_full_disk = self.is_excused(at);
    }

    /// It goes on.
    pub fn continued(&mut self, at: Duration) {
        self.is_stopped = false;
        if std::mem::take(&mut self.stands_on_full_disk) {
            self.excused_until = self.excused_until.max(at + ENDS_WITHIN);
        }
    }

    /// It says something.
    pub fn said(&mut self, line: &str, at: Duration) {
        if line.contains(PANICS) {
            let (name, at_s) = (&self.name, at.as_secs_f64());
            self.found
                .push(format!("{name} panicked, {at_s:.1} s in: {line}"));
        }
    }

    /// It ended, and nobody brought that about.
    pub fn ended(&mut self, status: ExitStatus, at: Duration) {
        let in_order = status
            .code()
            .is_some_and(|code| code != PANICKED && code < SIGNALLED);
        if !(in_order && self.is_excused(at)) {
            let (name, at_s) = (&self.name, at.as_secs_f64());
            self.found.push(format!(
                "{name} ended by itself with {status}, {at_s:.1} s in"
            ));
        }
    }

    fn is_excused(&self, at: Duration) -> bool {
        self.is_full || at < self.excused_until
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn an_end_is_excused_while_the_disk_is_full_and_a_moment_later_and_no_longer() {
        let mut health = Health::new("worker-1");
        health.ended(exit(1), at(1));
        assert_eq!(health.found().len(), 1, "{:?}", health.found());
        health.filled();
        health.ended(exit(1), at(5));
        health.emptied(at(6));
        health.ended(exit(1), at(7));
        assert_eq!(health.found().len(), 1, "{:?}", health.found());
        health.ended(exit(1), at(8));
        assert_eq!(
            health.found()[1..],
            ["worker-1 ended by itself with exit status: 1, 8.0 s in"]
        );
    }

    #[test]
    fn no_full_disk_excuses_a_panic_or_a_signal() {
        let mut health = Health::new("worker-1");
        health.filled();
        for status in [exit(101), ExitStatus::from_raw(11), exit(139)] {
            health.ended(status, at(1));
        }
        assert_eq!(health.found().len(), 3, "{:?}", health.found());
    }

    #[test]
    fn who_stood_still_on_a_full_disk_has_its_moment_afterwards() {
        let mut health = Health::new("master");
        health.stopped(at(1));
        health.filled();
        health.emptied(at(2));
        health.continued(at(9));
        health.ended(exit(1), at(10));
        assert_eq!(health.found(), [""; 0]);
        health.stopped(at(20));
        health.continued(at(21));
        health.ended(exit(1), at(22));
        assert_eq!(health.found().len(), 1, "{:?}", health.found());
    }

    #[test]
    fn a_panic_is_seen_though_the_program_goes_on() {
        let mut health = Health::new("master");
        health.said("task-1 is running", at(1));
        health.said("thread 'tokio-rt' (7) panicked at src/lib.rs:3:5:", at(2));
        assert!(
            health.found()[0].starts_with("master panicked, 2.0 s in:"),
            "{:?}",
            health.found()
        );
    }
}
