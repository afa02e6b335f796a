//! How a log is written down: as it was printed, or as events.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cloudai_files::log::Frame;
use cloudai_model::{TaskStatus, Wall};
use serde_json::json;

use super::EventId;

/// See the module.
#[derive(Debug)]
pub(super) enum Form {
    /// The bytes themselves.
    Text {
        /// Whether the time stands before each line.
        timestamps: bool,
        /// Whether the next byte begins one.
        begins_line: bool,
    },
    /// Events of a stream that a browser takes up again.
    Events,
}

impl Form {
    pub(super) fn text(timestamps: bool) -> Self {
        Self::Text {
            timestamps,
            begins_line: true,
        }
    }

    /// A piece of output, and where in the log the next one begins.
    pub(super) fn piece(&mut self, frame: Frame, attempt: u32, byte: u64) -> Bytes {
        match self {
            Self::Text {
                timestamps: false, ..
            } => frame.data,
            Self::Text { begins_line, .. } => stamped(&frame, begins_line),
            Self::Events => {
                let id = EventId::Behind { attempt, byte };
                let at = Wall(frame.at_ns.div_euclid(1_000_000)).to_string();
                let stream = frame.stream.as_str();
                let data = match std::str::from_utf8(&frame.data) {
                    Ok(text) => json!({"stream": stream, "at": at, "text": text}),
                    Err(_) => {
                        let base64 = STANDARD.encode(&frame.data);
                        json!({"stream": stream, "at": at, "base64": base64})
                    }
                };
                event("log", Some(id), &data)
            }
        }
    }

    /// Before anything else.
    pub(super) fn opening(&self) -> Option<Bytes> {
        // How long a browser waits before it takes up again what broke off.
        matches!(self, Self::Events).then(|| Bytes::from_static(b"retry: 2000\n\n"))
    }

    /// Another attempt begins.
    pub(super) fn attempt(&mut self, number: u32) -> Option<Bytes> {
        match self {
            Self::Text { begins_line, .. } => {
                // The last one's output may have ended within a line.
                *begins_line = true;
                None
            }
            Self::Events => Some(event("attempt", None, &json!({ "attempt": number }))),
        }
    }

    /// Nothing more will come: the task is final, or only what was there was asked for.
    pub(super) fn end(&self, status: TaskStatus, attempt: u32) -> Option<Bytes> {
        let data = json!({"status": status.as_str(), "attempt": attempt});
        let id = status.is_final().then_some(EventId::End);
        self.last_word("end", id, &data)
    }

    /// It breaks off here, and can be taken up again.
    pub(super) fn closing(&self, reason: &str) -> Option<Bytes> {
        self.last_word("closing", None, &json!({ "reason": reason }))
    }

    /// It breaks off here.
    pub(super) fn failed(&self, reason: &str) -> Option<Bytes> {
        self.last_word("error", None, &json!({ "reason": reason }))
    }

    /// A sign of life, so that nobody in between takes the connection for dead.
    pub(super) fn alive(&self) -> Option<Bytes> {
        matches!(self, Self::Events).then(|| Bytes::from_static(b": alive\n\n"))
    }

    fn last_word(
        &self,
        name: &str,
        id: Option<EventId>,
        data: &serde_json::Value,
    ) -> Option<Bytes> {
        matches!(self, Self::Events).then(|| event(name, id, data))
    }
}

/// One event. JSON has no line breaks, so that nothing a task prints can begin another event.
fn event(name: &str, id: Option<EventId>, data: &serde_json::Value) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

fn stamped(frame: &Frame, begins_line: &mut bool) -> Bytes {
    let stamp = format!("{} ", Wall(frame.at_ns.div_euclid(1_000_000)));
    let mut text = Vec::with_capacity(frame.data.len() + stamp.len());
    for line in frame.data.split_inclusive(|byte| *byte == b'\n') {
        if *begins_line {
            text.extend_from_slice(stamp.as_bytes());
        }
        text.extend_from_slice(line);
        *begins_line = line.last() == Some(&b'\n');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use cloudai_files::log::LogStream;

    use super::*;

    fn frame(data: &'static [u8]) -> Frame {
        Frame {
            stream: LogStream::Stderr,
            at_ns: 1_697_123_456_789_000_000,
            data: Bytes::from_static(data),
        }
    }

    fn text(bytes: Bytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_time_stands_before_each_line_and_not_within_one() {
        let mut form = Form::text(true);
        assert_eq!(
            text(form.piece(frame(b"a\nb"), 1, 0)) + &text(form.piece(frame(b"c\n"), 1, 0)),
            "2023-10-12T15:10:56.789Z a\n2023-10-12T15:10:56.789Z bc\n"
        );
    }

    #[test]
    fn whatever_a_task_prints_makes_one_event() {
        let mut form = Form::Events;
        let piece = form.piece(frame(b"x\n\nevent: end\ndata: {}\n\n"), 2, 77);
        assert_eq!(
            text(piece),
            "event: log\nid: 2:77\ndata: {\"at\":\"2023-10-12T15:10:56.789Z\",\
             \"stream\":\"stderr\",\"text\":\"x\\n\\nevent: end\\ndata: {}\\n\\n\"}\n\n"
        );
        let piece = text(form.piece(frame(b"caf\xe9"), 2, 77));
        assert!(piece.contains("\"base64\":\"Y2Fm6Q==\""), "{piece}");
    }

    #[test]
    fn only_the_end_of_a_final_task_says_that_nothing_more_will_come() {
        let form = Form::Events;
        assert!(text(form.end(TaskStatus::Failed, 1).unwrap()).contains("id: end\n"));
        assert!(!text(form.end(TaskStatus::Running, 1).unwrap()).contains("id:"));
        assert_eq!(Form::text(false).end(TaskStatus::Failed, 1), None);
    }
}
