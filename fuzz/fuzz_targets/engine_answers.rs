//! libFuzzer's way into the target `engine_answers`: see `crates/fuzzing/src/targets/engine_answers.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("engine_answers", bytes));
