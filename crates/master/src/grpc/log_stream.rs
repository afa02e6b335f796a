//! Sending a log to a client: framed bytes as they lie on disk, or the output's own.

use std::{mem, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cloudai_files::log::{Decoder, Frame, FrameError, LogFollower, LogStream};
use cloudai_model::{TaskId, TaskStatus, Wall};
use cloudai_operator::Operator as _;
use cloudai_proto::{LogMessage, LogPiece, LogRequest, OutputStream, cluster::LogChunk};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::operations::Master;

/// Log bytes that are read at once. A container that writes much is followed in few messages, one
/// that writes little line by line.
const READ_BYTES: usize = 256 << 10;
/// Output in one message to a client, as far as it comes in smaller frames.
const MESSAGE_BYTES: usize = 64 << 10;
/// Messages on their way: with their size the memory that a slow client costs.
const AHEAD: usize = 8;
/// How often it is asked whether whoever follows still may.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

pub(super) type LogChunks = ReceiverStream<Result<LogChunk, Status>>;

/// Sends a log until it is complete, the client goes away or is not let in any more, as `still` says,
/// or, without `follow`, what is there has been sent.
pub(super) fn send(
    master: Arc<Master>,
    log: LogFollower,
    wanted: LogRequest,
    still: impl Fn() -> Result<(), Status> + Send + Sync + 'static,
) -> LogChunks {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let sending = Sending {
        master,
        wanted,
        still: Box::new(still),
        sender,
    };
    tokio::spawn(async move {
        // Whoever went away needs no answer.
        let _ = sending.run(log).await.is_ok();
    });
    ReceiverStream::new(receiver)
}

struct Sending {
    master: Arc<Master>,
    wanted: LogRequest,
    still: Box<dyn Fn() -> Result<(), Status> + Send + Sync>,
    sender: mpsc::Sender<Result<LogChunk, Status>>,
}

/// The client is gone.
struct ClientGone;

impl Sending {
    async fn run(&self, mut log: LogFollower) -> Result<(), ClientGone> {
        let mut output = OutputPieces::default();
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let more = if self.wanted.follow {
                tokio::select! {
                    more = log.wait() => more,
                    _ = checks.tick() => match (self.still)() {
                        Ok(()) => continue,
                        Err(status) => return self.fail(status).await,
                    },
                    // A quiet log would never tell.
                    () = self.sender.closed() => return Err(ClientGone),
                }
            } else {
                true
            };
            let offset = log.offset();
            // From the page cache, mostly, and a bounded piece.
            let bytes = match log.read(READ_BYTES) {
                Ok(bytes) => bytes,
                Err(error) => return self.fail(Status::internal(error.to_string())).await,
            };
            if bytes.is_empty() && (!more || !self.wanted.follow) {
                break;
            }
            if self.wanted.framed {
                let data = bytes.into();
                self.piece(LogPiece::Framed { offset, data }).await?;
                continue;
            }
            match output.feed(&bytes) {
                Ok(pieces) => {
                    for piece in pieces {
                        self.piece(piece).await?;
                    }
                }
                Err(error) => return self.fail(Status::data_loss(error.to_string())).await,
            }
        }
        let status = status_of(&self.master, &self.wanted.task).await;
        self.message(LogMessage::end(&self.wanted.task, status))
            .await
    }

    async fn piece(&self, piece: LogPiece) -> Result<(), ClientGone> {
        self.message(LogMessage::piece(&self.wanted.task, piece))
            .await
    }

    async fn message(&self, message: LogMessage) -> Result<(), ClientGone> {
        let chunk = if self.wanted.without_text {
            message.into_wire_without_text()
        } else {
            message.into_wire()
        };
        let sent = self.sender.send(Ok(chunk)).await;
        sent.map_err(|_| ClientGone)
    }

    async fn fail(&self, status: Status) -> Result<(), ClientGone> {
        let sent = self.sender.send(Err(status)).await;
        sent.map_err(|_| ClientGone)
    }
}

