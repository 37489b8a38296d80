//! The one numbered rule of contract/amqp.md 1.3 that is about what clients write: booleans and descriptors have several
//! legal spellings, and all of them mean the same.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::amqp::{AMQP_HEADER, raw_frame};
use crate::harness::watch::{in_time, read_to_the_end};
use crate::harness::{Emulator, Port};

/// How a client writes what can be written in more than one way.
#[derive(Clone, Copy, Debug)]
struct Spelling {
    descriptor: fn(code: u8, name: &str) -> Vec<u8>,
    no: &'static [u8],
    yes: &'static [u8],
}

const SHORT: fn(u8, &str) -> Vec<u8> = |code, _| vec![0x53, code];
const LONG: fn(u8, &str) -> Vec<u8> = |code, _| vec![0x80, 0, 0, 0, 0, 0, 0, 0, code];
const SYMBOL: fn(u8, &str) -> Vec<u8> = |_, name| [&[0xA3, name.len() as u8], name.as_bytes()].concat();

const PLAIN: Spelling = Spelling { descriptor: SHORT, no: &[0x42], yes: &[0x41] };

impl Spelling {
    /// A described list.
    fn list(self, code: u8, name: &str, fields: &[&[u8]]) -> Vec<u8> {
        let body = fields.concat();
        let list = [&[0xC0, body.len() as u8 + 1, fields.len() as u8], &body[..]].concat();
        [&[0x00], &(self.descriptor)(code, name)[..], &list].concat()
    }

    fn frame(self, code: u8, name: &str, fields: &[&[u8]]) -> Vec<u8> {
        let body = self.list(code, name, fields);
        raw_frame(8 + body.len() as u32, 2, 0, &body)
    }

    /// A link to and one from `$cbs`, closed, and goodbye.
    fn conversation(self) -> Vec<u8> {
        let (null, zero, one): (&[u8], &[u8], &[u8]) = (&[0x40], &[0x43], &[0x52, 1]);
        // These come back as they are written (rule 6), so they are written alike in all conversations.
        let from_us = PLAIN.list(0x28, "amqp:source:list", &[null]);
        let to = PLAIN.list(0x29, "amqp:target:list", &[b"\xA1\x04$cbs"]);
        let from = PLAIN.list(0x28, "amqp:source:list", &[b"\xA1\x04$cbs"]);
        let to_us = PLAIN.list(0x29, "amqp:target:list", &[null]);
        let attach = "amqp:attach:list";
        [
            AMQP_HEADER.to_vec(),
            self.frame(0x10, "amqp:open:list", &[b"\xA1\x01c", null]),
            self.frame(0x11, "amqp:begin:list", &[null, zero, b"\x70\0\0\0\x64", b"\x70\0\0\0\x64"]),
            self.frame(
                0x12,
                attach,
                &[b"\xA1\x02to", zero, self.no, null, null, &from_us, &to, null, self.no, zero],
            ),
            self.frame(0x12, attach, &[b"\xA1\x04from", one, self.yes, null, null, &from, &to_us]),
            self.frame(0x16, "amqp:detach:list", &[zero, self.yes]),
            self.frame(0x16, "amqp:detach:list", &[one, self.yes]),
            self.frame(0x18, "amqp:close:list", &[null]),
        ]
        .concat()
    }
}

/// The bodies of the frames the hub answers with, from its begin on: its open may say who it is.
async fn answers(emulator: &Emulator, spelling: Spelling) -> Vec<Vec<u8>> {
    let mut io = emulator.io(Port::Amqps).await;
    in_time("sending", io.write_all(&spelling.conversation())).await.expect("the hub reads");
    io.flush().await.expect("the hub reads");
    let mut header = [0; 8];
    in_time("the protocol header", io.read_exact(&mut header)).await.expect("a protocol header");
    assert_eq!(&header, AMQP_HEADER);
    let said = read_to_the_end(&mut io).await;
    let (mut rest, mut frames) = (&said[..], Vec::new());
    while let Some((size, _)) = rest.split_first_chunk::<4>() {
        let (frame, after) = rest.split_at(u32::from_be_bytes(*size) as usize);
        frames.push(frame[8..].to_vec());
        rest = after;
    }
    frames.split_off(1)
}

#[tokio::test]
async fn rule_9_booleans_and_descriptors_mean_the_same_in_every_spelling() {
    let emulator = Emulator::start().await;
    let expected = answers(&emulator, PLAIN).await;
    let kinds: Vec<_> = expected.iter().map(|frame| frame[2]).collect();
    // Begin, both attaches and credit for the sender, both detaches, close.
    assert_eq!(kinds, [0x11, 0x12, 0x13, 0x12, 0x16, 0x16, 0x18]);
    assert!(expected.last().is_some_and(|close| close.ends_with(&[0x40])), "closed without an error");
    for descriptor in [SHORT, LONG, SYMBOL] {
        for (no, yes) in [(&[0x42][..], &[0x41][..]), (&[0x56, 0], &[0x56, 1])] {
            let spelling = Spelling { descriptor, no, yes };
            assert_eq!(answers(&emulator, spelling).await, expected, "{spelling:?}");
        }
    }
}
