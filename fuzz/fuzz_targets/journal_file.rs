//! libFuzzer's way into the target `journal_file`: see `crates/fuzzing/src/targets/journal_file.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("journal_file", bytes));
