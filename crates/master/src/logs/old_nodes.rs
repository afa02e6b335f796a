//! Logs of old workers: text from the start in each stream, without offsets; and the whole of it
//! once more in the result, which counts where the stream gave none.

use std::{path::Path, time::Duration};

use bytes::{Buf as _, Bytes};
use cloudai_files::log::{
    Decoder, Frame, LogError, LogReader, LogStore, LogStream as Output, MAX_PAYLOAD_LEN, OpenLog,
};
use cloudai_metrics::Metrics;
use cloudai_model::{AttemptId, Wall, Whole, WorkerId, rfc3339};
use cloudai_proto::LogPiece;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::{Break, LogFollowers, Progress, check_length};
use crate::workers::LogStream;

/// How long a result waits for its stream's end while nothing of it comes. The worker may give up on
/// an answer that takes longer, and may not report again.
const WAIT_FOR_STREAM: Duration = Duration::from_secs(6);
/// Bytes read of a log at once.
const READ_LEN: usize = 64 << 10;

/// Copies a stream's text, but for what the log holds of it already from before a break.
///
/// It writes on this thread: into the page cache, and so that nothing is written any more once the
/// follower has been stopped.
pub(super) async fn take_in(
    log: &OpenLog,
    path: &Path,
    mut stream: LogStream,
    limit: u64,
    metrics: &Metrics,
) -> Result<(), Break> {
    let mut held = HeldText::of(path, log.len())?;
    while let Some(message) = stream.next().await {
        let message = message?;
        if let Some(LogPiece::Text { content, timestamp }) = message.piece {
            let mut text = Bytes::from(content);
            if !held.skip_repeated(&mut text)? {
                return Err(Break::Unlike("its worker's log begins differently"));
            }
            let at_ns = rfc3339::unix_ns(timestamp.as_bytes());
            check_length(log, text.len(), limit)?;
            append(log, text, at_ns.unwrap_or_else(now_ns), metrics)?;
        }
        if message.is_complete {
            return if held.is_over()? {
                Ok(())
            } else {
                Err(Break::Unlike("its worker has less of the log than before"))
            };
        }
    }
    Err(Break::Early)
}

impl LogFollowers {
    /// Makes the best of an old worker's log now that its result is here, and gives the last `tail`
    /// bytes of it: the stream's text if the
    /// stream came to its end, else the result's. An old worker need not report a second time, so
    /// this fails only for what the result must say.
    ///
    /// # Errors
    /// If the log can't be written.
    pub async fn complete_old(
        &self,
        worker: &WorkerId,
        attempt: &AttemptId,
        of_result: String,
        received_at: Wall,
        tail: usize,
    ) -> Result<(Whole, String), LogError> {
        self.follow(worker.clone(), attempt.clone());
        let progress = self.end_of_stream(attempt).await;
        // From here on nobody else writes.
        self.end_follower(attempt).await;
        let (store, attempt) = (self.0.store.clone(), attempt.clone());
        let metrics = self.0.metrics.clone();
        let settled = tokio::task::spawn_blocking(move || {
            let whole = settle(
                &store,
                &attempt,
                &progress,
                of_result,
                received_at,
                &metrics,
            )?;
            let (log, _) = store.writer(&attempt)?;
            let tail = log.tail_text(tail)?;
            log.sync()?;
            Ok((whole, tail))
        });
        settled.await.expect("writing a log does not panic")
    }

    /// How the stream stands at its end, or when nothing more of it comes.
    async fn end_of_stream(&self, attempt: &AttemptId) -> Progress {
        let Some(mut told) = self.progress_of(attempt) else {
            return Progress::Following;
        };
        loop {
            let before = self.length(attempt);
            let over = told.wait_for(|progress| *progress != Progress::Following);
            if let Ok(Ok(last)) = timeout(WAIT_FOR_STREAM, over).await {
                return last.clone();
            }
            if self.length(attempt) == before {
                return Progress::Following;
            }
        }
    }
}

