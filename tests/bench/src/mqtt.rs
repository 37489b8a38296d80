//! The part of MQTT 3.1.1 that the loads need: encoders that append to a buffer, a parser that borrows from one, and
//! a log-in. Independent of the codec under load.

use anyhow::{Context as _, bail, ensure};

use crate::wire::Wire;

pub(crate) const CONNECT: u8 = 1;
pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;

/// Longer than any load lasts; under the 1767 s the hub takes.
const KEEP_ALIVE_SECS: u16 = 900;

/// What a CONNECT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
}

#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a [u8],
    /// `None` at QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet id at the start of a PUBACK, SUBACK or SUBSCRIBE.
    pub(crate) fn id(&self) -> Option<u16> {
        number(self.body)
    }

    pub(crate) fn as_publish(&self) -> Option<Publish<'a>> {
        if self.kind != PUBLISH {
            return None;
        }
        let (topic, rest) = string(self.body)?;
        if self.flags & 0b0110 == 0 {
            return Some(Publish { topic, id: None, payload: rest });
        }
        Some(Publish { topic, id: Some(number(rest)?), payload: rest.get(2..)? })
    }
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.get(2..)?.split_at_checked(usize::from(number(bytes)?))
}

/// The first whole packet with its length in bytes; `None` if more bytes are needed.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Packet<'_>, usize)>> {
    let mut length = 0;
    for (n, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            let (Some(body), Some(first)) = (bytes.get(2 + n..2 + n + length), bytes.first()) else {
                return Ok(None);
            };
            return Ok(Some((Packet { kind: first >> 4, flags: first & 0x0f, body }, 2 + n + length)));
        }
    }
    ensure!(bytes.len() < 5, "a remaining length over four bytes");
    Ok(None)
}

fn put_header(out: &mut Vec<u8>, first: u8, mut length: usize) {
    out.push(first);
    loop {
        let more = u8::from(length > 0x7f) << 7;
        out.push((length & 0x7f) as u8 | more);
        length >>= 7;
        if more == 0 {
            return;
        }
    }
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

/// CONNECT with a clean session.
pub(crate) fn connect(out: &mut Vec<u8>, login: &Login) {
    let fields = [&login.client_id, &login.username, &login.password];
    put_header(out, CONNECT << 4, 10 + fields.iter().map(|field| 2 + field.len()).sum::<usize>());
    put_string(out, b"MQTT");
    let [high, low] = KEEP_ALIVE_SECS.to_be_bytes();
    out.extend_from_slice(&[4, 0xc2, high, low]);
    for field in fields {
        put_string(out, field.as_bytes());
    }
}

/// PUBLISH at QoS 1 with a packet id, at QoS 0 without.
pub(crate) fn publish(out: &mut Vec<u8>, topic: &[u8], id: Option<u16>, payload: &[u8]) {
    let length = 2 + topic.len() + payload.len() + if id.is_some() { 2 } else { 0 };
    put_header(out, PUBLISH << 4 | if id.is_some() { 2 } else { 0 }, length);
    put_string(out, topic);
    out.extend(id.map(u16::to_be_bytes).into_iter().flatten());
    out.extend_from_slice(payload);
}

pub(crate) fn subscribe(out: &mut Vec<u8>, id: u16, filters: &[(&str, u8)]) {
    put_header(
        out,
        SUBSCRIBE << 4 | 2,
        2 + filters.iter().map(|(filter, _)| 3 + filter.len()).sum::<usize>(),
    );
    out.extend_from_slice(&id.to_be_bytes());
    for (filter, qos) in filters {
        put_string(out, filter.as_bytes());
        out.push(*qos);
    }
}

pub(crate) fn puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[PUBACK << 4, 2, high, low]);
}

pub(crate) fn connack(out: &mut Vec<u8>, code: u8) {
    out.extend_from_slice(&[CONNACK << 4, 2, 0, code]);
}

pub(crate) fn suback(out: &mut Vec<u8>, id: u16, qos: u8) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[SUBACK << 4, 3, high, low, qos]);
}

pub(crate) fn bare(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[kind << 4, 0]);
}

/// Sends the CONNECT and waits for consent.
pub(crate) async fn log_in(wire: &mut Wire, login: &Login) -> anyhow::Result<()> {
    connect(&mut wire.out, login);
    wire.flush().await?;
    let code = next(wire, |packet| (packet.kind == CONNACK).then(|| packet.body.get(1).copied())).await?;
    match code {
        Some(0) => Ok(()),
        code => bail!("CONNACK {code:?}"),
    }
}

/// Subscribes to one filter and waits for the grant.
pub(crate) async fn subscribed(wire: &mut Wire, filter: &str, qos: u8) -> anyhow::Result<()> {
    subscribe(&mut wire.out, 1, &[(filter, qos)]);
    wire.flush().await?;
    let granted = next(wire, |packet| (packet.kind == SUBACK).then(|| packet.body.get(2).copied())).await?;
    ensure!(granted.is_some_and(|code| code < 0x80), "SUBACK {granted:?}");
    Ok(())
}

/// Reads until `pick` finds something in a packet.
pub(crate) async fn next<T>(
    wire: &mut Wire,
    mut pick: impl FnMut(&Packet<'_>) -> Option<T>,
) -> anyhow::Result<T> {
    loop {
        while let Some((packet, length)) = parse(wire.arrived())? {
            let picked = pick(&packet);
            wire.take(length);
            if let Some(picked) = picked {
                return Ok(picked);
            }
        }
        ensure!(wire.fill().await?, "the server closed the connection");
    }
}

/// Takes each whole packet that has arrived; `each` may add to the output.
pub(crate) fn drain(
    wire: &mut Wire,
    mut each: impl FnMut(&Packet<'_>, &mut Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut out = std::mem::take(&mut wire.out);
    while let Some((packet, length)) = parse(wire.arrived())? {
        each(&packet, &mut out)?;
        wire.take(length);
    }
    wire.out = out;
    Ok(())
}

/// The packet id that an acknowledgement must have.
pub(crate) fn acknowledged(packet: &Packet<'_>) -> anyhow::Result<Option<u16>> {
    if packet.kind != PUBACK {
        return Ok(None);
    }
    Ok(Some(packet.id().context("a PUBACK without its packet id")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_reads_back_whole_and_waits_while_a_byte_is_missing() {
        for size in [0, 100, 127, 128, 20_000] {
            let payload = vec![7; size];
            let mut out = Vec::new();
            publish(&mut out, b"a/b", Some(9), &payload);
            assert!(parse(&out[..out.len() - 1]).unwrap().is_none());
            let (packet, length) = parse(&out).unwrap().unwrap();
            assert_eq!(length, out.len());
            assert_eq!(packet.as_publish(), Some(Publish { topic: b"a/b", id: Some(9), payload: &payload }));
        }
    }

    #[test]
    fn a_length_of_five_bytes_is_refused() {
        assert!(parse(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
