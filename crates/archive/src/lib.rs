//! What looks after the data of a master: it is [checked](check()), [copied](copy()) from one store
//! to another, [backed up](backup()) and [restored](restore()).
//!
//! A store is read here as a whole ([`cloudai_store::Export`]) and never decided upon: what a record
//! means is the core's business. Nothing here talks to a master; what is read may be in use by one,
//! what is written may not.

mod backup;
mod check;
mod copy;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod place;
mod restore;
mod transfer;
mod verify;
mod writing;

use std::sync::Arc;

pub use self::{
    backup::{Backup, BackupError, BackupRequest, CopyFailure, backup, remove_unfinished},
    check::{CheckError, Checked, Finding, check},
    copy::{Copied, CopyError, copy},
    format::{ArchiveError, FORMAT, Header, Manifest, Part},
    place::{PlaceError, StorePlace},
    restore::{RestoreError, RestoreRequest, Restored, restore},
    transfer::TransferError,
    verify::verify,
};

/// Is told how far it is: what is being done, and how many records or bytes of it are.
pub type Progress = Arc<dyn Fn(&'static str, u64) + Send + Sync>;

/// The folder of logs in a data directory.
pub const LOGS: &str = "logs";

/// The folder of output files in a data directory.
pub const FILES: &str = "files";
