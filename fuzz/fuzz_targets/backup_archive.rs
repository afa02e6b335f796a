//! libFuzzer's way into the target `backup_archive`: see `crates/fuzzing/src/targets/backup_archive.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("backup_archive", bytes));
