//! How long answers of one connection wait to be taken.
//!
//! The socket alone doesn't tell: on HTTP/2 a client may read it all the time and let one answer have no
//! room, and on either a byte now and then looks like reading. So it is looked at whether the next piece
//! of an answer is asked for, which is when the one before has found its way.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, sleep};

/// Bytes of an answer that are given away at a time. What has been given away, and the rest of what is
/// behind it, a client can only hold while it takes the next.
const PIECE_BYTES: usize = 64 << 10;

/// The answers of one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// Since when each waits that has a piece to be taken.
    since: BTreeMap<u64, Instant>,
}

impl Answers {
    /// Resolves when one has waited for so long.
    pub(super) async fn stalled(&self, within: Duration) {
        loop {
            let longest = self.lock().since.values().min().copied();
            if longest.is_some_and(|since| since.elapsed() >= within) {
                return;
            }
            sleep(within / 4).await;
        }
    }

    /// A body that is one of these; `holds` is dropped with it.
    pub(super) fn body<H>(&self, body: Body, holds: H) -> Watched<H> {
        let mut waiting = self.lock();
        waiting.last += 1;
        let number = waiting.last;
        if !body.is_end_stream() {
            waiting.since.insert(number, Instant::now());
        }
        Watched {
            body,
            rest: Bytes::new(),
            answers: self.clone(),
            number,
            _holds: holds,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer.
pub(super) struct Watched<H> {
    body: Body,
    /// Of the last piece of the body, what has not been given away.
    rest: Bytes,
    answers: Answers,
    number: u64,
    _holds: H,
}

impl<H: Unpin> HttpBody for Watched<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let mut next = match this.rest.is_empty() {
            true => Pin::new(&mut this.body).poll_frame(cx),
            false => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest))))),
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut next
            && let Some(data) = frame.data_mut()
            && data.len() > PIECE_BYTES
        {
            this.rest = data.split_off(PIECE_BYTES);
        }
        let mut waiting = this.answers.lock();
        match &next {
            Poll::Ready(Some(Ok(_))) => waiting.since.insert(this.number, Instant::now()),
            // There is nothing to take.
            _ => waiting.since.remove(&this.number),
        };
        drop(waiting);
        next
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl<H> Drop for Watched<H> {
    fn drop(&mut self) {
        self.answers.lock().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_in_pieces_and_stalls_when_the_next_is_not_asked_for() {
        // Given an answer of two and a half pieces,
        let answers = Answers::default();
        let long = PIECE_BYTES * 5 / 2;
        let mut body = answers.body(Body::from(vec![7; long]), ());
        assert_eq!(body.size_hint().exact(), Some(long as u64));

        // when each is asked for within the time, then it may take longer in all;
        let mut lengths = Vec::new();
        while !body.is_end_stream() {
            sleep(WITHIN * 3 / 4).await;
            assert!(answers.stalled(WITHIN).now_or_never().is_none());
            let frame = body.frame().await.unwrap().unwrap();
            lengths.push(frame.into_data().unwrap().len());
        }
        assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES / 2]);
        assert_eq!(body.size_hint().exact(), Some(0));

        // when no more is asked for, then it stalls, until it is gone.
        sleep(WITHIN).await;
        assert!(answers.stalled(WITHIN).now_or_never().is_some());
        drop(body);
        assert!(answers.stalled(WITHIN).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_nothing_to_say_does_not_stall_and_what_nobody_begins_to_take_does() {
        let answers = Answers::default();
        let quiet = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut quiet = answers.body(Body::from_stream(quiet), ());
        assert!(quiet.frame().now_or_never().is_none());
        let empty = answers.body(Body::empty(), ());
        sleep(WITHIN * 2).await;
        assert!(answers.stalled(WITHIN).now_or_never().is_none());
        let untouched = answers.body(Body::from("x"), ());
        sleep(WITHIN).await;
        assert!(answers.stalled(WITHIN).now_or_never().is_some());
        drop((empty, untouched));
    }
}
