//! Everything a server says, one function per frame, gathered in one buffer (contract/amqp.md 1.2, 1.3).
//!
//! The connection writes the buffer when nothing more is waiting to be read, so answers to pipelined requests
//! share a write, and neighbouring `accepted` outcomes share one disposition.

use bytes::{Bytes, BytesMut};

use super::attach::Attach;
use super::encode::{FRAME_AMQP, FRAME_HEADER_BYTES, FRAME_SASL, Writer};
use super::frame::FRAME_BYTES_MAX;
use super::unsettled::Tag;
use super::{CHANNEL_MAX, Condition, HANDLE_MAX, IDLE_TIMEOUT, Info, Outcome, SESSION_WINDOW};

/// Smallest frame any peer takes; AMQP 1.0 part 2.
const PEER_FRAME_BYTES_MIN: u32 = 512;
/// Larger frames gain nothing, and Java's WebSocket layer buffers 65 KiB (contract/amqp.md 1).
const PEER_FRAME_BYTES_MAX: u32 = FRAME_BYTES_MAX;

/// Frames waiting to be written.
#[derive(Debug)]
pub(crate) struct Output {
    buffer: BytesMut,
    peer_frame_bytes: usize,
    accepted: Option<AcceptedRange>,
}

/// Deliveries of one session accepted in a row.
#[derive(Debug)]
struct AcceptedRange {
    channel: u16,
    first: u32,
    last: u32,
}

/// An encoded message in two parts, so that a body goes out from where it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageParts<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> MessageParts<'a> {
    pub(crate) const fn len(self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What of each part lies between two places of the whole.
    fn range(self, from: usize, to: usize) -> (&'a [u8], &'a [u8]) {
        let head = self.head.len();
        let of_head = self.head.get(from.min(head)..to.min(head));
        let of_body = self.body.get(from.saturating_sub(head)..to.saturating_sub(head));
        (of_head.unwrap_or_default(), of_body.unwrap_or_default())
    }
}

/// The state a session's flow carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionState {
    pub(crate) next_incoming_id: u32,
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing_id: u32,
}

/// The state a link's flow carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkState {
    pub(crate) handle: u32,
    pub(crate) delivery_count: u32,
    pub(crate) credit: u32,
    pub(crate) drain: bool,
}

/// What our answer to an attach promises.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offer<'a> {
    /// Largest message a client may send on the link.
    pub(crate) max_message_bytes: u64,
    /// What the client desired, and gets.
    pub(crate) capability: Option<&'a str>,
}

