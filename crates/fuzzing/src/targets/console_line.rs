//! A line that an operator typed, or a script sent: taken apart into words, options and a command.
//!
//! What holds: the same words, quoted otherwise, are the same command; a task that a line submits
//! travels as it is and is checked like any other; and what is wrong is said in one line, without what
//! would steer a terminal, at a bounded length.

use cloudai_console::fuzzing::line;
use cloudai_model::Wall;
use cloudai_proto::submit;

use super::task_spec;
use crate::{Seed, Verdict, said::assert_said};

const NOW: Wall = Wall(1_700_000_000_000);

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Ok(typed) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let read = line(typed, NOW);
    if !typed.trim_start().starts_with('#')
        && let Ok(words) = shell_words::split(typed)
    {
        let quoted = shell_words::join(&words);
        assert_eq!(line(&quoted, NOW), read, "{quoted:?} has the same words");
    }
    match read {
        Ok(Some(command)) => {
            if let Some(draft) = command.submits {
                let sent = submit::from_wire(submit::to_wire(draft.clone()));
                // The wire can't tell an empty text from none, nor can a check.
                assert_eq!(
                    sent.clone().check().map_err(|errors| errors.to_string()),
                    draft.check().map_err(|errors| errors.to_string())
                );
                task_spec::holds(sent);
            }
            Verdict::Accepted
        }
        Ok(None) => Verdict::Refused,
        Err(error) => {
            assert_said(error);
            Verdict::Refused
        }
    }
}

/// A line of each command, every option, and what people mistype.
pub(super) fn seeds() -> Vec<Seed> {
    let good = [
        "help",
        "help task",
        "status -json",
        "status -w",
        "workers",
        "register worker-1 10.0.0.2:50052",
        "unregister worker-1",
        "stats worker-1",
        "drain worker-1",
        "undrain worker-1",
        "task alpine:3.22 -name \"two words\" -cpu_cores 0.5 -mem=2 --storage 10 -gpu_cores 1",
        "task alpine -priority 80 -retries 3 -retry-on 1,75,oom -timeout 2h -pull_timeout 90s",
        "task alpine -queue_timeout 1d -estimate 15m -deadline 2026-01-31T10:00:00+02:00 -type mixed",
        "task alpine -env A=1 -env B='it'\\''s' -label team=vision -user ann -cmd 'echo $HOME'",
        "task alpine -network none -volume dd:/data:ro -read-only -run-as 1000 -tmpfs /t:0.25 -shm 1",
        "task alpine -stop-signal SIGINT -hostname trainer -add-host db:10.0.0.5 -cap-add NET_RAW",
        "dispatch worker-1 alpine -mem -1 -- python train.py --lr=0.1 ''",
        "change task-7 -timeout none",
        "cancel task-7",
        "monitor task-7",
        "list-tasks running -limit 20 -user ann -json",
        "queue -limit 5",
        "explain task-7",
        "files ann",
        "task-files task-7 ann",
        "download task-7 ann './a folder'",
        "internal-state -json",
        "fix-resources",
        "exit",
    ];
    let bad = [
        "",
        "   # an apostrophe isn't a quote here",
        "tsk alpine",
        "task",
        "task alpine -mem much",
        "task alpine -name 'open",
        "task alpine -deadline 2001-01-01T00:00:00Z",
        "task alpine -timeout 5\u{a0}parsecs",
        "task alpine -colour grey",
        "task alpine -env NOVALUE",
        "task alpine -cmd a -- b",
        "task alpine --",
        "status -json -w",
        "cancel ../x",
        "register w [::1",
        "task alpine -\u{1b}[2J",
        "change task-7",
        "list-tasks sleeping",
        "help nothing",
    ];
    let good = (0..)
        .zip(good)
        .map(|(n, line)| Seed::good(&n.to_string(), line));
    let bad = (0..)
        .zip(bad)
        .map(|(n, line)| Seed::bad(&n.to_string(), line));
    good.chain(bad).collect()
}
