//! The targets, a file each.

mod backup_archive;
mod backup_names;
mod console_completion;
mod console_input;
mod console_line;
mod engine_answers;
mod engine_log;
mod file_path;
mod journal_entries;
mod journal_file;
mod log_copy;
mod log_frames;
mod output_archive;
mod output_folder;
mod settings;
mod settings_master;
mod settings_worker;
mod spool_folder;
mod spool_records;
mod task_spec;
mod tokens;
mod upload;
mod wire;
mod wire_to_master;
mod wire_to_worker;
mod words;

use crate::Target;

macro_rules! targets {
    ($($name:ident: $mutations:literal),+ $(,)?) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            check: $name::check,
            seeds: $name::seeds,
            mutations: $mutations,
        }),+];
    };
}

targets! {
    backup_archive: 300,
    backup_names: 4000,
    console_completion: 1000,
    console_input: 4000,
    console_line: 3000,
    engine_answers: 4000,
    engine_log: 3000,
    file_path: 4000,
    journal_entries: 2000,
    journal_file: 600,
    log_copy: 300,
    log_frames: 600,
    output_archive: 400,
    output_folder: 300,
    settings_master: 150,
    settings_worker: 150,
    spool_folder: 300,
    spool_records: 3000,
    task_spec: 3000,
    tokens: 4000,
    upload: 400,
    wire_to_master: 5000,
    wire_to_worker: 5000,
    words: 8000,
}
