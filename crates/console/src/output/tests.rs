//! What is printed, and in which order.

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

const SCREEN: Style = Style {
    colour: false,
    width: 20,
    rows: Some(5),
};

/// What a terminal of five rows and twenty columns would show, without empty rows.
fn shown(screen: &Shared) -> Vec<String> {
    let mut terminal = vt100::Parser::new(
        std::num::NonZeroU16::new(5).unwrap(),
        std::num::NonZeroU16::new(20).unwrap(),
        0,
    );
    // The terminal's driver begins each line at its first column.
    terminal.process(screen.text().replace('\n', "\r\n").as_bytes());
    let contents = terminal.screen().contents();
    contents.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_block_is_drawn_in_place_and_news_come_above_it() {
    let screen = Shared::default();
    let output = Output::with_news(screen.clone(), None, || SCREEN).unwrap();

    let answer = output.answer();
    answer.draw("tasks: 1\nworkers: 2\nany key", 1).await;
    output.flush().await;
    assert_eq!(shown(&screen), ["tasks: 1", "workers: 2", "any key"]);

    // It shrinks, and something happens.
    answer.draw("tasks: 7\nany key", 1).await;
    output.news("worker gone");
    output.flush().await;
    assert_eq!(shown(&screen), ["worker gone", "tasks: 7", "any key"]);

    // Its end leaves what doesn't pass.
    drop(answer);
    output.news("worker back");
    output.flush().await;
    assert_eq!(shown(&screen), ["worker gone", "tasks: 7", "worker back"]);
}

#[tokio::test]
async fn a_block_is_no_larger_than_the_window_and_keeps_its_last_rows() {
    let screen = Shared::default();
    let output = Output::with_news(screen.clone(), None, || SCREEN).unwrap();
    let answer = output.answer();
    let long = "a row of more than twenty columns\n2\n3\n4\n5\nany key";
    for _ in 0..3 {
        answer.draw(long, 1).await;
    }
    output.flush().await;
    assert_eq!(
        shown(&screen),
        ["a row of more than …", "2", "3", "any key"]
    );
}

#[tokio::test]
async fn news_come_between_the_rows_of_an_answer_that_lets_them_in() {
    let screen = Shared::default();
    let output = Output::with_news(screen.clone(), None, || SCREEN).unwrap();
    let answer = output.answer();
    answer.lets_news_in();
    answer.text("half a").await;
    output.news("meanwhile");
    answer.text(" row\nnext").await;
    answer.text("\n").await;
    output.news("later");
    drop(answer);
    output.flush().await;
    assert_eq!(screen.text(), "half a row\nmeanwhile\nnext\nlater\n");
}

#[tokio::test]
async fn where_there_is_no_screen_an_answer_stays_whole() {
    let screen = Shared::default();
    let output = Output::new(screen.clone()).unwrap();
    let answer = output.answer();
    answer.lets_news_in();
    answer.line("one").await;
    output.news("meanwhile");
    answer.line("two").await;
    drop(answer);
    output.flush().await;
    assert_eq!(screen.text(), "one\ntwo\nmeanwhile\n");
}

#[tokio::test]
async fn a_window_that_is_resized_is_drawn_anew_from_its_top() {
    let screen = Shared::default();
    let width = Arc::new(AtomicUsize::new(20));
    let now = Arc::clone(&width);
    let style = move || Style {
        width: now.load(Ordering::SeqCst),
        ..SCREEN
    };
    let output = Output::with_news(screen.clone(), None, style).unwrap();
    let answer = output.answer();
    answer.draw("a row of twenty cols\nany key", 1).await;
    width.store(12, Ordering::SeqCst);
    answer.draw("a row of twenty cols\nany key", 1).await;
    answer.draw("a row that is 12\nany key", 1).await;
    output.flush().await;
    assert_eq!(shown(&screen), ["a row that …", "any key"]);
    assert_eq!(screen.text().matches("\x1b[2J\x1b[H").count(), 1);
}

#[tokio::test]
async fn what_a_task_did_to_the_screen_is_undone() {
    let screen = Shared::default();
    let output = Output::with_news(screen.clone(), None, || SCREEN).unwrap();
    let answer = output.answer();
    answer.text("\x1b[31m\x1b[?25l half a row").await;
    answer.calm();
    answer.fresh_row();
    answer.line("the end").await;
    output.flush().await;
    assert_eq!(shown(&screen), [" half a row", "the end"]);
    let calmed = screen.text();
    let (_, after) = calmed.split_once("half a row").unwrap();
    assert!(after.starts_with("\x1b[0m\x1b[?25h"), "{after:?}");
}
