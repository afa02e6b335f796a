//! libFuzzer's way into the target `task_spec`: see `crates/fuzzing/src/targets/task_spec.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz("task_spec", bytes));
