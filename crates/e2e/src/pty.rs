//! A person at a terminal: keys go in, and a screen shows what a terminal would show of what comes out.
//!
//! The program leads a session of its own on a pseudo-terminal, so that Ctrl-C is a signal for it alone.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::wait::until;

/// What keys send.
pub mod key {
    #![expect(missing_docs, reason = "they are named as they are on the keyboard")]

    pub const TAB: &str = "\t";
    pub const ENTER: &str = "\r";
    pub const LEFT: &str = "\x1b[D";
    pub const UP: &str = "\x1b[A";
    pub const CTRL_C: &str = "\x03";
    pub const CTRL_D: &str = "\x04";
    pub const CTRL_S: &str = "\x13";
    pub const CTRL_L: &str = "\x0c";
}

/// Enough that nothing a test looks at scrolls away.
const ROWS: u16 = 60;

/// A program on a terminal. Killed when dropped.
pub struct Terminal {
    name: String,
    child: Child,
    /// The end that a person holds.
    person: File,
    /// The program's end. Held open, so that its settings can be read after the program's end.
    program: OwnedFd,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// Starts a program in `folder`, on a terminal of so many columns. `environment` is added to this process's, of which
    /// nothing about colours is kept.
    ///
    /// # Panics
    /// If it can't be started: needs `setsid` of util-linux and `env` of coreutils, which every Debian
    /// has.
    #[must_use]
    pub fn start(
        name: &str,
        program: &Path,
        args: &[String],
        environment: &[(&str, &str)],
        columns: u16,
        folder: &Path,
    ) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let person = openpt(flags).expect("the system has pseudo-terminals");
        unlockpt(&person).expect("it is new");
        let end = ioctl_tiocgptpeer(&person, flags).expect("it is unlocked");
        let copy = || end.try_clone().expect("there are file descriptors");
        resize(&person, columns);

        // It becomes the program, in place: same process id, same exit code. Whoever started the tests
        // may ignore SIGHUP, as `nohup` does; a terminal's programs don't.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "env", "--default-signal=HUP"]);
        command.arg(program).args(args);
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
        command.envs(environment.iter().copied());
        command.current_dir(folder);
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started by setsid: {error}"));

        let person = File::from(person);
        let seen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(non_zero(ROWS), non_zero(columns), 0),
            bytes: Vec::new(),
        }));
        let source = person.try_clone().expect("there are file descriptors");
        let screen = Arc::clone(&seen);
        thread::spawn(move || show(source, &screen));
        Self {
            name: name.to_owned(),
            child,
            person,
            program: end,
            seen,
        }
    }

    /// Types keys.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.types_bytes(keys.as_bytes());
    }

    /// Types what no keyboard should send.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn types_bytes(&mut self, bytes: &[u8]) {
        self.person.write_all(bytes).unwrap();
    }

    /// Changes the window's width.
    pub fn resize(&mut self, columns: u16) {
        // Rows of the old width are wiped: where they would wrap is the terminal's own taste.
        let mut seen = self.seen();
        seen.parser = vt100::Parser::new(non_zero(ROWS), non_zero(columns), 0);
        resize(&self.person, columns);
    }

    /// The screen's rows, without spaces at their ends, down to the last that has something.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        let seen = self.seen();
        let contents = seen.parser.screen().contents();
        contents
            .lines()
            .map(|row| row.trim_end().to_owned())
            .collect()
    }

    /// The row that the cursor is on, and the column before which it stands, from 0.
    #[must_use]
    pub fn cursor(&self) -> (String, u16) {
        let seen = self.seen();
        let screen = seen.parser.screen();
        let (row, column) = screen.cursor_position();
        let (_, width) = screen.size();
        let text = screen.rows(0, width.get()).nth(usize::from(row));
        (text.unwrap_or_default().trim_end().to_owned(), column)
    }

    /// Every byte that the program has printed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.seen().bytes.clone()
    }

    /// Waits until the cursor stands at the end of a row with this text.
    ///
    /// # Panics
    /// If it doesn't in time; shows the screen.
    pub async fn cursor_after(&self, row: &str) {
        let end = u16::try_from(row.len()).expect("a row is short");
        self.shows(&format!("the cursor after {row:?}"), |this| {
            let (text, column) = this.cursor();
            (text == row.trim_end() && column == end).then_some(())
        })
        .await;
    }

    /// Waits for a row that holds `text`: the lowest of them.
    ///
    /// # Panics
    /// If none comes in time; shows the screen.
    pub async fn row_with(&self, text: &str) -> String {
        self.shows(&format!("a row with {text:?}"), |this| {
            this.rows().into_iter().rev().find(|row| row.contains(text))
        })
        .await
    }

    /// Waits until `probe` finds something.
    ///
    /// # Panics
    /// If it doesn't in time; shows the screen.
    pub async fn shows<T>(&self, what: &str, probe: impl Fn(&Self) -> Option<T>) -> T {
        // Dropped while panicking, it says what was there instead.
        let _screen = ScreenOnPanic(self);
        until(&format!("{} to show {what}", self.name), async || {
            probe(self)
        })
        .await
    }

    /// The terminal's settings, as `stty` writes them.
    ///
    /// # Panics
    /// If they can't be read.
    #[must_use]
    pub fn settings(&self) -> String {
        let terminal = self.program.try_clone().unwrap();
        let output = Command::new("stty").arg("-g").stdin(terminal).output();
        let output = output.expect("stty is everywhere");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Panics
    /// If it can't be sent.
    pub fn signal(&self, signal: &str) {
        let args = [format!("-{signal}"), self.child.id().to_string()];
        let sent = Command::new("kill").args(args).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -{signal} {}",
            self.name
        );
    }

    /// Waits for the program's end: its exit code.
    ///
    /// # Panics
    /// If it doesn't end in time.
    pub async fn ends(&mut self) -> Option<i32> {
        let what = format!("{} to end", self.name);
        until(&what, async || self.child.try_wait().unwrap())
            .await
            .code()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct ScreenOnPanic<'a>(&'a Terminal);

impl Drop for ScreenOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let Terminal { name, .. } = self.0;
            let screen = self.0.rows().join("\n");
            eprintln!("the screen of {name}:\n{screen}\n{:?}", self.0.cursor());
        }
    }
}

/// Draws what comes until the program's end of the terminal is closed everywhere.
fn show(mut source: File, screen: &Mutex<Seen>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = source.read(&mut buffer) {
        let mut seen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.parser.process(&buffer[..count]);
        seen.bytes.extend_from_slice(&buffer[..count]);
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, columns: u16) {
    let size = Winsize {
        ws_row: ROWS,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

fn non_zero(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a window has rows and columns")
}
