//! AMQP connections, protocol header first (contract/amqp.md 1).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp::fuzzing::amqp_frame(bytes));
