//! libFuzzer's way into the target `engine_log`: see `crates/fuzzing/src/targets/engine_log.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("engine_log", bytes));
