//! Commands from a terminal: line editing, history, completion; news appear above the prompt.
//!
//! The editor blocks, so it has a thread, which reads a line when asked and sleeps while its
//! command runs. Only then is the terminal in its usual mode, and Ctrl-C a signal.

use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use rustix::{
    io::Errno,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use rustyline::{
    CompletionType, Config, Editor, ExternalPrinter,
    error::ReadlineError,
    history::{History as _, MemHistory},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    complete::{Known, Words},
    history::{History, KEPT},
    keys::Keys,
    output::{NewsSink, Output, Style},
    piped::LineError,
    session::{Flow, Leaving, Session},
};

const PROMPT: &str = "master> ";
/// After a byte that is no text: what stands behind it on its line must not run as a line of its
/// own.
const REST_PROMPT: &str = "Enter begins a new line: ";

/// Why a terminal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its mode can't be read.
    #[error("cannot read the terminal's mode")]
    Mode(#[source] io::Error),
    /// No line can be edited on it.
    #[error("cannot edit lines on this terminal")]
    Editor(#[source] ReadlineError),
    /// The system has no thread or signal handler left.
    #[error("cannot start the command line")]
    System(#[source] io::Error),
}

/// Whether commands come from a person: input and output are terminals.
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// An open terminal. Dropped, it leaves the terminal as it was, whatever the editor is at.
#[derive(Debug)]
pub struct Terminal {
    /// Asks the editor's thread for a line.
    ask: mpsc::Sender<()>,
    typed: tokio::sync::mpsc::Receiver<Typed>,
    /// Whether the editor holds the terminal, or is about to.
    editing: Arc<AtomicBool>,
    mode: Termios,
    output: Output,
    /// What can be completed.
    known: Known,
    /// While this lives, Ctrl-C during a command doesn't end the program.
    _interrupts: Signal,
}

/// What came of asking for a line.
#[derive(Debug)]
enum Typed {
    Line(String),
    /// A byte that is no UTF-8: what stands before it is thrown away.
    NoText,
    /// Ctrl-C, or the rest of a line that was no text: it is thrown away.
    Cleared,
    /// Ctrl-D, or the terminal is gone.
    End,
    /// No line can be read any more.
    Broken(io::Error),
}

impl Typed {
    /// What it means that no line came.
    fn failed(error: ReadlineError) -> Self {
        let error = match error {
            ReadlineError::Interrupted => return Self::Cleared,
            ReadlineError::Eof => return Self::End,
            ReadlineError::Io(error) => error,
            ReadlineError::Errno(error) => error.into(),
            error => io::Error::other(error),
        };
        match error.kind() {
            io::ErrorKind::InvalidData => Self::NoText,
            _ if Errno::from_io_error(&error) == Some(Errno::IO) => Self::End,
            _ => Self::Broken(error),
        }
    }
}

impl Terminal {
    /// Takes the terminal, with its history in the file `history`. Within a tokio runtime.
    ///
    /// # Errors
    /// See [`OpenError`]. A history that can't be kept is no error: it is said.
    pub fn open(history: &Path) -> Result<(Self, Output), OpenError> {
        let mode = tcgetattr(io::stdin()).map_err(|error| OpenError::Mode(error.into()))?;
        let interrupts = signal(SignalKind::interrupt()).map_err(OpenError::System)?;
        // Without bracketed paste several pasted lines are several commands.
        let config = Config::builder()
            .bracketed_paste(false)
            .completion_type(CompletionType::List)
            .max_history_size(KEPT)
            .map_err(OpenError::Editor)?
            .build();
        let memory = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, memory).map_err(OpenError::Editor)?;
        let known = Known::default();
        editor.set_helper(Some(Words::new(known.clone())));

        // A terminal too plain for it gets its news as they come.
        let news = editor.create_external_printer().ok().map(above_prompt);
        let news = news.transpose().map_err(OpenError::System)?;
        let output = Output::with_news(io::stdout(), news, style).map_err(OpenError::System)?;

        let history = match History::open(history) {
            Ok((history, lines)) => {
                for line in &lines {
                    // It fails for a file alone, and this is memory.
                    let _ = editor.history_mut().add(line).is_ok();
                }
                Some(history)
            }
            Err(error) => {
                let path = history.display();
                output.news(format!("Note: no history is kept in {path}: {error}"));
                None
            }
        };
        let (ask, asked) = mpsc::channel();
        let (sender, typed) = tokio::sync::mpsc::channel(1);
        let editing = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&editing);
        thread::Builder::new()
            .name("console-editor".to_owned())
            .spawn(move || edit(editor, history, &asked, &sender, &flag))
            .map_err(OpenError::System)?;
        let terminal = Self {
            ask,
            typed,
            editing,
            mode,
            output: output.clone(),
            known,
            _interrupts: interrupts,
        };
        Ok((terminal, output))
    }

    /// Runs what is typed until `exit` or Ctrl-D. Ctrl-C clears the line, or leaves a
    /// command; `monitor` and `status -w` are left by any key.
    ///
    /// # Errors
    /// No line can be read any more.
    pub async fn run(&mut self, session: &mut Session) -> io::Result<()> {
        self.known.ask(session.operator());
        loop {
            self.output.flush().await;
            self.editing.store(true, Ordering::SeqCst);
            if self.ask.send(()).is_err() {
                return Ok(());
            }
            match self.typed.recv().await {
                Some(Typed::Line(line)) => {
                    let flow = session.run_until(&line, left).await;
                    if flow == Flow::Exit {
                        return Ok(());
                    }
                }
                Some(Typed::NoText) => session.refuse(&LineError::NoText.to_string()).await,
                Some(Typed::Cleared) => {}
                Some(Typed::Broken(error)) => return Err(error),
                Some(Typed::End) | None => return Ok(()),
            }
        }
    }

    /// Leaves the terminal as it was, with everything printed and the cursor at the beginning of a row.
    pub async fn close(mut self) {
        self.give_back();
        self.output.flush().await;
    }

    fn give_back(&mut self) {
        if self.editing.swap(false, Ordering::SeqCst) {
            // The editor can't be called off, and would leave the terminal without echo.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.mode).is_ok();
            self.output.line_break();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What a person does to leave a command.
async fn left(how: Leaving) {
    match how {
        Leaving::Interrupt => interrupted().await,
        Leaving::AnyKey => match Keys::take() {
            Ok(mut keys) => tokio::select! {
                () = keys.pressed() => {}
                () = interrupted() => {}
            },
            // Then it does as for any other command.
            Err(_) => interrupted().await,
        },
    }
}

/// The next Ctrl-C; those before don't count.
async fn interrupted() {
    match signal(SignalKind::interrupt()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// Reads a line whenever asked, until nobody asks any more.
fn edit(
    mut editor: Editor<Words, MemHistory>,
    mut history: Option<History>,
    asked: &mpsc::Receiver<()>,
    typed: &tokio::sync::mpsc::Sender<Typed>,
    editing: &AtomicBool,
) {
    let mut rest = false;
    while asked.recv().is_ok() {
        let line = editor.readline(if rest { REST_PROMPT } else { PROMPT });
        editing.store(false, Ordering::SeqCst);
        let line = match line {
            Ok(_) if rest => Typed::Cleared,
            Ok(line) => {
                // A full disk must not keep anybody from typing; the memory has it.
                let kept = history.as_mut().map(|history| history.add(&line));
                if matches!(kept, Some(Err(_))) {
                    history = None;
                }
                let _ = editor.add_history_entry(line.as_str()).is_ok();
                Typed::Line(line)
            }
            Err(error) => Typed::failed(error),
        };
        rest = matches!(line, Typed::NoText);
        if typed.blocking_send(line).is_err() {
            return;
        }
    }
}

/// News through the editor, which draws its line anew beneath them. In a thread of its own: the
/// editor takes a second line only when it reads again, and answers must not wait for that.
fn above_prompt(
    mut printer: impl ExternalPrinter + Send + 'static,
) -> io::Result<Box<dyn NewsSink>> {
    let (lines, inbox) = mpsc::channel::<String>();
    thread::Builder::new()
        .name("console-news".to_owned())
        .spawn(move || {
            for line in inbox {
                if printer.print(line).is_err() {
                    return;
                }
            }
        })?;
    Ok(Box::new(AbovePrompt(lines)))
}

struct AbovePrompt(mpsc::Sender<String>);

impl NewsSink for AbovePrompt {
    fn line(&mut self, line: &str) -> io::Result<()> {
        let sent = self.0.send(format!("{line}\n"));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// As wide as the terminal is now; in colour unless `NO_COLOR` or a plain terminal says otherwise.
fn style() -> Style {
    let size = tcgetwinsize(io::stdout()).ok();
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    let rows = size.map_or(0, |size| usize::from(size.ws_row));
    let set = |name| std::env::var_os(name).unwrap_or_default();
    let plain = set("TERM") == "dumb";
    Style {
        colour: set("NO_COLOR").is_empty() && !plain,
        width: if columns == 0 { 80 } else { columns },
        rows: (!plain).then_some(if rows == 0 { 24 } else { rows }),
    }
}
