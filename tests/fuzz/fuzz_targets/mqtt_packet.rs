//! MQTT connections, byte by byte (contract/mqtt.md 2.1, 2.11).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mqtt::fuzzing::mqtt_packet(bytes));
