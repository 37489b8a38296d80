//! Addresses of AMQP links (contract/amqp.md 1.5, 3).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp::fuzzing::amqp_address(bytes));
