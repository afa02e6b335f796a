//! libFuzzer's way into the target `backup_names`: see `crates/fuzzing/src/targets/backup_names.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("backup_names", bytes));
