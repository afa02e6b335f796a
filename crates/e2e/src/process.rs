//! One program under test: its stdin, and every line it has said.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
};

use crate::wait::{Deadline, until};

/// With this in the environment what programs say is not shown besides.
pub const QUIET: &str = "CLOUDAI_TESTS_QUIET";

/// Who hears each line as it is said.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

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
    pub fn spawn(name: &str, command: Command, folder: &Path) -> Self {
        let quiet = std::env::var_os(QUIET).is_some();
        let (named, lines) = (name.to_owned(), Arc::default());
        let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&lines);
        let listener = move |line: &str| {
            if !quiet {
                eprintln!("{named}| {line}");
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(line.to_owned());
        };
        Self::spawn_heard(name, command, folder, Arc::new(listener), lines)
    }

    /// The same, with each line told to somebody instead of shown and kept. A Ctrl-C at the terminal
    /// doesn't reach it.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn_apart(name: &str, mut command: Command, folder: &Path, told: Listener) -> Self {
        command.as_std_mut().process_group(0);
        Self::spawn_heard(name, command, folder, told, Arc::default())
    }

    fn spawn_heard(
        name: &str,
        mut command: Command,
        folder: &Path,
        told: Listener,
        lines: Arc<Mutex<Vec<String>>>,
    ) -> Self {
        let mut child = command
            .current_dir(folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        gather(child.stdout.take(), &told);
        gather(child.stderr.take(), &told);
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
        self.try_type_line(line).await.unwrap();
    }

    /// Types a line to a program that may be gone.
    ///
    /// # Errors
    /// If it doesn't read any more.
    ///
    /// # Panics
    /// If its stdin was ended.
    pub async fn try_type_line(&mut self, line: &str) -> std::io::Result<()> {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).await?;
        stdin.flush().await
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
        self.ended().is_some()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If that can't be found out.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Kills it without a warning.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Waits for its end, and no longer than so.
    pub async fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        ended.ok()?.ok()
    }

    /// Waits for its end: its exit code.
    ///
    /// # Panics
    /// If it doesn't end in time.
    pub async fn ends(&mut self) -> Option<i32> {
        let deadline = Deadline::new(&format!("{} to end", self.name));
        loop {
            if let Some(status) = self.ended() {
                return status.code();
            }
            deadline.again().await;
        }
    }
}

fn gather(output: Option<impl AsyncRead + Unpin + Send + 'static>, told: &Listener) {
    let Some(output) = output else { return };
    let told = told.clone();
    tokio::spawn(async move {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .await
            .is_ok_and(|read| read > 0)
        {
            told(String::from_utf8_lossy(&line).trim_end_matches('\n'));
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
