//! The part of AMQP 1.0 that the loads need, independent of the engine under load: [`value`] is the type system,
//! [`frame`] the frames, [`message`] the sections of a message, [`client`] a connection with one session,
//! [`skim`] what a reader of many messages needs of them.

pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod skim;
pub(crate) mod value;

pub(crate) use client::{Amqp, Link};
pub(crate) use message::Message;
pub(crate) use value::Value;
