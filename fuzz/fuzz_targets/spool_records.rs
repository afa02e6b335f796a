//! libFuzzer's way into the target `spool_records`: see `crates/fuzzing/src/targets/spool_records.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("spool_records", bytes));
