//! libFuzzer's way into the target `spool_folder`: see `crates/fuzzing/src/targets/spool_folder.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("spool_folder", bytes));
