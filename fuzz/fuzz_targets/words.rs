//! libFuzzer's way into the target `words`: see `crates/fuzzing/src/targets/words.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("words", bytes));
