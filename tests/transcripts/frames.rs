//! AMQP frames as lines of a transcript and back.

use bytes::{Buf as _, BytesMut};
use net::Io;
use serde_amqp::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::watch::in_time;
use crate::notation;

/// A protocol header, by the number of its layer.
const HEADER: &str = "AMQP ";
/// How a line that belongs to the one before begins.
pub(crate) const MORE: &str = "  ";
/// What the end of the connection is called.
const CLOSED: &str = "closed";
const SASL_FRAME: u8 = 1;

/// A connection of which every byte is shown.
pub(crate) struct Frames {
    io: Io,
    input: BytesMut,
}

impl Frames {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, input: BytesMut::new() }
    }

    /// Sends what consecutive lines say, in one write.
    pub(crate) async fn send(&mut self, lines: &[String]) {
        let mut bytes = Vec::new();
        let mut lines = lines.iter().map(String::as_str).peekable();
        while let Some(line) = lines.next() {
            if let Some(layer) = line.strip_prefix(HEADER) {
                bytes.extend([b"AMQP", &[layer.parse().expect("a layer"), 1, 0, 0][..]].concat());
                continue;
            }
            let (channel, performative) = match line.strip_prefix('#').and_then(|rest| rest.split_once(' ')) {
                Some((channel, rest)) => (channel.parse::<u16>().expect("a channel"), rest),
                None => (0, line),
            };
            let mut body = encoded(performative);
            while let Some(section) = lines.next_if(|line| line.starts_with(MORE)) {
                body.extend(encoded(section));
            }
            let kind = if performative.starts_with("sasl-") { SASL_FRAME } else { 0 };
            bytes.extend((8 + body.len() as u32).to_be_bytes());
            bytes.extend([2, kind]);
            bytes.extend(channel.to_be_bytes());
            bytes.extend(body);
        }
        in_time("sending", self.io.write_all(&bytes)).await.expect("the connection takes bytes");
        self.io.flush().await.expect("the connection takes bytes");
    }

    /// The lines of the next frame that is not just a sign of life.
    pub(crate) async fn next(&mut self) -> Vec<String> {
        loop {
            if !self.fill(8).await {
                assert!(self.input.is_empty(), "the connection ended inside a frame");
                return vec![CLOSED.to_owned()];
            }
            if self.input.starts_with(b"AMQP") {
                let header = self.input.split_to(8);
                assert_eq!(header[5..], [1, 0, 0], "the version");
                return vec![format!("{HEADER}{}", header[4])];
            }
            let size = u32::from_be_bytes(self.input[..4].try_into().expect("four bytes"));
            assert!(self.fill(size as usize).await, "the connection ended inside a frame");
            let frame = self.input.split_to(size as usize);
            assert_eq!(frame[4], 2, "the data offset");
            let channel = u16::from_be_bytes([frame[6], frame[7]]);
            if frame.len() > 8 {
                return shown(channel, &frame[8..]);
            }
        }
    }

    async fn fill(&mut self, bytes: usize) -> bool {
        while self.input.len() < bytes {
            match in_time("a frame or the end", self.io.read_buf(&mut self.input)).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }
}

fn encoded(text: &str) -> Vec<u8> {
    serde_amqp::to_vec(&notation::read(text)).expect("a value encodes")
}

/// The performative with its channel, unless that is 0, and the number of its fields; then the sections of a message.
fn shown(channel: u16, body: &[u8]) -> Vec<String> {
    // contract/amqp.md 1.3, rule 2: a small number, and a list that says how many fields it has.
    assert!(matches!(body, [0, 0x53, _, 0xc0 | 0xd0, ..]), "a performative begins with {:02x?}", &body[..4]);
    let count = match body[3] {
        0xc0 => u32::from(body[5]),
        _ => u32::from_be_bytes(body[8..12].try_into().expect("four bytes")),
    };
    let mut rest = body.reader();
    let performative = serde_amqp::from_reader(&mut rest).expect("a value");
    let Value::Described(performative) = performative else { panic!("a performative is described") };
    let (kind, fields) = notation::parts(&performative);
    let channel = if channel == 0 { String::new() } else { format!("#{channel} ") };
    let mut lines = vec![format!("{channel}{}/{count}({fields})", kind.name)];
    while !rest.get_ref().is_empty() {
        let section: Value = serde_amqp::from_reader(&mut rest).expect("a section");
        lines.push(format!("{MORE}{}", notation::write(&section)));
    }
    lines
}
