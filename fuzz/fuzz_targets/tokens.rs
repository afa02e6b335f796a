//! libFuzzer's way into the target `tokens`: see `crates/fuzzing/src/targets/tokens.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("tokens", bytes));
