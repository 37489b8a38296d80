//! Drives one [`Session`]: reads, feeds packets, carries out actions one at a time, writes all answers of what
//! was read at once. Knows the core, the socket and wire time; decides nothing about MQTT.
//!
//! Back-pressure is not reading: while the core makes an operation wait, or the peer does not take its answers,
//! its next bytes stay in the socket. Cancel-safe where futures race: reading fills `input`, which outlives the
//! future, and `DeviceSession::next` takes a delivery only when it returns it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use bytes::BytesMut;
use hub::device_session::{Delivery, DisconnectReason};
use net::{Io, PeerInfo};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::MqttHead;
use crate::client::Client;
use crate::error::{Broken, Ending};
use crate::session::{Action, Actions, Reply, Session};
use crate::wire;

/// Bytes taken from the socket at once: one TLS record.
const READ_BYTES: usize = 16 * 1024;
/// Answers are written before they grow past this, so that a small request with a large answer, sent many times
/// over, cannot fill memory.
const UNSENT_BYTES: usize = 64 * 1024;
/// How long a peer may leave its answers unread before it is cut.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// How long the last answers of a connection may take to be written.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long a refused peer has to take its CONNACK and hang up.
const LINGER_LIMIT: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(crate) async fn serve(head: &MqttHead, io: Io, peer: PeerInfo, drain: CancellationToken) {
    let mut connection = Connection {
        head,
        io,
        client: Client::new(head, peer),
        session: Session::new(),
        input: BytesMut::new(),
        output: BytesMut::new(),
        heard: Instant::now(),
    };
    let ending = connection.run(&drain).await;
    ending.log();
    connection.close(&ending, &drain).await;
}

struct Connection<'a> {
    head: &'a MqttHead,
    io: Io,
    client: Client<'a>,
    session: Session,
    /// Read and not yet a whole packet. Holds no memory while empty.
    input: BytesMut,
    /// Not yet written. Holds no memory while empty.
    output: BytesMut,
    /// When the last whole packet came; when the socket was accepted before that.
    heard: Instant,
}

/// Why the loop goes round again.
enum Event {
    Delivery(Delivery),
    Drain,
    Read(io::Result<usize>),
    Timer,
}

