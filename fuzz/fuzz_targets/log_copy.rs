//! libFuzzer's way into the target `log_copy`: see `crates/fuzzing/src/targets/log_copy.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("log_copy", bytes));
