//! A local Azure IoT Hub in one process: the assembly that knows every room.
//!
//! In reading order:
//! - [`app`]: configuration in, running hub out; the program on one page.
//! - [`config`]: what can be set, where from, and what holds.
//! - [`certificates`], [`tls`], [`state_folder`], [`endpoints`]: what the process shows and leaves to others.
//! - [`listen`]: ports, the accept loop, HTTP; [`ticker`] and [`drain`]: time and the end.
//! - [`observe`]: the log. [`cli`]: commands; the only place that prints.

pub mod app;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod drain;
pub mod endpoints;
pub mod listen;
pub mod observe;
pub mod state_folder;
pub mod ticker;
pub mod tls;
