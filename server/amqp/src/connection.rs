//! One connection's bytes and clocks (contract/amqp.md 1.2): read, let the links act, write, and no client may
//! hold a socket without opening it, authenticating on it, or showing signs of life.
//!
//! Everything of a connection happens in one task. A delivery is handled to its end before the next is looked
//! at, so a gate that waits stops the reading, and TCP slows the client.

use std::future::Future;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _};
use net::{Carrier, Io, PeerInfo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::AmqpHead;
use crate::engine::frame::FRAME_BYTES_MAX;
use crate::engine::{Condition, Engine, IDLE_TIMEOUT};
use crate::links::Links;
use crate::names::conditions;

/// Answers are written once this much of them waits, even if more requests do.
const WRITE_THRESHOLD_BYTES: usize = 32 * 1024;
/// Answers are written once the last write is this long ago, even if more requests wait.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Room of the first read after a pause; what an idle connection holds.
const IDLE_READ_BYTES: usize = 512;
/// Room of a read while a client sends steadily.
const BUSY_READ_BYTES: usize = 16 * 1024;
/// How long a client may leave our bytes unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to leave by itself after its links were detached.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long we wait for a client's close after ours.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Heartbeats are not sent more often than this, however short a silence the client asks for.
const HEARTBEAT_MIN: Duration = Duration::from_millis(250);

/// One connection.
pub(crate) struct Connection<'h> {
    io: Io,
    carrier: Carrier,
    engine: Engine,
    links: Links<'h>,
    clocks: Clocks,
    read_bytes: usize,
}

impl<'h> Connection<'h> {
    pub(crate) fn new(head: &'h AmqpHead, io: Io, peer: PeerInfo) -> Self {
        Self {
            io,
            carrier: peer.carrier,
            engine: Engine::new(),
            clocks: Clocks::new(head),
            links: Links::new(head, peer),
            read_bytes: IDLE_READ_BYTES,
        }
    }

    /// Serves the connection until it is over.
    pub(crate) async fn run(mut self, drain: &CancellationToken) {
        let ended = self.converse(drain).await;
        self.links.clear();
        match ended {
            Ok(()) => tracing::debug!("connection over"),
            Err(error) => tracing::debug!("connection lost: {error}"),
        }
        // Whoever is still there learns that nothing more comes; a socket that is gone has nothing to say to that.
        let _ = timeout(CLOSE_TIMEOUT, self.io.shutdown()).await;
    }

