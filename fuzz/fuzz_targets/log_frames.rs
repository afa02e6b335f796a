//! libFuzzer's way into the target `log_frames`: see `crates/fuzzing/src/targets/log_frames.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("log_frames", bytes));
