//! Put-token requests (contract/amqp.md 2).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp::fuzzing::cbs_request(bytes));
