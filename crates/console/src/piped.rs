//! Commands from a stdin that is no terminal: one a line, one answer a command, in order.
//!
//! No prompt and no colour. A blank line or one that begins with `#` is nothing. News come between
//! answers, never within one. The end of the input ends nothing but the reading.

use std::{
    io::{self, BufRead, Read},
    thread,
};

use tokio::sync::mpsc;

use crate::session::{Flow, Session};

/// The longest line that is read, in bytes: a command with its environment fits.
const LINE_LIMIT: u64 = 1 << 20;

/// Why no further line is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is none.
    Input,
    /// One of them was `exit`.
    Exit,
}

/// A line that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Its bytes are no text.
    #[error("a line is no UTF-8 text: expected a command, such as `help`")]
    NoText,
    /// It is too long.
    #[error("a line is longer than {LINE_LIMIT} bytes: expected a command, such as `help`")]
    TooLong,
    /// The input can't be read; it ends here.
    #[error("cannot read further commands: {0}")]
    Input(#[source] io::Error),
}

/// Lines, as they are read.
pub type Lines = mpsc::Receiver<Result<String, LineError>>;

/// Reads lines in a thread of its own, which nobody waits for: a read from a pipe can't be called
/// off.
///
/// # Errors
/// The system has no thread left.
pub fn read(input: impl Read + Send + 'static) -> io::Result<Lines> {
    let (sender, lines) = mpsc::channel(1);
    thread::Builder::new()
        .name("console-input".to_owned())
        .spawn(move || {
            let mut input = io::BufReader::new(input);
            while let Some(line) = next_line(&mut input) {
                let last = matches!(line, Err(LineError::Input(_)));
                if sender.blocking_send(line).is_err() || last {
                    return;
                }
            }
        })?;
    Ok(lines)
}

pub(crate) fn next_line(input: &mut impl BufRead) -> Option<Result<String, LineError>> {
    let mut bytes = Vec::new();
    let read = input
        .by_ref()
        .take(LINE_LIMIT)
        .read_until(b'\n', &mut bytes);
    match read {
        Ok(0) => return None,
        Err(error) => return Some(Err(LineError::Input(error))),
        Ok(_) => {}
    }
    if !bytes.ends_with(b"\n") && bytes.len() as u64 == LINE_LIMIT {
        let skipped = input.skip_until(b'\n');
        return Some(Err(match skipped {
            Ok(_) => LineError::TooLong,
            Err(error) => LineError::Input(error),
        }));
    }
    Some(String::from_utf8(bytes).map_err(|_| LineError::NoText))
}

/// Runs line after line until `exit` or the end of the input.
pub async fn run(session: &mut Session, mut lines: Lines) -> End {
    while let Some(line) = lines.recv().await {
        match line {
            Ok(line) => {
                if session.run(line.trim()).await == Flow::Exit {
                    return End::Exit;
                }
            }
            Err(error) => session.refuse(&error.to_string()).await,
        }
    }
    End::Input
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<Result<String, String>> {
        std::iter::from_fn(|| next_line(&mut input))
            .map(|line| line.map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn a_last_line_needs_no_break() {
        assert_eq!(all(b"a\nb"), [Ok("a\n".to_owned()), Ok("b".to_owned())]);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn a_line_too_long_or_no_text_is_named_and_the_next_one_is_read() {
        let mut input = vec![b'x'; LINE_LIMIT as usize * 2];
        input.extend_from_slice(b"\n\xff\nstatus\n");
        let lines = all(&input);
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0]
                .as_ref()
                .unwrap_err()
                .starts_with("a line is longer than 1048576")
        );
        assert!(
            lines[1]
                .as_ref()
                .unwrap_err()
                .starts_with("a line is no UTF-8")
        );
        assert_eq!(lines[2].as_deref(), Ok("status\n"));
    }
}
