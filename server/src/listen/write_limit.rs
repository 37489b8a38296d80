//! A connection that ends when its peer stops reading. Whoever writes HTTP for us waits for a peer as long as it
//! takes; the MQTT and AMQP heads have limits of their own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use net::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes whose writing fails once the peer has taken none of them for a while.
#[derive(Debug)]
pub(super) struct WriteLimit {
    io: Io,
    limit: Duration,
    /// Runs while a write waits; an idle connection has none.
    patience: Option<Pin<Box<Sleep>>>,
}

impl WriteLimit {
    pub(super) const fn new(io: Io, limit: Duration) -> Self {
        Self { io, limit, patience: None }
    }

    /// Any progress is enough; without it, `polled` turns into an error when patience ends.
    fn watch<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.patience = None;
            return polled;
        }
        let limit = self.limit;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(limit)));
        match patience.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
        }
    }
}

impl AsyncRead for WriteLimit {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WriteLimit {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    /// What the pipe of a test holds before a write has to wait.
    const PIPE_BYTES: usize = 16;

    #[tokio::test(start_paused = true)]
    async fn a_write_to_a_peer_that_reads_nothing_fails_after_the_limit() {
        let (ours, _theirs) = tokio::io::duplex(PIPE_BYTES);
        let mut io = WriteLimit::new(Io::new(ours), LIMIT);
        let began = Instant::now();
        let error = io.write_all(&[0; PIPE_BYTES + 1]).await.expect_err("nobody reads");
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_byte_now_and_then_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(PIPE_BYTES);
        let mut io = WriteLimit::new(Io::new(ours), LIMIT);
        let reading = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LIMIT - Duration::from_secs(1));
            for _ in 0..2 * PIPE_BYTES {
                ticks.tick().await;
                theirs.read_u8().await.expect("the peer is there");
            }
        });
        let began = Instant::now();
        io.write_all(&[0; 2 * PIPE_BYTES]).await.expect("every byte was taken in time");
        assert!(began.elapsed() > LIMIT);
        reading.await.expect("it read all");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_without_a_write_has_no_limit() {
        let (ours, mut theirs) = tokio::io::duplex(PIPE_BYTES);
        let mut io = WriteLimit::new(Io::new(ours), LIMIT);
        io.write_all(b"all taken").await.expect("there is room");
        tokio::time::advance(LIMIT * 3).await;
        theirs.write_all(b"x").await.expect("there is room");
        assert_eq!(io.read_u8().await.expect("the peer is there"), b'x');
        io.write_all(b"and on").await.expect("there is room");
    }
}
