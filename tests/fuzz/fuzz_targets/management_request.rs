//! Questions about event hubs (contract/eventhubs.md 3).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp::fuzzing::management_request(bytes));
