//! Property bags of telemetry topics (contract/mqtt.md 5).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mqtt::fuzzing::property_bag(bytes));
