//! Two clients that do nothing wrong. Whatever another client does, their telemetry is acknowledged.

use crate::harness::amqp::Link;
use crate::harness::watch::nothing_panicked;
use crate::harness::{Amqp, Emulator, Mqtt};

/// One over MQTT, one over AMQP, connected before the abuse begins.
pub(crate) struct Neighbours {
    mqtt: Mqtt,
    amqp: Amqp,
    telemetry: Link,
}

impl Neighbours {
    pub(crate) async fn move_in(emulator: &Emulator) -> Self {
        emulator.create_device("good-mqtt").await;
        emulator.create_device("good-amqp").await;
        let mqtt = emulator.mqtt("good-mqtt").await;
        let (amqp, telemetry) = emulator.amqp("good-amqp").await;
        let mut neighbours = Self { mqtt, amqp, telemetry };
        neighbours.are_untouched().await;
        neighbours
    }

    /// Both still get their telemetry acknowledged, and no task of the emulator has panicked.
    pub(crate) async fn are_untouched(&mut self) {
        self.mqtt.publish("devices/good-mqtt/messages/events/", b"still here").await;
        let outcome = self.amqp.deliver(self.telemetry, b"still here").await;
        assert_eq!(outcome, Ok(()));
        nothing_panicked();
    }
}
