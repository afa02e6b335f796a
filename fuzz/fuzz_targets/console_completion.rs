//! libFuzzer's way into the target `console_completion`: see `crates/fuzzing/src/targets/console_completion.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("console_completion", bytes));
