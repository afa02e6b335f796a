//! libFuzzer's way into the target `settings_worker`: see `crates/fuzzing/src/targets/settings_worker.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("settings_worker", bytes));
