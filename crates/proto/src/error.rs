//! A message that can't be meant, and its one mapping to a gRPC status.

use cloudai_model::DraftErrors;

/// A field of a message that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct WireError {
    /// The field's name in the .proto file; `task` for several of a task at once.
    pub field: &'static str,
    /// What is wrong and what was expected.
    pub message: String,
}

impl WireError {
    /// An error of this field.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

impl From<DraftErrors> for WireError {
    fn from(errors: DraftErrors) -> Self {
        Self::new("task", errors.to_string())
    }
}

impl From<WireError> for tonic::Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_hears_which_field_is_wrong() {
        let error = WireError::new("worker_id", "expected an id");
        let status = tonic::Status::from(error);
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "worker_id: expected an id");
    }
}
