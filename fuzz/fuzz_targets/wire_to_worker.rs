//! libFuzzer's way into the target `wire_to_worker`: see `crates/fuzzing/src/targets/wire_to_worker.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("wire_to_worker", bytes));
