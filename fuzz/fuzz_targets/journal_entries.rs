//! libFuzzer's way into the target `journal_entries`: see `crates/fuzzing/src/targets/journal_entries.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("journal_entries", bytes));
