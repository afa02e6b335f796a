//! libFuzzer's way into the target `console_line`: see `crates/fuzzing/src/targets/console_line.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("console_line", bytes));
