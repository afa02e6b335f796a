//! The thread that writes.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
};

use tokio::sync::{Semaphore, oneshot};

use super::{BUDGET, NewsSink};

/// No colour, the cursor to be seen, the ordinary screen and letters. The cursor stays.
const CALM: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?47l\x1b(B\x0f";

/// What it is to write.
pub(super) enum Message {
    AnswerBegins,
    /// From now on news may come between the rows of this answer.
    NewsMayCome,
    Bytes(Vec<u8>),
    /// Rows that take the place of those drawn before.
    Draw {
        rows: Vec<String>,
        /// How many of them vanish at the end.
        passing: usize,
        /// What was taken from the budget for them.
        cost: usize,
        /// Of the window that they were made for, in columns and rows.
        window: (usize, Option<usize>),
    },
    /// Undoes what the bytes of an answer may have done to the terminal.
    Calm,
    /// A new row, unless one begins already.
    FreshRow,
    AnswerEnds,
    News(String),
    Flush(oneshot::Sender<()>),
}

/// When news are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Nobody prints an answer: through the sink.
    AtOnce,
    /// After the answer.
    Afterwards,
    /// Between two rows of the answer. No line is being edited then: without the sink.
    BetweenRows,
}

/// See the module.
pub(super) struct Printer<W> {
    writer: W,
    closed: bool,
    sink: Option<Box<dyn NewsSink>>,
    news: News,
    held: VecDeque<String>,
    /// What was drawn and can still be drawn anew, and how many rows of it vanish.
    drawn: (Vec<String>, usize),
    /// The window that it was drawn for.
    window: (usize, Option<usize>),
    within_row: bool,
    budget: Arc<Semaphore>,
    waiting_news: Arc<AtomicUsize>,
    missed_news: Arc<AtomicU64>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(
        writer: W,
        sink: Option<Box<dyn NewsSink>>,
        budget: Arc<Semaphore>,
        waiting_news: Arc<AtomicUsize>,
        missed_news: Arc<AtomicU64>,
    ) -> Self {
        Self {
            writer,
            closed: false,
            sink,
            news: News::AtOnce,
            held: VecDeque::new(),
            drawn: (Vec::new(), 0),
            window: (0, None),
            within_row: false,
            budget,
            waiting_news,
            missed_news,
        }
    }

    pub(super) fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match message {
                Message::AnswerBegins => {
                    self.news = News::Afterwards;
                    self.within_row = false;
                }
                Message::NewsMayCome => self.news = News::BetweenRows,
                Message::Bytes(bytes) => {
                    self.leave_drawn();
                    self.print_rows(&bytes);
                    self.budget.add_permits(bytes.len().min(BUDGET));
                }
                Message::Draw {
                    rows,
                    passing,
                    cost,
                    window,
                } => {
                    self.news = News::BetweenRows;
                    let resized = window != self.window && !self.drawn.0.is_empty();
                    self.window = window;
                    if resized {
                        // The terminal may have broken or scrolled what was drawn: nobody knows
                        // where it is.
                        self.drawn.0.clear();
                        self.draw("\x1b[2J\x1b[H", rows, passing);
                    } else {
                        self.draw("", rows, passing);
                    }
                    self.budget.add_permits(cost);
                    self.print_held();
                }
                Message::Calm => self.write(CALM),
                Message::FreshRow => {
                    if std::mem::take(&mut self.within_row) {
                        self.write(b"\n");
                    }
                }
                Message::AnswerEnds => {
                    self.leave_drawn();
                    self.news = News::AtOnce;
                    self.print_held();
                }
                Message::News(line) => {
                    self.held.push_back(line);
                    self.print_held();
                }
                Message::Flush(done) => {
                    // Nobody waits any more if this fails.
                    let _ = done.send(()).is_ok();
                }
            }
        }
    }

    /// Prints bytes of an answer, and what news wait for the end of a row after the first that
    /// ends.
    fn print_rows(&mut self, bytes: &[u8]) {
        let end = match self.held.is_empty() {
            true => None,
            false => bytes.iter().position(|byte| *byte == b'\n'),
        };
        let (row, rest) = bytes.split_at(end.map_or(0, |end| end + 1));
        for part in [row, rest] {
            self.write(part);
            if let Some(last) = part.last() {
                self.within_row = *last != b'\n';
                self.print_held();
            }
        }
    }

    /// Prints what news may be printed now.
    fn print_held(&mut self) {
        let may = match self.news {
            News::AtOnce => true,
            News::Afterwards => false,
            News::BetweenRows => !self.within_row,
        };
        if !may {
            return;
        }
        while let Some(line) = self.held.pop_front() {
            self.waiting_news.fetch_sub(1, Ordering::Relaxed);
            self.news_line(&line);
            let missed = self.missed_news.swap(0, Ordering::Relaxed);
            if missed > 0 {
                self.news_line(&format!("Note: {missed} events were not shown"));
            }
        }
    }

    fn news_line(&mut self, line: &str) {
        if self.news == News::BetweenRows {
            let (rows, passing) = std::mem::take(&mut self.drawn);
            // The drawn rows stay drawn, one further down.
            let above = format!("{}{line}\n", erased(rows.len()));
            self.draw(&above, rows, passing);
            return;
        }
        match &mut self.sink {
            Some(sink) => {
                if sink.line(line).is_err() {
                    self.sink = None;
                }
            }
            None => self.write(format!("{line}\n").as_bytes()),
        }
    }

    /// Draws rows over those drawn before, in one write so that nothing flickers.
    fn draw(&mut self, first: &str, rows: Vec<String>, passing: usize) {
        let mut text = first.to_owned();
        if std::mem::take(&mut self.within_row) {
            text.push('\n');
        }
        if rows == self.drawn.0 && text.is_empty() {
            return;
        }
        if !self.drawn.0.is_empty() {
            let _ = write!(text, "\x1b[{}A\r", self.drawn.0.len());
        }
        let rest = if self.drawn.0.is_empty() {
            ""
        } else {
            "\x1b[K"
        };
        for row in &rows {
            let _ = writeln!(text, "{row}{rest}");
        }
        if rows.len() < self.drawn.0.len() {
            text.push_str("\x1b[J");
        }
        self.write(text.as_bytes());
        self.drawn = (rows, passing);
    }

    /// Makes what was drawn ordinary text, but for what vanishes.
    fn leave_drawn(&mut self) {
        let (rows, passing) = std::mem::take(&mut self.drawn);
        let text = erased(passing.min(rows.len()));
        self.write(text.as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.closed || bytes.is_empty() {
            return;
        }
        let written = self
            .writer
            .write_all(bytes)
            .and_then(|()| self.writer.flush());
        self.closed = written.is_err();
    }
}

/// What erases so many rows above the cursor.
fn erased(rows: usize) -> String {
    match rows {
        0 => String::new(),
        rows => format!("\x1b[{rows}A\r\x1b[J"),
    }
}
