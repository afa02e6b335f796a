//! libFuzzer's way into the target `settings_master`: see `crates/fuzzing/src/targets/settings_master.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("settings_master", bytes));