    async fn converse(&mut self, drain: &CancellationToken) -> std::io::Result<()> {
        let mut alarm = std::pin::pin!(sleep_until(self.clocks.next_alarm(&self.engine, &self.links)));
        let mut is_draining = false;
        loop {
            self.handle_received().await?;
            self.flush().await?;
            if self.engine.is_done() {
                return Ok(());
            }
            self.clocks.note_state(&self.engine, &self.links);
            let due = self.clocks.next_alarm(&self.engine, &self.links);
            if due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = drain.cancelled(), if !is_draining => {
                    is_draining = true;
                    let condition = Condition::new(conditions::CONNECTION_FORCED, "the hub is stopping");
                    if self.links.ask_to_leave(&mut self.engine) {
                        self.links.leaving = Some(condition);
                    } else {
                        self.engine.close(Some(&condition));
                    }
                }
                () = alarm.as_mut() => {
                    if self.on_alarm() == Alarm::HangUp {
                        return Ok(());
                    }
                    alarm.as_mut().reset(self.clocks.next_alarm(&self.engine, &self.links));
                }
                Some(delivery) = self.links.deliveries.next() => {
                    self.links.on_session_delivery(delivery, &mut self.engine).await;
                }
                read = read_into(&mut self.io, self.engine.input(), self.read_bytes) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.on_read();
                }
                wake = self.links.service.wakes() => {
                    self.links.on_wake(wake, &mut self.engine).await;
                }
            }
        }
    }

    /// Lets the links act on everything received and on everything the core has for them.
    async fn handle_received(&mut self) -> std::io::Result<()> {
        while let Some(event) = self.engine.next_event() {
            self.links.on_event(event, &mut self.engine).await;
            // A throttle may make each of many deliveries wait: their outcomes, and signs of life, must not wait for all.
            let is_late = self.clocks.last_write.elapsed() >= WRITE_INTERVAL;
            if is_late || self.engine.output_len() >= WRITE_THRESHOLD_BYTES {
                self.flush().await?;
            }
        }
        while let Some(Some(delivery)) = self.links.deliveries.next().now_or_never() {
            self.links.on_session_delivery(delivery, &mut self.engine).await;
            if self.engine.output_len() >= WRITE_THRESHOLD_BYTES {
                self.flush().await?;
            }
        }
        // Once only: a reader far behind always has more, and its client is to be heard in between.
        if let Some(wake) = self.links.service.wakes().now_or_never() {
            self.links.on_wake(wake, &mut self.engine).await;
        }
        Ok(())
    }

    /// Reads grow once one fills up, and shrink once one brings little.
    fn on_read(&mut self) {
        self.clocks.last_read = Instant::now();
        let waiting = self.engine.input().len();
        if waiting >= self.read_bytes {
            self.read_bytes = BUSY_READ_BYTES;
        } else if waiting < IDLE_READ_BYTES {
            self.read_bytes = IDLE_READ_BYTES;
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        let mut output = self.engine.take_output();
        if output.is_empty() {
            return Ok(());
        }
        self.clocks.last_write = Instant::now();
        while !output.is_empty() {
            let part = match self.carrier {
                // One write is one WebSocket message (contract/amqp.md 1: whole frames, under 64 KiB).
                Carrier::WebSocket => whole_frames(&mut output),
                Carrier::Tcp | Carrier::Tls => std::mem::take(&mut output),
            };
            in_time(self.io.write_all(&part)).await?;
        }
        in_time(self.io.flush()).await
    }

    fn on_alarm(&mut self) -> Alarm {
        match self.clocks.due(&self.engine, &self.links) {
            Due::Nothing => {}
            Due::Heartbeat => self.engine.heartbeat(),
            Due::HangUp(reason) => {
                tracing::debug!("closing the connection: {reason}");
                return Alarm::HangUp;
            }
            Due::Close => self.close(&Condition::new(
                conditions::UNAUTHORIZED_ACCESS,
                "no token was put and no link attached with a certificate in time",
            )),
            Due::Leave => {
                self.clocks.asked_to_leave = None;
                if let Some(condition) = self.links.overstayed() {
                    self.close(&condition);
                }
            }
        }
        Alarm::Handled
    }

    fn close(&mut self, condition: &Condition) {
        tracing::debug!(code = condition.name, "closing the connection: {}", condition.description);
        self.engine.close(Some(condition));
        self.links.clear();
    }
}

#[derive(PartialEq, Eq)]
enum Alarm {
    Handled,
    HangUp,
}

/// Reads once. Cancel-safe: what was read is in `input`, and `input` outlives the future.
async fn read_into(io: &mut Io, input: &mut BytesMut, room: usize) -> std::io::Result<usize> {
    if input.is_empty() && input.capacity() != room {
        // A new buffer, so that an idle connection holds little and an event does not pin an old one.
        *input = BytesMut::with_capacity(room);
    }
    if input.capacity() - input.len() < room / 2 {
        input.reserve(room);
    }
    io.read_buf(input).await
}

async fn in_time(write: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    match timeout(WRITE_TIMEOUT, write).await {
        Ok(written) => written,
        Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the client does not read")),
    }
}

/// Takes as many whole frames as fit one WebSocket message.
fn whole_frames(output: &mut Bytes) -> Bytes {
    let mut length = 0;
    while let Some(rest) = output.get(length..).filter(|rest| !rest.is_empty()) {
        let size = match rest.first_chunk::<4>() {
            // The protocol header, which is no frame.
            Some(b"AMQP") => 8,
            Some(size) => u32::from_be_bytes(*size) as usize,
            None => rest.len(),
        };
        if length > 0 && length + size > FRAME_BYTES_MAX as usize {
            break;
        }
        length += size;
    }
    let frames = output.slice(..length.min(output.len()));
    output.advance(frames.len());
    frames
}