async fn status_of(master: &Master, task: &TaskId) -> Option<TaskStatus> {
    let record = master.task(task).await.ok().flatten();
    record.map(|view| view.record.state.status)
}

/// Makes output of framed bytes. Small frames of the same stream that are there together, such as
/// lines, go together, with the time of the first.
#[derive(Default)]
struct OutputPieces {
    decoder: Decoder,
}

impl OutputPieces {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<LogPiece>, FrameError> {
        self.decoder.feed(bytes);
        let mut pieces = Vec::new();
        let mut run: Vec<Frame> = Vec::new();
        let mut run_bytes = 0;
        while let Some(frame) = self.decoder.next_frame()? {
            let joins = run
                .first()
                .is_none_or(|first: &Frame| first.stream == frame.stream);
            if !joins || run_bytes + frame.data.len() > MESSAGE_BYTES {
                pieces.extend(joined(mem::take(&mut run)));
                run_bytes = 0;
            }
            run_bytes += frame.data.len();
            run.push(frame);
        }
        pieces.extend(joined(run));
        Ok(pieces)
    }
}

fn joined(run: Vec<Frame>) -> Option<LogPiece> {
    let first = run.first()?;
    let (stream, at_ns) = (first.stream, first.at_ns);
    let data: Bytes = match run.as_slice() {
        [only] => only.data.clone(),
        many => {
            let mut data = BytesMut::with_capacity(many.iter().map(|frame| frame.data.len()).sum());
            for frame in many {
                data.extend_from_slice(&frame.data);
            }
            data.freeze()
        }
    };
    Some(LogPiece::Output {
        stream: match stream {
            LogStream::Stdout => OutputStream::Stdout,
            LogStream::Stderr => OutputStream::Stderr,
        },
        at: Some(Wall(at_ns.div_euclid(1_000_000))),
        data,
    })
}

#[cfg(test)]
mod tests {
    use cloudai_files::log::encode;

    use super::*;

    fn frame(stream: LogStream, at_ms: i64, data: Vec<u8>) -> Frame {
        Frame {
            stream,
            at_ns: at_ms * 1_000_000,
            data: data.into(),
        }
    }

    #[test]
    fn lines_go_together_up_to_a_size_and_never_with_the_other_stream() {
        let mut framed = Vec::new();
        for written in [
            frame(LogStream::Stdout, 1, b"a\n".to_vec()),
            frame(LogStream::Stdout, 2, b"b\n".to_vec()),
            frame(LogStream::Stderr, 3, b"c\n".to_vec()),
            frame(LogStream::Stdout, 4, vec![b'x'; MESSAGE_BYTES]),
            frame(LogStream::Stdout, 5, b"y".to_vec()),
        ] {
            encode(&written, &mut framed);
        }
        let output = |stream, ms, data: Vec<u8>| LogPiece::Output {
            stream,
            at: Some(Wall(ms)),
            data: data.into(),
        };
        let expected = [
            output(OutputStream::Stdout, 1, b"a\nb\n".to_vec()),
            output(OutputStream::Stderr, 3, b"c\n".to_vec()),
            output(OutputStream::Stdout, 4, vec![b'x'; MESSAGE_BYTES]),
            output(OutputStream::Stdout, 5, b"y".to_vec()),
        ];
        assert_eq!(OutputPieces::default().feed(&framed).unwrap(), expected);
    }

    #[test]
    fn a_frame_that_is_cut_waits_for_its_rest() {
        let mut framed = Vec::new();
        encode(&frame(LogStream::Stdout, 1, b"abc".to_vec()), &mut framed);
        let (begin, rest) = framed.split_at(17);
        let mut output = OutputPieces::default();
        assert_eq!(output.feed(begin).unwrap(), []);
        assert_eq!(output.feed(rest).unwrap().len(), 1);
    }
}
