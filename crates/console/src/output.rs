//! The one place that prints.
//!
//! A thread of its own writes, so that a terminal that stands still, or a pipe that nobody reads,
//! holds up whoever waits for the answer and nobody else. News that come while an answer is being
//! printed wait for its end, or, on a screen where that may take long, for the end of a row: they
//! stand above what is drawn anew in place. A sink that is closed takes nothing more, and nobody
//! minds.

mod printer;

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::{Semaphore, oneshot};

use self::printer::{Message, Printer};
use crate::render::text::cut_end;

/// Bytes of answers that wait to be written; who prints more waits.
const BUDGET: usize = 1 << 20;
/// Lines of news that wait to be written; more are counted and left out.
const NEWS_LIMIT: usize = 1000;

/// Where news go.
pub(crate) trait NewsSink: Send {
    /// Prints one line, which has no line break at its end.
    ///
    /// # Errors
    /// The sink is closed.
    fn line(&mut self, line: &str) -> io::Result<()>;
}

/// How text is dressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether colours are wanted.
    pub colour: bool,
    /// How wide lines may be where they can be cut, in columns.
    pub width: usize,
    /// How many rows a screen has; `None`: it is none, and what was printed stays.
    pub rows: Option<usize>,
}

impl Style {
    /// For a file, a pipe, or a test.
    pub const PLAIN: Self = Self {
        colour: false,
        width: 200,
        rows: None,
    };
}

/// Prints answers and news. Clones print to the same place.
#[derive(Clone)]
pub struct Output {
    messages: mpsc::Sender<Message>,
    budget: Arc<Semaphore>,
    waiting_news: Arc<AtomicUsize>,
    missed_news: Arc<AtomicU64>,
    style: Arc<dyn Fn() -> Style + Send + Sync>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

impl Output {
    /// Prints everything to `writer`, plain.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_news(writer, None, || Style::PLAIN)
    }

    /// Prints to standard output, for a stdin that is no terminal.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn stdout() -> io::Result<Self> {
        Self::new(io::stdout())
    }

    /// Prints answers to `writer`, and news to `news` if there is one.
    pub(crate) fn with_news(
        writer: impl Write + Send + 'static,
        news: Option<Box<dyn NewsSink>>,
        style: impl Fn() -> Style + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let budget = Arc::new(Semaphore::new(BUDGET));
        let output = Self {
            messages,
            budget: Arc::clone(&budget),
            waiting_news: Arc::default(),
            missed_news: Arc::default(),
            style: Arc::new(style),
        };
        let waiting = Arc::clone(&output.waiting_news);
        let missed = Arc::clone(&output.missed_news);
        let printer = Printer::new(writer, news, budget, waiting, missed);
        thread::Builder::new()
            .name("console-output".to_owned())
            .spawn(move || printer.run(&inbox))?;
        Ok(output)
    }

    /// How text is dressed just now: a terminal may have been resized.
    #[must_use]
    pub fn style(&self) -> Style {
        (self.style)()
    }

    /// Begins an answer. News wait until it is dropped.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.send(Message::AnswerBegins);
        Answer {
            output: self.clone(),
        }
    }

    /// Prints a line that nobody asked for. Never waits: where too many do already, it is counted
    /// and left out.
    pub fn news(&self, line: impl Into<String>) {
        let line = line.into();
        if self.waiting_news.fetch_add(1, Ordering::Relaxed) >= NEWS_LIMIT {
            self.waiting_news.fetch_sub(1, Ordering::Relaxed);
            self.missed_news.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.send(Message::News(line));
    }

    /// Says that so many news were lost before they came here.
    pub(crate) fn missed(&self, count: u64) {
        self.missed_news.fetch_add(count, Ordering::Relaxed);
    }

    /// Begins a new line, if there is room for it to wait.
    pub(crate) fn line_break(&self) {
        if let Ok(permit) = self.budget.try_acquire() {
            permit.forget();
            self.send(Message::Bytes(b"\n".to_vec()));
        }
    }

    /// Waits until everything printed before is written, or can't be.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        self.send(Message::Flush(done));
        // An error says that the thread is gone, and with it whatever was to be flushed.
        let _ = wait.await.is_ok();
    }

    fn send(&self, message: Message) {
        // The thread ends when the last sender is gone, so it is there.
        let _ = self.messages.send(message).is_ok();
    }
}

/// An answer being printed.
#[derive(Debug)]
pub struct Answer {
    output: Output,
}

impl Answer {
    /// Prints text as it is.
    pub async fn text(&self, text: impl Into<Vec<u8>>) {
        self.bytes(text.into()).await;
    }

    /// Prints a line.
    pub async fn line(&self, line: impl Into<String>) {
        let mut line = line.into();
        line.push('\n');
        self.bytes(line.into_bytes()).await;
    }

    /// Prints bytes as they are, and waits if too many wait to be written.
    pub async fn bytes(&self, bytes: Vec<u8>) {
        let cost = u32::try_from(bytes.len().min(BUDGET)).expect("the budget is small");
        if let Ok(permit) = self.output.budget.acquire_many(cost).await {
            permit.forget();
            self.output.send(Message::Bytes(bytes));
        }
    }

    /// Begins a new row, unless that is where it stands.
    pub fn fresh_row(&self) {
        self.output.send(Message::FreshRow);
    }

    /// Undoes what bytes from elsewhere may have done to a screen: colours, a hidden cursor. Where
    /// it stands in its row, stays.
    pub fn calm(&self) {
        if self.output.style().rows.is_some() {
            self.output.send(Message::Calm);
        }
    }

    /// Lets news in between the rows of this answer, where there is a screen: it may go on for
    /// long.
    pub fn lets_news_in(&self) {
        if self.output.style().rows.is_some() {
            self.output.send(Message::NewsMayCome);
        }
    }

    /// Draws a block of rows in place of the one drawn before, at most as large as the window.
    /// The last `passing` rows of it vanish when something else is printed, the others stay.
    pub async fn draw(&self, text: &str, passing: usize) {
        let Style { width, rows, .. } = self.output.style();
        let window = (width, rows);
        let most = rows.unwrap_or(usize::MAX).saturating_sub(1).max(1);
        let mut rows: Vec<_> = text.lines().map(|row| cut_end(row, width)).collect();
        if rows.len() > most {
            // What passes says how to leave: it stays in sight.
            let last = rows.split_off(rows.len() - passing.min(most));
            rows.truncate(most - last.len());
            rows.extend(last);
        }
        let cost = rows.iter().map(String::len).sum::<usize>().min(BUDGET);
        let permits = u32::try_from(cost).expect("the budget is small");
        if let Ok(permit) = self.output.budget.acquire_many(permits).await {
            permit.forget();
            self.output.send(Message::Draw {
                rows,
                passing,
                cost,
                window,
            });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.output.send(Message::AnswerEnds);
    }
}

#[cfg(test)]
mod tests;
