//! libFuzzer's way into the target `file_path`: see `crates/fuzzing/src/targets/file_path.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("file_path", bytes));
