//! AMQP conversations (contract/amqp.md), one connection to a file: what one SDK sends, frame by frame, and what the
//! hub answers. There are a device `d` and its module `d/m`.
//!
//! ```text
//! > AMQP 0
//! > open(container-id="c" hostname="localhost")
//! < AMQP 0
//! < open/10(container-id="..." max-frame-size=65536)      ten fields on the wire, those that are not null
//! > #1 transfer(handle=0 delivery-id=0)                   channel 1; a message's sections follow
//! >   data(b"{}")
//! > service: PATCH /twins/d {"tags":{"a":1}}              an owner's call meanwhile, which must succeed
//! < closed
//! ```
//!
//! After what the client sends, as many frames are awaited as there are answers, so a new conversation is written with
//! a bare `<` for each, and filled in by `REWRITE_GOLDEN`. Signs of life are not shown.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::frames::{Frames, MORE};
use crate::harness::{Emulator, Port};
use crate::script::{Exchange, Part, Script};
use crate::values::Values;

/// A call of the service side among the lines of a client.
const SERVICE: &str = "service: ";
const TOKEN_SECS: i64 = 3600;

pub(crate) async fn replay(script: Script, emulator: Emulator) -> Script {
    let emulator = Arc::new(emulator);
    emulator.create_device("d").await;
    emulator.create_module_with("d", "m", Value::Object(Default::default())).await;
    let mut tokens = HashMap::new();
    for identity in ["d", "d/m"] {
        tokens.insert(identity, emulator.token(identity, TOKEN_SECS).await);
    }
    let token = |name: &str| tokens.get(name).cloned().unwrap_or_else(|| emulator.policy_token(name));
    let mut frames = Frames::new(emulator.io(Port::Amqps).await);
    let (mut values, mut parts, mut calls) = (Values::new(), Vec::new(), JoinSet::new());
    for part in script.parts {
        let Part::Exchange(exchange) = part else {
            parts.push(part);
            continue;
        };
        let lines: Vec<_> = exchange.request.iter().map(|line| values.fill(line, token)).collect();
        values.ask(&lines.join("\n"));
        match lines.first().and_then(|line| line.strip_prefix(SERVICE)) {
            Some(call) => _ = calls.spawn(serve(Arc::clone(&emulator), call.to_owned())),
            None => frames.send(&lines).await,
        }
        let mut answer = Vec::new();
        for _ in exchange.answer.iter().filter(|line| !line.starts_with(MORE)) {
            for line in frames.next().await {
                values.learn_ids(&line);
                answer.push(values.name(&line));
            }
        }
        parts.push(Part::Exchange(Exchange { answer, ..exchange }));
    }
    calls.join_all().await;
    Script { parts }
}

async fn serve(emulator: Arc<Emulator>, call: String) {
    let mut words = call.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (line, body) = (format!("{} {}", word(), word()), word());
    let answer = emulator.call("iothubowner", &line, &[("If-Match", "*")], body).await;
    assert!(matches!(answer.status, 200 | 201 | 204), "{call}: {} {:?}", answer.status, answer.body);
}
