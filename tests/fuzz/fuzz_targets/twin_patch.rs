//! JSON that changes a twin (contract/rest.md 1.7, contract/mqtt.md 7.2).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hub::fuzzing::twin_patch(bytes));
