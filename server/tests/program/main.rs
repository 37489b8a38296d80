//! The program as its users meet it: commands, exit codes, what is printed where. Each test owns its state folder
//! and its process, and lets the system pick the ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod commands;
mod process;
mod serving;
