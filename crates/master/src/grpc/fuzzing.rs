//! Doors for `crates/fuzzing`: see [`crate::fuzzing`].

use cloudai_model::WorkerId;
use tonic::{Request, metadata::AsciiMetadataValue};

pub use super::uploads::fuzzing::{Uploaded, upload};
use super::{Gate, auth::Caller};
use crate::accounts::Opened;

/// As what a call from another machine is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetIn {
    /// As the worker.
    pub worker: bool,
    /// As the worker that it is, or was.
    pub reporter: bool,
    /// As an old node that doesn't say which it is.
    pub unnamed: bool,
    /// As a user.
    pub client: bool,
}

/// Accounts that are never opened: nobody is a user.
#[must_use]
pub fn no_accounts() -> Opened {
    tokio::sync::watch::channel(None).1
}

/// How a gate judges a call from another machine that names this worker and brings this header;
/// `None` if HTTP has no such header.
#[must_use]
pub fn lets_in(gate: &Gate, worker: &WorkerId, authorization: Option<&[u8]>) -> Option<LetIn> {
    let mut request = Request::new(());
    if let Some(header) = authorization {
        let value = AsciiMetadataValue::try_from(header).ok()?;
        request.metadata_mut().insert("authorization", value);
    }
    let caller = Caller::of(&request);
    Some(LetIn {
        worker: gate.worker(&caller, worker).is_ok(),
        reporter: gate.reporter(&caller, worker).is_ok(),
        unnamed: gate.unnamed(&caller).is_ok(),
        client: gate.client(&caller).is_ok(),
    })
}
