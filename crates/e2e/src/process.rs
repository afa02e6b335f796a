//! One program under test: its stdin, and every line it has said.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
};

use crate::wait::until;

/// With this in the environment what programs say is not shown besides.
pub const QUIET: &str = "CLOUDAI_TESTS_QUIET";

/// See the module. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program with these arguments and nothing else of this process's settings.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(name: &str, program: &Path, args: &[String], folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        Self::spawn(name, command, folder)
    }

    /// Starts a command that is made up already.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn(name: &str, mut command: Command, folder: &Path) -> Self {
        let mut child = command
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let lines = Arc::default();
        gather(name, child.stdout.take(), &lines);
        gather(name, child.stderr.take(), &lines);
        let stdin = child.stdin.take();
        Self {
            name: name.to_owned(),
            child,
            stdin,
            lines,
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// If the program doesn't read any more.
    pub async fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        stdin.flush().await.unwrap();
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Every line so far, of both outputs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that holds `text`, among all it has said and will say.
    ///
    /// # Panics
    /// If none comes in time, or the program ends before; shows what it said.
    pub async fn says(&mut self, text: &str) -> String {
        self.says_after(0, text).await
    }

    /// The same, looking at the lines after the first `seen`.
    ///
    /// # Panics
    /// As [`Self::says`].
    pub async fn says_after(&mut self, seen: usize, text: &str) -> String {
        let what = format!("{} to say {text:?}", self.name);
        until(&what, async || {
            let found = self
                .lines()
                .into_iter()
                .skip(seen)
                .find(|line| line.contains(text));
            let ended = self.child.try_wait().ok().flatten();
            if let (None, Some(status)) = (&found, ended) {
                // Its last words may still be on their way through the pipe.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                let last = self
                    .lines()
                    .into_iter()
                    .skip(seen)
                    .find(|line| line.contains(text));
                assert!(
                    last.is_some(),
                    "{} ended with {status} before {what}",
                    self.name
                );
                return last;
            }
            found
        })
        .await
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it has been waited for.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Sends a signal, such as `TERM` or `STOP`.
    ///
    /// # Panics
    /// If it can't be sent.
    pub async fn signal(&self, signal: &str) {
        let args = [format!("-{signal}"), self.pid().to_string()];
        let sent = Command::new("kill").args(args).status().await;
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -{signal} {}",
            self.name
        );
    }

    /// Whether it has ended already.
    ///
    /// # Panics
    /// If that can't be found out.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be asked")
            .is_some()
    }

    /// Kills it without a warning.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Waits for its end: its exit code.
    ///
    /// # Panics
    /// If it doesn't end in time.
    pub async fn ends(&mut self) -> Option<i32> {
        let what = format!("{} to end", self.name);
        until(&what, async || self.child.try_wait().unwrap())
            .await
            .code()
    }
}

fn gather(
    name: &str,
    output: Option<impl AsyncRead + Unpin + Send + 'static>,
    lines: &Arc<Mutex<Vec<String>>>,
) {
    let Some(output) = output else { return };
    let (name, lines) = (name.to_owned(), lines.clone());
    let quiet = std::env::var_os(QUIET).is_some();
    tokio::spawn(async move {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .await
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .to_owned();
            if !quiet {
                eprintln!("{name}| {text}");
            }
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
            line.clear();
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        // `kill_on_drop` needs a runtime that still turns; this doesn't.
        let _ = self.child.start_kill();
    }
}