fn settle(
    store: &LogStore,
    attempt: &AttemptId,
    progress: &Progress,
    of_result: String,
    received_at: Wall,
    metrics: &Metrics,
) -> Result<Whole, LogError> {
    let (log, _) = store.writer(attempt)?;
    let (path, length) = (store.path(attempt), log.len());
    let streamed = *progress == Progress::Complete && length > 0;
    let whole = if streamed {
        Whole::Complete
    } else {
        let mut text = Bytes::from(of_result);
        let mut held = HeldText::of(&path, length)?;
        // Of a stream that came to its end there may be nothing; else nothing tells nothing.
        let tells = !text.is_empty() || *progress == Progress::Complete;
        if tells && held.skip_repeated(&mut text)? && held.is_over()? {
            append(&log, text, received_at.0.saturating_mul(1_000_000), metrics)?;
            Whole::Complete
        } else {
            Whole::Incomplete(match progress {
                Progress::GivenUp(why) => why.clone(),
                _ => "its worker's log stream did not come to its end".to_owned(),
            })
        }
    };
    Ok(whole)
}

/// Appends text of an old node, which doesn't tell the two outputs apart.
fn append(log: &OpenLog, mut text: Bytes, at_ns: i64, metrics: &Metrics) -> Result<(), LogError> {
    let mut frames = Vec::new();
    while !text.is_empty() {
        frames.push(Frame {
            stream: Output::Stdout,
            at_ns,
            data: text.split_to(text.len().min(MAX_PAYLOAD_LEN)),
        });
    }
    if frames.is_empty() {
        return Ok(());
    }
    let before = log.len();
    let length = log.append(&frames)?;
    metrics.log_written(length.saturating_sub(before));
    Ok(())
}

fn now_ns() -> i64 {
    cloudai_clock::now().wall.0.saturating_mul(1_000_000)
}

/// What a log holds, read piece by piece beside text that should repeat it.
struct HeldText<'a> {
    path: &'a Path,
    reader: Option<LogReader>,
    decoder: Decoder,
    offset: u64,
    end: u64,
    /// Of the frame at hand, what wasn't compared yet.
    rest: Bytes,
}

impl<'a> HeldText<'a> {
    /// The text in the first `end` framed bytes of a log.
    fn of(path: &'a Path, end: u64) -> Result<Self, LogError> {
        let reader = if end > 0 {
            Some(LogReader::open(path)?)
        } else {
            None
        };
        Ok(Self {
            path,
            reader,
            decoder: Decoder::new(),
            offset: 0,
            end,
            rest: Bytes::new(),
        })
    }

    /// Takes from `text` what repeats the held text from where it was last compared; false if it
    /// doesn't.
    fn skip_repeated(&mut self, text: &mut Bytes) -> Result<bool, LogError> {
        while !text.is_empty() && !self.is_over()? {
            let both = text.len().min(self.rest.len());
            if text[..both] != self.rest[..both] {
                return Ok(false);
            }
            text.advance(both);
            self.rest.advance(both);
        }
        Ok(true)
    }

