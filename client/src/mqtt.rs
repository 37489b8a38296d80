//! MQTT 3.1.1 as IoT Hub speaks it (contract/mqtt.md). `topic` spells topics, user names and property bags,
//! `driver` owns the socket, `link` offers the operations. The packets are rumqttc's; its event loop is not used,
//! as it brings its own TLS and WebSocket and does not tell which message was acknowledged.

mod driver;
mod link;
mod topic;

pub(crate) use self::link::MqttLink;