/// When something was last heard and said, and since when the connection is in its present state.
#[derive(Debug)]
struct Clocks {
    open_timeout: Duration,
    authentication_timeout: Duration,
    last_read: Instant,
    last_write: Instant,
    accepted: Instant,
    opened: Option<Instant>,
    asked_to_leave: Option<Instant>,
    closed: Option<Instant>,
}

enum Due {
    /// The client did not authenticate.
    Close,
    HangUp(&'static str),
    Heartbeat,
    /// The client was asked to leave and did not.
    Leave,
    Nothing,
}

impl Clocks {
    fn new(head: &AmqpHead) -> Self {
        let now = Instant::now();
        Self {
            open_timeout: head.options.open_timeout,
            authentication_timeout: head.options.authentication_timeout,
            last_read: now,
            last_write: now,
            accepted: now,
            opened: None,
            asked_to_leave: None,
            closed: None,
        }
    }

    fn note_state(&mut self, engine: &Engine, links: &Links<'_>) {
        if links.leaving.is_some() {
            self.asked_to_leave.get_or_insert_with(Instant::now);
        }
        if engine.is_open() {
            self.opened.get_or_insert_with(Instant::now);
        }
        if engine.is_closing() {
            self.closed.get_or_insert_with(Instant::now);
        }
    }

    /// When to look at the clocks again; looking too early does no harm.
    fn next_alarm(&self, engine: &Engine, links: &Links<'_>) -> Instant {
        let silence = self.last_read + 2 * IDLE_TIMEOUT;
        let limit = match (self.closed, self.opened) {
            (Some(closed), _) => closed + CLOSE_TIMEOUT,
            (None, None) => self.accepted + self.open_timeout,
            (None, Some(opened)) if !links.is_authenticated() => opened + self.authentication_timeout,
            (None, Some(_)) => silence,
        };
        let leave = self.asked_to_leave.map_or(silence, |asked| asked + LEAVE_TIMEOUT);
        limit.min(leave).min(silence).min(self.heartbeat(engine).unwrap_or(silence))
    }

    fn due(&self, engine: &Engine, links: &Links<'_>) -> Due {
        let now = Instant::now();
        if self.closed.is_some_and(|closed| now >= closed + CLOSE_TIMEOUT) {
            return Due::HangUp("no close came in answer to ours");
        }
        if now >= self.last_read + 2 * IDLE_TIMEOUT {
            return Due::HangUp("nothing was heard for twice the idle time-out");
        }
        match self.opened {
            None if now >= self.accepted + self.open_timeout => {
                return Due::HangUp("it was not opened in time");
            }
            Some(opened) if !links.is_authenticated() && now >= opened + self.authentication_timeout => {
                return Due::Close;
            }
            _ => {}
        }
        if self.asked_to_leave.is_some_and(|asked| now >= asked + LEAVE_TIMEOUT) {
            return Due::Leave;
        }
        match self.heartbeat(engine) {
            Some(at) if now >= at => Due::Heartbeat,
            _ => Due::Nothing,
        }
    }

    /// At least every half of the silence the client tolerates (contract/amqp.md 1.2).
    fn heartbeat(&self, engine: &Engine) -> Option<Instant> {
        let interval = engine.peer_idle_timeout().filter(|_| engine.is_open())? / 2;
        Some(self.last_write + interval.max(HEARTBEAT_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: u32) -> Vec<u8> {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.resize(size as usize, 0);
        bytes
    }

    #[test]
    fn websocket_messages_hold_whole_frames_below_64_kib() {
        let frames =
            [b"AMQP\x00\x01\x00\x00".to_vec(), frame(60_000), frame(5_000), frame(600), frame(65_536)];
        let mut output = Bytes::from(frames.concat());
        let parts: Vec<usize> =
            std::iter::from_fn(|| Some(whole_frames(&mut output).len()).filter(|length| *length > 0))
                .collect();
        assert_eq!(parts, [65_008, 600, 65_536]);
    }
}
