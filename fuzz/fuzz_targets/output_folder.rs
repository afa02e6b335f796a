//! libFuzzer's way into the target `output_folder`: see `crates/fuzzing/src/targets/output_folder.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("output_folder", bytes));