/// One transfer frame's own fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransferHead {
    pub(crate) handle: u32,
    pub(crate) delivery_id: u32,
    pub(crate) tag: Tag,
    pub(crate) settled: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), peer_frame_bytes: PEER_FRAME_BYTES_MIN as usize, accepted: None }
    }

    /// Limits frames to what the peer announced.
    pub(crate) fn set_peer_frame_bytes(&mut self, announced: u32) {
        self.peer_frame_bytes = announced.clamp(PEER_FRAME_BYTES_MIN, PEER_FRAME_BYTES_MAX) as usize;
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Makes room at once for frames whose size is known before.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes);
    }

    /// Whole frames, ready to be written; leaves nothing allocated behind.
    pub(crate) fn take(&mut self) -> Bytes {
        self.flush_accepted();
        std::mem::take(&mut self.buffer).freeze()
    }

    pub(crate) fn protocol_header(&mut self, header: &[u8]) {
        self.buffer.extend_from_slice(header);
    }

    pub(crate) fn sasl_mechanisms(&mut self, mechanisms: &[&str]) {
        Writer(&mut self.buffer).frame(FRAME_SASL, 0, |w| w.composite(0x40, 1, |w| w.symbols(mechanisms)));
    }

    pub(crate) fn sasl_outcome(&mut self, code: u8) {
        Writer(&mut self.buffer).frame(FRAME_SASL, 0, |w| {
            w.composite(0x44, 2, |w| {
                w.ubyte(code);
                w.null();
            });
        });
    }

    pub(crate) fn empty(&mut self) {
        Writer(&mut self.buffer).frame(FRAME_AMQP, 0, |_| {});
    }

    pub(crate) fn open(&mut self, container_id: &str) {
        self.frame(0, 0x10, 10, |w| {
            w.string(container_id);
            w.null();
            w.uint(FRAME_BYTES_MAX);
            w.ushort(CHANNEL_MAX);
            w.uint(IDLE_TIMEOUT.as_millis() as u32);
            w.nulls(5);
        });
    }

    pub(crate) fn begin(&mut self, channel: u16) {
        self.frame(channel, 0x11, 8, |w| {
            w.ushort(channel);
            w.uint(0);
            w.uint(SESSION_WINDOW);
            w.uint(SESSION_WINDOW);
            w.uint(HANDLE_MAX);
            w.nulls(3);
        });
    }

    /// Answers an attach: with both ends as the client gave them, or with neither, which announces a refusal.
    pub(crate) fn attach(&mut self, channel: u16, attach: &Attach, accepted: bool, offer: Offer<'_>) {
        self.frame(channel, 0x12, 14, |w| {
            w.encoded(Some(&attach.name));
            w.uint(attach.handle);
            w.bool(!attach.client_receives);
            w.ubyte(attach.snd_settle_mode.unwrap_or(2));
            w.ubyte(attach.rcv_settle_mode.unwrap_or(0));
            w.encoded(attach.source.as_deref().filter(|_| accepted));
            w.encoded(attach.target.as_deref().filter(|_| accepted));
            w.null();
            w.bool(false);
            w.optional_uint(attach.client_receives.then_some(0));
            w.ulong(offer.max_message_bytes);
            match offer.capability {
                Some(capability) => w.symbols(&[capability]),
                None => w.null(),
            }
            w.nulls(2);
        });
    }

    pub(crate) fn flow(&mut self, channel: u16, session: SessionState, link: Option<LinkState>) {
        self.frame(channel, 0x13, 11, |w| {
            w.uint(session.next_incoming_id);
            w.uint(session.incoming_window);
            w.uint(session.next_outgoing_id);
            w.uint(SESSION_WINDOW);
            w.optional_uint(link.map(|link| link.handle));
            w.optional_uint(link.map(|link| link.delivery_count));
            w.optional_uint(link.map(|link| link.credit));
            w.null();
            w.bool(link.is_some_and(|link| link.drain));
            w.bool(false);
            w.null();
        });
    }

    /// Writes one transfer frame with as much of a message behind its first `sent` bytes as fits the peer's frames;
    /// returns how much that was.
    pub(crate) fn transfer(
        &mut self,
        channel: u16,
        head: TransferHead,
        message: MessageParts<'_>,
        sent: usize,
    ) -> usize {
        self.flush_accepted();
        let limit = self.peer_frame_bytes;
        let mut taken = 0;
        Writer(&mut self.buffer).frame(FRAME_AMQP, channel, |w| {
            let start = w.0.len();
            let more_at = transfer_fields(w, head);
            let room = limit - FRAME_HEADER_BYTES - (w.0.len() - start);
            let left = message.len() - sent;
            taken = left.min(room);
            if taken < left
                && let Some(more) = w.0.get_mut(more_at)
            {
                *more = 0x41;
            }
            let (first, second) = message.range(sent, sent + taken);
            w.0.extend_from_slice(first);
            w.0.extend_from_slice(second);
        });
        taken
    }

    /// Settles a received delivery, or our own when `as_sender`.
    pub(crate) fn disposition(
        &mut self,
        channel: u16,
        as_sender: bool,
        first: u32,
        last: u32,
        outcome: &Outcome<'_>,
    ) {
        if matches!(outcome, Outcome::Accepted) && !as_sender && first == last {
            return self.accept(channel, first);
        }
        self.frame(channel, 0x15, 6, |w| {
            w.bool(!as_sender);
            w.uint(first);
            w.uint(last);
            w.bool(true);
            write_outcome(w, outcome);
            w.bool(false);
        });
    }

    pub(crate) fn detach(&mut self, channel: u16, handle: u32, closed: bool, error: Option<&Condition>) {
        self.frame(channel, 0x16, 3, |w| {
            w.uint(handle);
            w.bool(closed);
            write_error(w, error);
        });
    }

    pub(crate) fn end(&mut self, channel: u16, error: Option<&Condition>) {
        self.frame(channel, 0x17, 1, |w| write_error(w, error));
    }

    pub(crate) fn close(&mut self, error: Option<&Condition>) {
        self.frame(0, 0x18, 1, |w| write_error(w, error));
    }

    /// Every frame but a transfer goes through here, so that order on the wire is order of calls.
    fn frame(&mut self, channel: u16, code: u8, fields: usize, write: impl FnOnce(&mut Writer<'_>)) {
        self.flush_accepted();
        Writer(&mut self.buffer).frame(FRAME_AMQP, channel, |w| w.composite(code, fields, write));
    }

    fn accept(&mut self, channel: u16, id: u32) {
        match &mut self.accepted {
            Some(range) if range.channel == channel && range.last.wrapping_add(1) == id => range.last = id,
            _ => {
                self.flush_accepted();
                self.accepted = Some(AcceptedRange { channel, first: id, last: id });
            }
        }
    }

    fn flush_accepted(&mut self) {
        let Some(AcceptedRange { channel, first, last }) = self.accepted.take() else { return };
        self.frame(channel, 0x15, 6, |w| {
            w.bool(true);
            w.uint(first);
            w.uint(last);
            w.bool(true);
            write_outcome(w, &Outcome::Accepted);
            w.bool(false);
        });
    }
}

