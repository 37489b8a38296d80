//! MQTT topics and filters (contract/mqtt.md 3, 5.1, 7, 8).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mqtt::fuzzing::topic(bytes));
