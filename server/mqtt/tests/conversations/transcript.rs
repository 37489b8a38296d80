//! Conversations as text, a line a packet, in the order in which they happen:
//!
//! ```text
//! > CONNECT d                                 a new connection; also: clean, keep-alive {s}, sr {resource},
//!                                             user {name}, will {topic} {body}
//! < CONNACK 0 session present 0               compared to the letter, with what the harness makes of packets
//! > SUBSCRIBE 1 {filter} {qos} {filter} {qos}
//! > UNSUBSCRIBE 2 {filter}
//! > PUBLISH [id] [DUP] [RETAIN] {topic} {body}   ␣ is a blank in the topic
//! > PUBACK 1
//! > PINGREQ                                   also DISCONNECT, and LOST: the socket breaks
//! < closed                                    by the hub
//! hub sends {body}                            a cloud-to-device message to `d`
//! hub desires d {json}                        a patch of desired properties
//! hub calls d {method} {payload}              a direct method that nobody waits for
//! hub waits 60                                seconds
//! ```
//!
//! A name before `>` or `<` tells several connections apart. `<rid>` is the id of the latest direct method.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hub::gate::operations::InvokeMethod;
use hub::method::{MethodCall, MethodName};

use crate::harness::*;

/// Plays a conversation from its first line to its last.
pub(crate) async fn play(bench: &Bench, text: &str) {
    let (mut clients, mut rid) = (HashMap::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(event) = line.strip_prefix("hub ") {
            happen(bench, event).await;
            continue;
        }
        let at = line.find(['<', '>']).unwrap_or_else(|| panic!("no line of a conversation: {line}"));
        let (who, (direction, what)) = (line[..at].trim(), line[at..].split_at(1));
        let what = what.trim();
        if direction == ">" && what.starts_with("CONNECT ") {
            let mut client = bench.accept();
            client.send(&connect(bench, what)).await;
            clients.insert(who, client);
        } else if (direction, what) == (">", "LOST") {
            clients.remove(who).expect("somebody was there").vanish().await;
        } else if direction == ">" {
            let client: &mut Client = clients.get_mut(who).expect("CONNECT comes first");
            client.send(&Raw(&packet(&what.replace("<rid>", &rid)))).await;
        } else if what == "closed" {
            clients.remove(who).expect("somebody was there").assert_closed().await;
        } else {
            let got = clients.get_mut(who).expect("CONNECT comes first").next().await;
            match what.split_once("<rid>") {
                Some((before, after)) => {
                    let found = got.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                    rid = found.unwrap_or_else(|| panic!("{got}, instead of {what}")).to_owned();
                }
                None => assert_eq!(got, what, "in the conversation:\n{text}"),
            }
        }
    }
}

async fn happen(bench: &Bench, event: &str) {
    match event.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
        ["sends", body] => bench.send_message(body).await,
        ["desires", id, json @ ..] => {
            bench.patch_desired(id, serde_json::from_str(&json.join(" ")).unwrap()).await;
        }
        ["waits", secs] => {
            bench.clock.advance(Duration::from_secs(secs.parse().unwrap()));
            bench.hub.run_due();
        }
        ["calls", id, name, payload] => {
            let by = bench.owner::<InvokeMethod>(identity(id)).await;
            let call = MethodCall {
                name: MethodName::parse(name).unwrap(),
                payload: Bytes::copy_from_slice(payload.as_bytes()),
                response_timeout: Duration::from_secs(30),
                connect_timeout: Duration::from_secs(30),
            };
            let hub = std::sync::Arc::clone(&bench.hub);
            tokio::spawn(async move { hub.invoke_method(by, call).await });
        }
        _ => panic!("nothing that happens: {event}"),
    }
}

fn connect(bench: &Bench, line: &str) -> Connect {
    let mut words = line.split(' ').skip(1);
    let id = words.next().expect("an identity");
    let mut connect = bench.connect(id);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_else(|| panic!("{word} of what: {line}"));
        match word {
            "clean" => connect.clean_session = true,
            "keep-alive" => connect.keep_alive = next().parse().unwrap(),
            "sr" => connect.password = bench.token_for(next(), &key(), TOKEN_HOURS),
            "user" => connect.username = next().to_owned(),
            "will" => connect.will = Some((next().to_owned(), next().to_owned())),
            other => panic!("no option of CONNECT: {other}"),
        }
    }
    connect
}

fn packet(line: &str) -> Vec<u8> {
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        ["SUBSCRIBE", id, filters @ ..] => {
            let pair = |pair: &[&'_ str]| (pair[0].to_owned(), pair[1].parse().unwrap());
            let filters: Vec<(String, u8)> = filters.chunks(2).map(pair).collect();
            let filters: Vec<_> = filters.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
            Subscribe(id.parse().unwrap(), &filters).bytes()
        }
        ["UNSUBSCRIBE", id, filter] => Unsubscribe(id.parse().unwrap(), filter).bytes(),
        ["PUBACK", id] => PubAck(id.parse().unwrap()).bytes(),
        ["PINGREQ"] => PINGREQ.bytes(),
        ["DISCONNECT"] => DISCONNECT.bytes(),
        ["PUBLISH", rest @ ..] => publish(rest),
        _ => panic!("no packet of a client: {line}"),
    }
}

fn publish(words: &[&str]) -> Vec<u8> {
    let (mut first, mut packet_id, mut words) = (0x30, None, words);
    while let [word, rest @ ..] = words {
        match (*word, word.parse::<u16>()) {
            (_, Ok(id)) => (packet_id, first) = (Some(id), first | 0b0010),
            ("DUP", _) => first |= 0b1000,
            ("RETAIN", _) => first |= 0b0001,
            _ => break,
        }
        words = rest;
    }
    let (topic, body) = words.split_first().expect("a topic");
    let mut bytes = string(&topic.replace('␣', " "));
    bytes.extend(packet_id.map(u16::to_be_bytes).iter().flatten());
    bytes.extend(body.join(" ").bytes());
    frame(first, &bytes)
}
