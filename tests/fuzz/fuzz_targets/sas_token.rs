//! Shared access signatures and their resources (contract/rest.md 5.1).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| auth::fuzzing::sas_token(bytes));
