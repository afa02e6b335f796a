//! Serving a log: framed bytes for a master that copies it, the output itself for older callers.

use cloudai_files::log::{Decoder, Frame, LogFollower, LogWatch};
use cloudai_model::{AttemptId, Wall};
use cloudai_proto::{LogMessage, LogPiece, LogRequest, OutputStream, cluster};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{context::Context, logs::FollowError};

/// Framed bytes in one message.
const PIECE_BYTES: usize = 256 * 1024;
/// Messages on their way; a slow caller delays nobody but itself.
const AHEAD: usize = 4;

pub(super) type LogStream = ReceiverStream<Result<cluster::LogChunk, Status>>;

/// Opens a log for a caller.
pub(super) async fn open(context: &Context, request: LogRequest) -> Result<LogStream, Status> {
    let held = match request.attempt {
        Some(number) => Some(AttemptId::new(request.task.clone(), number)),
        None => context.spool.last_of(&request.task),
    };
    let attempt = held
        .ok_or_else(|| Status::not_found(format!("this worker does not hold {}", request.task)))?;
    // The output's own bytes have no offsets to go on at.
    let offset = if request.framed { request.offset } else { 0 };
    let (follower, watch) =
        context
            .logs
            .follow(&attempt, offset)
            .await
            .map_err(|error| match error {
                FollowError::NotHeld(_) => Status::not_found(error.to_string()),
                FollowError::Log(_) => Status::internal(error.to_string()),
            })?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let serving = Serving {
        task_text: request.task.to_string(),
        follow: request.follow,
        watch,
        decoder: (!request.framed).then(Decoder::new),
        sender,
    };
    tokio::spawn(serving.run(follower));
    Ok(ReceiverStream::new(receiver))
}

struct Serving {
    task_text: String,
    follow: bool,
    watch: LogWatch,
    /// Makes output of framed bytes, for a caller that wants it so.
    decoder: Option<Decoder>,
    sender: mpsc::Sender<Result<cluster::LogChunk, Status>>,
}

/// The caller is gone.
struct CallerGone;

impl Serving {
    async fn run(mut self, mut log: LogFollower) {
        let mut complete = false;
        loop {
            if self.follow {
                tokio::select! {
                    more = log.wait() => complete = !more,
                    () = self.sender.closed() => return,
                }
            }
            if complete {
                break;
            }
            let offset = log.offset();
            // From the page cache, mostly, and a bounded piece.
            let bytes = match log.read(PIECE_BYTES) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let status = Status::internal(error.to_string());
                    // Whether the caller still hears it makes no difference.
                    let _ = self.sender.send(Err(status)).await.is_ok();
                    return;
                }
            };
            if bytes.is_empty() && !self.follow {
                complete = self.watch.now().sealed;
                break;
            }
            if self.send(offset, bytes).await.is_err() {
                return;
            }
        }
        let _ = self.message(None, complete).await.is_ok();
    }

    async fn send(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), CallerGone> {
        let Some(decoder) = &mut self.decoder else {
            let data = bytes.into();
            return self
                .message(Some(LogPiece::Framed { offset, data }), false)
                .await;
        };
        decoder.feed(&bytes);
        let mut frames = Vec::new();
        let decoded = loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        for frame in frames {
            self.message(Some(output(frame)), false).await?;
        }
        if let Err(error) = decoded {
            let status = Status::data_loss(error.to_string());
            let _ = self.sender.send(Err(status)).await.is_ok();
            return Err(CallerGone);
        }
        Ok(())
    }

    async fn message(&self, piece: Option<LogPiece>, is_complete: bool) -> Result<(), CallerGone> {
        let message = LogMessage {
            task_text: self.task_text.clone(),
            piece,
            is_complete,
            status: None,
        };
        let sent = self.sender.send(Ok(message.into_wire())).await;
        sent.map_err(|_| CallerGone)
    }
}

fn output(frame: Frame) -> LogPiece {
    LogPiece::Output {
        stream: match frame.stream {
            cloudai_files::log::LogStream::Stdout => OutputStream::Stdout,
            cloudai_files::log::LogStream::Stderr => OutputStream::Stderr,
        },
        at: Some(Wall(frame.at_ns / 1_000_000)),
        data: frame.data,
    }
}
