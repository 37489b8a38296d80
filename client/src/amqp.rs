//! AMQP 1.0 as IoT Hub speaks it (contract/amqp.md), on fe2o3-amqp. `connection` owns connection and session,
//! `cbs` shows tokens, `twin` and `telemetry` are the links of those names, `message` their encoding, `failure`
//! turns the library's errors into ours, `link` offers the operations. For event hubs (contract/eventhubs.md) there
//! are `event_hub` with a connection's operations, `management` with its questions, and `event` with what is read.

mod cbs;
mod connection;
mod event;
mod event_hub;
mod failure;
mod link;
mod management;
mod message;
mod telemetry;
mod twin;

pub(crate) use self::event_hub::{EventHubLink, EventHubSettings, EventLink};
pub(crate) use self::link::AmqpLink;
