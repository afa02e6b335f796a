//! libFuzzer's way into the target `console_input`: see `crates/fuzzing/src/targets/console_input.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("console_input", bytes));
