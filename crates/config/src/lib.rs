//! The settings of a program: from flags, environment, `.env` and `cloudai.toml`.
//!
//! A program declares a [`Section`] of [`Setting`]s and calls [`load_from_process`]. For each
//! setting the first of these that has it wins: its flag, its environment variable, the same
//! variable in `.env`, its key in `cloudai.toml`, the same key in the program's compiled-in
//! defaults. An empty value anywhere but in a flag counts as none. Whatever the source, the
//! setting's own value parser checks it, and an error says where the value came from.
//!
//! What the settings mean is the program's business; nothing here opens a port or a data file.

pub mod amount;
pub mod env_file;
pub mod error;
pub mod keep;
pub mod listen;
pub mod load;
pub mod section;
pub mod settings;
pub mod source;
pub mod span;
pub mod switch;
pub mod toml_file;

mod dashes;

pub use amount::{AmountError, Bytes, bytes};
pub use error::LoadError;
pub use keep::{Keep, KeepError, keep};
pub use listen::{ListenAddr, ListenAddrError};
pub use load::{Surroundings, load, load_from_process};
pub use section::{Section, Setting};
pub use settings::Settings;
pub use source::Source;
pub use span::{SpanError, duration};
pub use switch::{SwitchError, switch};
