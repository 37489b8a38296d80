//! Usernames of MQTT CONNECTs (contract/mqtt.md 2.3).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mqtt::fuzzing::username(bytes));
