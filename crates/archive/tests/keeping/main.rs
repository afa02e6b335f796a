//! Stores, logs and files as a master leaves them on disk: checked, copied, backed up, restored.

mod backing_up;
mod checking;
mod copying;
mod master;
