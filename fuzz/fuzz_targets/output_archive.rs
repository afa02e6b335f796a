//! libFuzzer's way into the target `output_archive`: see `crates/fuzzing/src/targets/output_archive.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("output_archive", bytes));
