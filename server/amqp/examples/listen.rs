//! A hub with the device `d1` and its module `d1/m1` behind a plain AMQP port, for trying clients by hand:
//! `cargo run -p amqp --example listen -- 127.0.0.1:5672`. Prints one JSON line with port and keys.

use std::sync::Arc;

use amqp::AmqpOptions;
use hub::time::SystemClock;
use net::{Carrier, Io};
use tokio::net::TcpListener;

#[path = "../tests/head/world.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it belongs to the tests, which use more of it")]
mod world;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address).await?;
    let world = world::World::new(Arc::new(SystemClock), AmqpOptions::default());
    let device = world.device("d1").await;
    let module = world.module("d1", "m1").await;
    let facts = serde_json::json!({
        "port": listener.local_addr()?.port(),
        "deviceKey": world.key(&device).to_base64(),
        "moduleKey": world.key(&module).to_base64(),
    });
    println!("{facts}");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        world.serve(Io::new(stream), Carrier::Tcp, None);
    }
}
