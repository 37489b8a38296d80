//! A WebSocket as a byte stream: what MQTT and AMQP heads read and write (contract/amqp.md 1, contract/mqtt.md 2).
//!
//! Incoming: the payloads of binary messages, one after another, message borders forgotten. Pings are answered by
//! the WebSocket layer while somebody reads. A close or the end of the socket is the end of the stream; a text
//! message is refused with close code 1003, a broken or oversized one ends the stream with an error.
//! Outgoing: each write becomes one binary message of at most [`MESSAGE_BYTES`], so a head that writes whole
//! frames puts whole frames into messages, as some clients demand.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::ws::{CloseFrame, Message, close_code};
use bytes::{Buf as _, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one WebSocket message in either direction; ours. The largest MQTT packet or AMQP frame is well below.
pub(super) const MESSAGE_BYTES: usize = 1024 * 1024;

/// The adapter. `W` is a WebSocket, or in tests anything that yields and takes messages.
pub(super) struct ByteStream<W> {
    socket: W,
    /// What of the last binary message nobody has read yet.
    unread: Bytes,
    has_ended: bool,
}

impl<W> ByteStream<W>
where
    W: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin,
{
    pub(super) const fn new(socket: W) -> Self {
        Self { socket, unread: Bytes::new(), has_ended: false }
    }

    /// Waits until there is something to read or the stream has ended; `unread` stays empty only at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.has_ended {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(payload))) => self.unread = payload,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => self.has_ended = true,
                Some(Ok(Message::Text(_))) => {
                    self.has_ended = true;
                    let why = "only binary messages carry bytes here, a text message came";
                    self.refuse(close_code::UNSUPPORTED, why, cx);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
                Some(Err(error)) => {
                    self.has_ended = true;
                    self.refuse(close_code::PROTOCOL, "the message is broken or too large", cx);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the peer why it goes, as far as that is possible without waiting: a peer that broke the rules and
    /// does not read either gets no further attention.
    fn refuse(&mut self, code: u16, reason: &'static str, cx: &mut Context<'_>) {
        let mut socket = Pin::new(&mut self.socket);
        if let Poll::Ready(Ok(())) = socket.as_mut().poll_ready(cx) {
            let goodbye = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            if socket.as_mut().start_send(goodbye).is_ok() {
                let _unsent = socket.poll_flush(cx);
            }
        }
    }
}

impl<W> AsyncRead for ByteStream<W>
where
    W: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread.split_to(count));
        if !self.unread.has_remaining() {
            // Lets go of the message's buffer while the connection idles.
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<W> AsyncWrite for ByteStream<W>
where
    W: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken_pipe)?;
        let count = bytes.len().min(MESSAGE_BYTES);
        if count > 0 {
            let (message, _) = bytes.split_at(count);
            let message = Message::Binary(Bytes::copy_from_slice(message));
            Pin::new(&mut self.socket).start_send(message).map_err(broken_pipe)?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken_pipe)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(broken_pipe)
    }
}

impl<W> fmt::Debug for ByteStream<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

fn broken_pipe(error: axum::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Yields what a client sent, keeps what the hub sends.
    #[derive(Default)]
    struct Script {
        incoming: VecDeque<Result<Message, axum::Error>>,
        outgoing: Vec<Message>,
        is_closed: bool,
    }

    impl Stream for Script {
        type Item = Result<Message, axum::Error>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.incoming.pop_front())
        }
    }

    impl Sink<Message> for Script {
        type Error = axum::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
            self.outgoing.push(message);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            self.is_closed = true;
            Poll::Ready(Ok(()))
        }
    }

    fn hears(messages: impl IntoIterator<Item = Message>) -> ByteStream<Script> {
        let incoming = messages.into_iter().map(Ok).collect();
        ByteStream::new(Script { incoming, ..Script::default() })
    }

    fn binary(bytes: &'static [u8]) -> Message {
        Message::Binary(Bytes::from_static(bytes))
    }

    #[tokio::test]
    async fn message_borders_are_forgotten_and_empty_messages_and_pings_skipped() {
        let ping = Message::Ping(Bytes::new());
        let mut stream = hears([binary(b"ab"), binary(b""), ping, binary(b"cdef"), Message::Close(None)]);
        let mut first = [0; 3];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&first, rest.as_slice()), (b"abc", &b"def"[..]));
    }

    #[tokio::test]
    async fn a_text_message_is_refused_with_close_code_1003() {
        let mut stream = hears([Message::Text("hello".into()), binary(b"x")]);
        let mut bytes = Vec::new();
        assert_eq!(stream.read_to_end(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(matches!(
            stream.socket.outgoing.as_slice(),
            [Message::Close(Some(CloseFrame { code: 1003, .. }))]
        ));
        assert_eq!(stream.read_to_end(&mut bytes).await.unwrap(), 0, "nothing is read after a refusal");
    }

    #[tokio::test]
    async fn a_broken_message_ends_the_stream_with_an_error() {
        let mut stream = hears([]);
        stream.socket.incoming.push_back(Err(axum::Error::new("oversized")));
        assert!(stream.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn a_whole_write_becomes_one_binary_message() {
        let mut stream = hears([]);
        stream.write_all(&[7; 70_000]).await.unwrap();
        stream.write_all(b"next").await.unwrap();
        let sizes: Vec<_> = stream
            .socket
            .outgoing
            .iter()
            .map(|message| match message {
                Message::Binary(payload) => payload.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes, [70_000, 4]);
    }

    #[tokio::test]
    async fn a_write_past_the_message_limit_is_split() {
        let mut stream = hears([]);
        stream.write_all(&vec![7; MESSAGE_BYTES + 1]).await.unwrap();
        assert_eq!(stream.socket.outgoing.len(), 2);
    }

    #[tokio::test]
    async fn shutting_down_closes_the_websocket() {
        let mut stream = hears([]);
        stream.shutdown().await.unwrap();
        assert!(stream.socket.is_closed);
    }
}