impl Connection<'_> {
    async fn run(&mut self, drain: &CancellationToken) -> Ending {
        let timer = sleep_until(self.cut_at());
        // Registered once: thousands of connections share this token, and would share its lock in every round.
        let drained = drain.cancelled();
        tokio::pin!(timer, drained);
        loop {
            if let Err(ending) = self.take_packets(drain).await {
                return ending;
            }
            if let Err(ending) = self.write(drain).await {
                return ending;
            }
            // Moved only when it would come too late; when it comes too early it is set anew.
            if self.cut_at() < timer.deadline() {
                timer.as_mut().reset(self.cut_at());
            }
            // In this order: a peer is not cut for silence while its bytes wait to be read, and notifications, of
            // which there are at most a mailbox, are not kept waiting by a peer that never stops sending.
            let event = tokio::select! {
                biased;
                () = drained.as_mut() => Event::Drain,
                delivery = self.client.next_delivery() => Event::Delivery(delivery),
                read = read_some(&mut self.io, &mut self.input) => Event::Read(read),
                () = timer.as_mut() => Event::Timer,
            };
            let actions = match event {
                Event::Delivery(delivery) => self.session.on_delivery(delivery, self.head.hub.clock().now()),
                Event::Drain => return Ending::Kicked(DisconnectReason::HubStopping),
                Event::Read(Ok(0)) => return Ending::Broken(self.hung_up()),
                Event::Read(Ok(_)) => continue,
                // TLS clients hang up without a word all the time.
                Event::Read(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ending::Broken(self.hung_up());
                }
                Event::Read(Err(error)) => return Ending::Broken(error.into()),
                Event::Timer if Instant::now() >= self.cut_at() => return Ending::Broken(self.fell_silent()),
                Event::Timer => {
                    timer.as_mut().reset(self.cut_at());
                    continue;
                }
            };
            if let Err(ending) = self.carry_out(actions).await {
                return ending;
            }
        }
    }

    /// Feeds every whole packet that was read.
    async fn take_packets(&mut self, drain: &CancellationToken) -> Result<(), Ending> {
        if self.input.is_empty() {
            return Ok(());
        }
        // Once for all that was read together: a clock for each packet costs as much as decoding it.
        let (at, read_at) = (self.head.hub.clock().now(), Instant::now());
        loop {
            let actions = match wire::decode(&mut self.input, self.session.expecting()) {
                Ok(Some(packet)) => {
                    self.heard = read_at;
                    tracing::trace!(?packet, "received");
                    self.session.on_packet(packet, at)
                }
                Ok(None) => break,
                Err(error) => self.session.on_wire_error(error),
            };
            self.carry_out(actions).await?;
            if self.output.len() >= UNSENT_BYTES {
                self.write(drain).await?;
                // A socket that takes much at once would let one client's large answers keep everybody else waiting.
                yield_now().await;
            }
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(())
    }

    /// Does what the session asks for; what that brings may ask for more.
    async fn carry_out(&mut self, actions: Actions) -> Result<(), Ending> {
        let mut waiting = VecDeque::from(actions);
        while let Some(action) = waiting.pop_front() {
            match self.perform(action).await? {
                // An action that brings a reply is the last of its list: what follows it keeps its place.
                Some(Ok(reply)) => waiting.extend(self.session.on_reply(reply)),
                Some(Err(ending)) => waiting.extend(self.session.on_failed(ending)),
                None => {}
            }
        }
        Ok(())
    }

    async fn perform(&mut self, action: Action) -> Result<Option<Result<Reply, Ending>>, Ending> {
        let reply = match action {
            Action::Close(ending) => return Err(ending),
            Action::Send(packet) => {
                wire::encode(packet, &mut self.output).map_err(|error| Ending::Broken(error.into()))?;
                return Ok(None);
            }
            Action::Ask(question) => self.client.ask(question).await,
            // Once a connection, and twice as large as all else a connection that waits would keep room for.
            Action::Connect(login) => Box::pin(self.client.connect(*login)).await,
            Action::Tell(notice) => {
                self.client.tell(notice);
                return Ok(None);
            }
        };
        Ok(Some(reply))
    }

    /// When the connection ends unless a whole packet comes.
    fn cut_at(&self) -> Instant {
        self.heard + self.patience()
    }

    fn patience(&self) -> Duration {
        if self.client.is_connected() {
            self.session.silence_limit()
        } else {
            self.head.options.connect_timeout
        }
    }

    fn fell_silent(&self) -> Broken {
        if self.client.is_connected() {
            Broken::Silent(self.patience())
        } else {
            Broken::NoConnect(self.patience())
        }
    }

    fn hung_up(&self) -> Broken {
        if self.input.is_empty() { Broken::NoDisconnect } else { Broken::CutShort }
    }

    /// Writes what was sent since the last time. Nothing is read meanwhile.
    async fn write(&mut self, drain: &CancellationToken) -> Result<(), Ending> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        let write = async {
            self.io.write_all(&output).await?;
            self.io.flush().await
        };
        tokio::select! {
            biased;
            written = timeout(WRITE_LIMIT, write) => match written {
                Ok(written) => written.map_err(|error| Ending::Broken(error.into())),
                Err(_elapsed) => Err(Ending::Broken(Broken::Stuck)),
            },
            () = drain.cancelled() => Err(Ending::Kicked(DisconnectReason::HubStopping)),
            // A peer that does not read must not keep the socket of a session that was taken from it.
            reason = self.client.ended() => Err(Ending::Kicked(reason)),
        }
    }

    /// Tells the core at once, the peer as far as it still listens.
    async fn close(mut self, ending: &Ending, drain: &CancellationToken) {
        self.client.leave(ending);
        if matches!(ending, Ending::Broken(Broken::Stuck | Broken::WireLost(_))) {
            return;
        }
        let goodbye = async {
            self.io.write_all(&self.output).await?;
            self.io.shutdown().await
        };
        // Whether the peer took it makes no difference any more.
        let _ = timeout(CLOSE_LIMIT, goodbye).await;
        if matches!(ending, Ending::Refused | Ending::RefusedHere(_)) {
            tokio::select! {
                _ = timeout(LINGER_LIMIT, discard(&mut self.io)) => {}
                () = drain.cancelled() => {}
            }
        }
    }
}

/// Reads to the end. A socket closed with bytes unread is reset, and a reset overtakes the CONNACK that says why.
async fn discard(io: &mut Io) -> io::Result<()> {
    let mut discarded = BytesMut::new();
    while read_some(io, &mut discarded).await? > 0 {
        discarded.clear();
    }
    Ok(())
}

/// Appends what has arrived to `input`, at most [`READ_BYTES`]; 0 is the end. Cancel-safe. The socket is read into
/// the stack and copied, so a connection that waits holds no buffer, and a message kept for long keeps only what
/// arrived with it.
async fn read_some(io: &mut Io, input: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut stack = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer))?;
        input.extend_from_slice(buffer.filled());
        Ok(buffer.filled().len()).into()
    })
    .await
}
