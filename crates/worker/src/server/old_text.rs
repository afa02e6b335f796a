//! A log as old masters read it: text without bytes that aren't UTF-8, and a status at its end.

use bytes::Bytes;
use cloudai_files::log::{Frame, LogStream};
use cloudai_model::{AttemptId, Exit, Phase, TaskStatus, Wall};
use cloudai_proto::LogPiece;

use crate::core_loop::CoreHandle;

/// Makes text of frames. A character that two frames share is kept whole.
#[derive(Debug, Default)]
pub(super) struct OldText {
    /// The beginning of a character, of each output, whose rest has not come.
    stdout: Bytes,
    stderr: Bytes,
    last: Wall,
}

impl OldText {
    /// The text of a frame, if there is any.
    pub(super) fn of(&mut self, frame: Frame) -> Option<LogPiece> {
        self.last = Wall(frame.at_ns.div_euclid(1_000_000));
        let torn = match frame.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let mut bytes: Bytes = if torn.is_empty() {
            frame.data
        } else {
            [std::mem::take(torn), frame.data].concat().into()
        };
        *torn = bytes.split_off(bytes.len() - torn_end(&bytes));
        piece(&bytes, self.last)
    }

    /// What is left of characters whose rest never came.
    pub(super) fn rest(&mut self) -> Option<LogPiece> {
        let rest = [
            std::mem::take(&mut self.stdout),
            std::mem::take(&mut self.stderr),
        ];
        piece(&rest.concat(), self.last)
    }
}

fn piece(bytes: &[u8], at: Wall) -> Option<LogPiece> {
    (!bytes.is_empty()).then(|| LogPiece::Text {
        content: String::from_utf8_lossy(bytes).into_owned(),
        timestamp: at.to_string(),
    })
}

/// How many bytes at the end begin a character that is not whole yet.
fn torn_end(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(invalid) {
        // Bytes may follow that make it valid.
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

/// Where an attempt stands, in a task's words.
pub(super) async fn status_of(core: &CoreHandle, attempt: &AttemptId) -> Option<TaskStatus> {
    let view = core.look().await.ok()?;
    let held = view.held.iter().find(|held| held.attempt == *attempt)?;
    Some(match (&held.exit, held.phase) {
        (Some(Exit::Cancelled), _) => TaskStatus::Cancelled,
        (Some(exit), _) if exit.is_success() => TaskStatus::Completed,
        (Some(_), _) => TaskStatus::Failed,
        (None, Phase::Running | Phase::Cancelling | Phase::Uploading | Phase::Done) => {
            TaskStatus::Running
        }
        (None, Phase::Queued | Phase::Assigned | Phase::Pulling | Phase::Creating) => {
            TaskStatus::Pending
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: LogStream, data: &'static [u8]) -> Frame {
        Frame {
            stream,
            at_ns: 1_500_000_000,
            data: Bytes::from_static(data),
        }
    }

    fn content(piece: Option<LogPiece>) -> Option<String> {
        match piece? {
            LogPiece::Text { content, timestamp } => {
                assert_eq!(timestamp, "1970-01-01T00:00:01.500Z");
                Some(content)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_character_that_two_frames_share_is_whole() {
        let mut text = OldText::default();
        let out = LogStream::Stdout;
        assert_eq!(content(text.of(frame(out, b"caf\xc3"))), Some("caf".into()));
        assert_eq!(
            content(text.of(frame(LogStream::Stderr, b"!"))),
            Some("!".into())
        );
        assert_eq!(content(text.of(frame(out, b"\xa9\n"))), Some("é\n".into()));
        assert_eq!(content(text.of(frame(out, b"\xf0"))), None);
        assert_eq!(content(text.of(frame(out, b"\x9f\x98"))), None);
        assert_eq!(content(text.of(frame(out, b"\x80"))), Some("😀".into()));
        assert_eq!(text.rest(), None);
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut text = OldText::default();
        let out = LogStream::Stdout;
        assert_eq!(
            content(text.of(frame(out, b"a\xffb\xc3"))),
            Some("a\u{fffd}b".into())
        );
        assert_eq!(content(text.rest()), Some("\u{fffd}".into()));
        assert_eq!(text.rest(), None);
    }
}