/// All eleven fields; the payload stands behind the eleventh (contract/amqp.md 1.3.1). Returns where `more` is.
fn transfer_fields(writer: &mut Writer<'_>, head: TransferHead) -> usize {
    let mut from_end = 0;
    writer.composite(0x14, 11, |w| {
        w.uint(head.handle);
        w.uint(head.delivery_id);
        w.binary(&head.tag);
        w.uint(0);
        w.bool(head.settled);
        from_end = w.0.len();
        w.bool(false);
        w.nulls(2);
        w.bool(false);
        w.bool(false);
        w.bool(false);
        from_end = w.0.len() - from_end;
    });
    writer.0.len() - from_end
}

fn write_outcome(writer: &mut Writer<'_>, outcome: &Outcome<'_>) {
    match outcome {
        Outcome::Accepted => {
            writer.descriptor(0x24);
            writer.0.extend_from_slice(&[0x45]);
        }
        Outcome::Rejected(error) => writer.composite(0x25, 1, |w| write_error(w, Some(error))),
    }
}

/// All three fields, the map included: Python reads element 2 of a close error (contract/amqp.md 1.3.1).
fn write_error(writer: &mut Writer<'_>, error: Option<&Condition>) {
    let Some(error) = error else { return writer.null() };
    writer.composite(0x1D, 3, |w| {
        w.symbol(error.name);
        w.string(&error.description);
        w.map(error.info.len(), |w| {
            for (key, value) in &error.info {
                w.symbol(key);
                match value {
                    Info::Text(text) => w.string(text),
                    Info::Uint(number) => w.uint(*number),
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::super::value::{described, encoded_len, items};
    use super::*;

    /// The performative's code, its number of fields and how many payload bytes follow it.
    fn shape(frame: &[u8]) -> (u64, usize, usize) {
        let body = &frame[8..];
        let length = encoded_len(body).unwrap();
        let (code, list) = described(&body[..length], &[]).unwrap();
        assert_ne!(list[0], 0x45, "an empty list stands for a performative");
        let mut fields = items(list).unwrap();
        let mut count = 0;
        while fields.next_item().unwrap().is_some() {
            count += 1;
        }
        (code, count, body.len() - length)
    }

    fn written(write: impl FnOnce(&mut Output)) -> Bytes {
        let mut output = Output::new();
        write(&mut output);
        output.take()
    }

    fn parts<'a>(head: &'a [u8], body: &'a [u8]) -> MessageParts<'a> {
        MessageParts { head, body }
    }

    fn attach() -> Attach {
        let null = Bytes::from_static(&[0xA1, 1, b'n']);
        Attach {
            name: null,
            handle: 3,
            client_receives: true,
            snd_settle_mode: None,
            rcv_settle_mode: None,
            source: None,
            target: None,
            properties: None,
            desired_capabilities: None,
        }
    }

    #[test]
    fn every_performative_has_the_number_of_fields_the_contract_lists() {
        let session = SessionState { next_incoming_id: 0, incoming_window: 1, next_outgoing_id: 2 };
        let error = Condition::new("amqp:not-found", "gone");
        let head = TransferHead { handle: 0, delivery_id: 0, tag: [0; 16], settled: true };
        for (code, fields, frame) in [
            (0x10, 10, written(|o| o.open("c"))),
            (0x11, 8, written(|o| o.begin(0))),
            (0x12, 14, written(|o| o.attach(0, &attach(), true, Offer::default()))),
            (0x13, 11, written(|o| o.flow(0, session, None))),
            (0x14, 11, written(|o| assert_eq!(o.transfer(0, head, parts(b"", b""), 0), 0))),
            (0x15, 6, written(|o| o.disposition(0, false, 1, 1, &Outcome::Accepted))),
            (0x16, 3, written(|o| o.detach(0, 0, true, None))),
            (0x17, 1, written(|o| o.end(0, Some(&error)))),
            (0x18, 1, written(|o| o.close(None))),
        ] {
            assert_eq!(shape(&frame), (code, fields, 0));
        }
    }

    #[test]
    fn a_payload_larger_than_the_peers_frames_is_split_and_marked() {
        let mut output = Output::new();
        output.set_peer_frame_bytes(4096);
        let head = TransferHead { handle: 0, delivery_id: 7, tag: [1; 16], settled: false };
        let payload = vec![5; 10_000];
        let first = output.transfer(0, head, parts(&payload, b""), 0);
        let frame = output.take();
        assert_eq!(frame.len(), 4096);
        assert_eq!(shape(&frame), (0x14, 11, first));
        let (_, list) = described(&frame[8..frame.len() - first], &[]).unwrap();
        let mut fields = items(list).unwrap();
        for _ in 0..5 {
            fields.next_item().unwrap();
        }
        assert_eq!(fields.next_item().unwrap(), Some(&[0x41][..]));
        assert_eq!(output.transfer(0, head, parts(&payload, b""), 9_000), 1000);
    }

    #[test]
    fn a_message_in_two_parts_goes_out_as_one_wherever_it_is_cut() {
        let whole: Vec<u8> = (0..2_000).map(|n| n as u8).collect();
        let head = TransferHead { handle: 0, delivery_id: 7, tag: [1; 16], settled: false };
        for at in [0, 1, 400, 1_000, 2_000] {
            let (first, second) = whole.split_at(at);
            let mut output = Output::new();
            let (mut sent, mut joined) = (0, Vec::new());
            while sent < whole.len() {
                let taken = output.transfer(0, head, parts(first, second), sent);
                let frame = output.take();
                assert!(frame.len() <= 512);
                joined.extend_from_slice(&frame[frame.len() - taken..]);
                sent += taken;
            }
            assert_eq!(joined, whole, "cut at {at}");
        }
    }

    #[test]
    fn deliveries_accepted_in_a_row_share_a_disposition() {
        let frames = written(|o| (4..9).for_each(|id| o.disposition(2, false, id, id, &Outcome::Accepted)));
        let size = u32::from_be_bytes(frames[..4].try_into().unwrap()) as usize;
        assert_eq!(size, frames.len());
        let (_, list) = described(&frames[8..], &[]).unwrap();
        let mut fields = items(list).unwrap();
        assert_eq!(fields.next_item().unwrap(), Some(&[0x41][..]));
        assert_eq!(fields.next_item().unwrap(), Some(&[0x52, 4][..]));
        assert_eq!(fields.next_item().unwrap(), Some(&[0x52, 8][..]));
    }

    #[test]
    fn a_tiny_frame_size_of_the_peer_is_raised_to_the_least_the_standard_allows() {
        let mut output = Output::new();
        output.set_peer_frame_bytes(1);
        let head = TransferHead { handle: 0, delivery_id: 7, tag: [1; 16], settled: false };
        assert!(output.transfer(0, head, parts(&[0; 600], b""), 0) > 400);
    }
}
