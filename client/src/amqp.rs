//! AMQP 1.0 as IoT Hub speaks it (contract/amqp.md), on fe2o3-amqp. `connection` owns connection and session,
//! `cbs` shows tokens, `twin` and `telemetry` are the links of those names, `message` their encoding, `failure`
//! turns the library's errors into ours, `link` offers the operations.

mod cbs;
mod connection;
mod failure;
mod link;
mod message;
mod telemetry;
mod twin;

pub(crate) use self::link::AmqpLink;