    /// Whether all of it was compared; otherwise some of it is at hand.
    fn is_over(&mut self) -> Result<bool, LogError> {
        while self.rest.is_empty() {
            let frame = self.decoder.next_frame();
            let frame = frame.map_err(|source| LogError::Malformed {
                path: self.path.to_owned(),
                source,
            })?;
            if let Some(frame) = frame {
                self.rest = frame.data;
                continue;
            }
            let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
            let Some(reader) = self.reader.as_ref().filter(|_| left > 0) else {
                return Ok(true);
            };
            let bytes = reader.read_at(self.offset, left.min(READ_LEN))?;
            if bytes.is_empty() {
                return Ok(true);
            }
            self.offset += bytes.len() as u64;
            self.decoder.feed(&bytes);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use cloudai_files::log::render;
    use cloudai_proto::LogMessage;
    use futures_util::stream;

    use super::*;

    fn attempt() -> AttemptId {
        AttemptId::new("job".parse().unwrap(), 2)
    }

    fn store() -> (tempfile::TempDir, LogStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::new(folder.path());
        (folder, store)
    }

    /// A stream of these pieces; one that breaks off has no end.
    async fn hear(store: &LogStore, pieces: &[&str], ends: bool) -> Result<(), Break> {
        let piece = |text: &&str| LogMessage {
            task_text: "job-2".to_owned(),
            piece: Some(LogPiece::Text {
                content: (*text).to_owned(),
                timestamp: "2026-01-31T08:00:00.5Z".to_owned(),
            }),
            is_complete: false,
            status: None,
        };
        let mut messages: Vec<_> = pieces.iter().map(piece).collect();
        if ends {
            messages.push(LogMessage::end(&attempt().task, None));
        }
        let (log, _) = store.writer(&attempt()).unwrap();
        let stream = stream::iter(messages.into_iter().map(Ok)).boxed();
        let metrics = Metrics::default();
        take_in(&log, &store.path(&attempt()), stream, u64::MAX, &metrics).await
    }

    fn text(store: &LogStore) -> String {
        let mut out = Vec::new();
        render(&store.path(&attempt()), None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn settled(store: &LogStore, progress: &Progress, of_result: &str) -> Whole {
        let at = Wall(1_700_000_000_000);
        let (text, metrics) = (of_result.to_owned(), Metrics::default());
        settle(store, &attempt(), progress, text, at, &metrics).unwrap()
    }

    #[tokio::test]
    async fn after_a_break_the_same_text_is_not_taken_twice() {
        let (_folder, store) = store();
        let broke = hear(&store, &["one\n", "tw"], false).await;
        assert!(matches!(broke, Err(Break::Early)));
        // In other pieces than before, and then more.
        hear(&store, &["o", "ne\ntwo\nthr", "ee\n"], true)
            .await
            .unwrap();
        assert_eq!(text(&store), "one\ntwo\nthree\n");
        assert_eq!(
            settled(&store, &Progress::Complete, "something else"),
            Whole::Complete
        );
        assert_eq!(text(&store), "one\ntwo\nthree\n", "the stream's stands");
    }

    #[tokio::test]
    async fn a_stream_that_no_longer_begins_the_same_is_given_up() {
        let (_folder, store) = store();
        let _ = hear(&store, &["one\n", "two\n"], false).await;
        let other = hear(&store, &["three\n"], true).await;
        assert!(matches!(other, Err(Break::Unlike(_))));
        let shorter = hear(&store, &["one\n"], true).await;
        assert!(matches!(shorter, Err(Break::Unlike(_))));
        assert_eq!(text(&store), "one\ntwo\n", "what is here stays");
        let given_up = Progress::GivenUp("why".to_owned());
        assert_eq!(
            settled(&store, &given_up, "three\n"),
            Whole::Incomplete("why".to_owned())
        );
    }

    #[tokio::test]
    async fn the_result_has_what_the_stream_did_not_give() {
        let (_folder, store) = store();
        assert_eq!(
            settled(&store, &Progress::Following, "all of it\n"),
            Whole::Complete
        );
        assert_eq!(text(&store), "all of it\n");
    }

    #[tokio::test]
    async fn the_result_completes_a_stream_that_broke_off() {
        let (_folder, store) = store();
        let _ = hear(&store, &["one\ntw"], false).await;
        assert_eq!(
            settled(&store, &Progress::Following, "one\ntwo\n"),
            Whole::Complete
        );
        assert_eq!(text(&store), "one\ntwo\n");
    }

    #[tokio::test]
    async fn a_log_that_may_lack_its_end_says_so() {
        let (_folder, store) = store();
        let _ = hear(&store, &["one\n"], false).await;
        let whole = settled(&store, &Progress::Following, "");
        assert!(
            whole
                .reason()
                .is_some_and(|why| why.contains("did not come to its end"))
        );
        assert_eq!(text(&store), "one\n");
    }

    #[tokio::test]
    async fn a_log_that_never_came_is_not_called_complete() {
        for progress in [Progress::Following, Progress::GivenUp("why".to_owned())] {
            let (_folder, store) = store();
            assert!(!settled(&store, &progress, "").is_complete());
        }
        // A task may print nothing at all.
        let (_folder, store) = store();
        assert_eq!(settled(&store, &Progress::Complete, ""), Whole::Complete);
    }

    #[tokio::test]
    async fn a_large_piece_is_many_frames() {
        let (_folder, store) = store();
        let large = "x".repeat(MAX_PAYLOAD_LEN * 2 + 1);
        hear(&store, &[&large], true).await.unwrap();
        hear(&store, &[&large], true).await.unwrap();
        assert_eq!(text(&store).len(), large.len());
    }
}
