//! libFuzzer's way into the target `upload`: see `crates/fuzzing/src/targets/upload.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("upload", bytes));
