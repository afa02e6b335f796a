//! The one place that prints.
//!
//! A thread of its own writes, so that a terminal that stands still, or a pipe that nobody reads,
//! holds up whoever waits for the answer and nobody else. News that come while an answer is being
//! printed wait for its end. A sink that is closed takes nothing more, and nobody minds.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::{Semaphore, oneshot};

/// Bytes of answers that wait to be written; who prints more waits.
const BUDGET: usize = 1 << 20;
/// Lines of news that wait to be written; more are counted and left out.
const NEWS_LIMIT: usize = 1000;

/// Where news go.
pub trait NewsSink: Send {
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
}

impl Style {
    /// For a file, a pipe, or a test.
    pub const PLAIN: Self = Self {
        colour: false,
        width: 200,
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

enum Message {
    AnswerBegins,
    Bytes(Vec<u8>),
    AnswerEnds,
    News(String),
    Flush(oneshot::Sender<()>),
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
        let printer = Printer {
            writer,
            closed: false,
            news,
            answering: false,
            held: VecDeque::new(),
            budget,
            waiting_news: Arc::clone(&output.waiting_news),
            missed_news: Arc::clone(&output.missed_news),
        };
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
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.output.send(Message::AnswerEnds);
    }
}

/// The thread that writes.
struct Printer<W> {
    writer: W,
    closed: bool,
    news: Option<Box<dyn NewsSink>>,
    answering: bool,
    held: VecDeque<String>,
    budget: Arc<Semaphore>,
    waiting_news: Arc<AtomicUsize>,
    missed_news: Arc<AtomicU64>,
}

impl<W: Write> Printer<W> {
    fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match message {
                Message::AnswerBegins => self.answering = true,
                Message::Bytes(bytes) => {
                    self.write(&bytes);
                    self.budget.add_permits(bytes.len().min(BUDGET));
                }
                Message::AnswerEnds => {
                    self.answering = false;
                    while let Some(line) = self.held.pop_front() {
                        self.print_news(&line);
                    }
                }
                Message::News(line) if self.answering => self.held.push_back(line),
                Message::News(line) => self.print_news(&line),
                Message::Flush(done) => {
                    // Nobody waits any more if this fails.
                    let _ = done.send(()).is_ok();
                }
            }
        }
    }

    fn print_news(&mut self, line: &str) {
        self.waiting_news.fetch_sub(1, Ordering::Relaxed);
        self.news_line(line);
        let missed = self.missed_news.swap(0, Ordering::Relaxed);
        if missed > 0 {
            self.news_line(&format!("Note: {missed} events were not shown"));
        }
    }

    fn news_line(&mut self, line: &str) {
        match &mut self.news {
            Some(sink) => {
                if sink.line(line).is_err() {
                    self.news = None;
                }
            }
            None => self.write(format!("{line}\n").as_bytes()),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        let written = self
            .writer
            .write_all(bytes)
            .and_then(|()| self.writer.flush());
        self.closed = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Shared;

    #[tokio::test]
    async fn news_wait_for_the_end_of_an_answer() {
        let screen = Shared::default();
        let output = Output::new(screen.clone()).unwrap();

        output.news("before");
        let answer = output.answer();
        answer.line("first").await;
        output.news("meanwhile");
        answer.line("second").await;
        drop(answer);
        output.news("after");
        output.flush().await;

        assert_eq!(screen.text(), "before\nfirst\nsecond\nmeanwhile\nafter\n");
    }

    #[tokio::test]
    async fn news_beyond_the_limit_are_counted_and_left_out() {
        let screen = Shared::default();
        let output = Output::new(screen.clone()).unwrap();

        let answer = output.answer();
        for number in 0..NEWS_LIMIT + 7 {
            output.news(number.to_string());
        }
        drop(answer);
        output.flush().await;

        let text = screen.text();
        assert!(
            text.starts_with("0\nNote: 7 events were not shown\n1\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), NEWS_LIMIT + 1);
    }

    #[tokio::test]
    async fn a_closed_output_takes_everything_and_says_nothing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let output = Output::new(Closed).unwrap();
        let answer = output.answer();
        // Far more than may wait: it must not wait for a reader that is gone.
        for _ in 0..5 {
            answer.bytes(vec![b'x'; BUDGET]).await;
        }
        drop(answer);
        output.news("unheard");
        output.flush().await;
    }
}
