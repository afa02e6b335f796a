//! The words for where a task, an attempt and a worker stand.

/// A text that is none of the words expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: expected one of {expected}")]
pub struct WordError {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    pub(crate) expected: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it, on the wire, in the store and to people.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::status::WordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::status::WordError {
                        what: $what,
                        text: text.chars().take(80).collect(),
                        expected: words.join(", "),
                    }
                })
            }
        }
    };
}
pub(crate) use words;

words!(
    /// Where a task stands. The last three are final.
    TaskStatus, "task status" {
        /// Waiting in the master; its reason says for what.
        Queued = "queued",
        /// Given to a worker: pulling the image, creating the container.
        Pending = "pending",
        /// From the container's start until its files are in.
        Running = "running",
        /// Ended with exit code 0.
        Completed = "completed",
        /// Ended otherwise, or could not be run.
        Failed = "failed",
        /// Stopped on request, or never ran because of one.
        Cancelled = "cancelled",
    }
);

impl TaskStatus {
    /// Whether nothing can change it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

words!(
    /// How far a task has come, finer than its status.
    Phase, "phase" {
        /// Waiting in the master.
        Queued = "queued",
        /// Sent to a worker.
        Assigned = "assigned",
        /// The worker pulls the image.
        Pulling = "pulling",
        /// The worker creates the container.
        Creating = "creating",
        /// The container runs.
        Running = "running",
        /// A stop was asked for and has not happened yet.
        Cancelling = "cancelling",
        /// The container has ended; log and files are on their way to the master.
        Uploading = "uploading",
        /// Over.
        Done = "done",
    }
);

words!(
    /// Whether a worker can be given tasks.
    WorkerStatus, "worker status" {
        /// Heard from lately.
        Active = "active",
        /// Silent, or never seen.
        Inactive = "inactive",
        /// Heard from, and given nothing new.
        Draining = "draining",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for status in TaskStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        for phase in Phase::ALL {
            assert_eq!(phase.as_str().parse(), Ok(*phase));
        }
    }

    #[test]
    fn another_word_is_answered_with_the_right_ones() {
        let error = "done".parse::<TaskStatus>().unwrap_err().to_string();
        assert!(
            error.contains("queued, pending, running, completed"),
            "{error}"
        );
    }
}
