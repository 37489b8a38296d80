//! Where a reader of events begins (contract/eventhubs.md 4.1).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| amqp::fuzzing::event_selector(bytes));
