//! The client: keep-alive connections over TLS, each with one request under way and requests written beforehand, so
//! that the server is what is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A request as it goes over the wire.
pub(crate) type Request = Arc<[u8]>;

/// What the clients of one server share.
#[derive(Clone)]
pub(crate) struct Connector {
    address: SocketAddr,
    tls: TlsConnector,
}

/// One keep-alive connection.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) secs: f64,
}

impl Connector {
    pub(crate) fn new(address: SocketAddr, root: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: TlsConnector::from(Arc::new(config)) })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from("localhost")?, tcp).await?;
        Ok(Client { stream, buffer: Vec::new() })
    }
}

impl Client {
    /// Sends a request and takes the body of its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (head, body) = self.answer(request).await?;
        Ok(self.buffer.get(head..head + body).context("the whole answer was read")?.to_vec())
    }

    /// Leaves the answer to a request in the buffer; the bytes of its head and body.
    async fn answer(&mut self, request: &[u8]) -> anyhow::Result<(usize, usize)> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
            let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let body = body_bytes(&self.buffer[..head])?;
            while self.buffer.len() < head + 4 + body {
                ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the answer broke off");
            }
            return Ok((head + 4, body));
        }
    }
}

fn body_bytes(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    if head.starts_with("HTTP/1.1 204 ") {
        return Ok(0);
    }
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.context("an answer without its length")
}

/// When a connection has asked enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Its list was answered once.
    Answered,
    /// So much time has passed; its list begins anew.
    Over(Duration),
}

/// Asks over each of the connections, one request of its own list after another. The connections come back. Any
/// answer but 200 and 204 ends the run: a load with errors has no figure.
pub(crate) async fn run(
    clients: Vec<(Client, Vec<Request>)>,
    until: Until,
) -> anyhow::Result<(Outcome, Vec<(Client, Vec<Request>)>)> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for (mut client, requests) in clients {
        running.spawn(async move {
            let mut operations = 0;
            for request in requests.iter().cycle() {
                let is_enough = match until {
                    Until::Answered => operations == requests.len() as u64,
                    Until::Over(time) => begun.elapsed() >= time,
                };
                if is_enough {
                    break;
                }
                client.answer(request).await?;
                operations += 1;
            }
            anyhow::Ok((operations, client, requests))
        });
    }
    let (mut operations, mut clients) = (0, Vec::new());
    while let Some(done) = running.join_next().await {
        let (count, client, requests) = done??;
        operations += count;
        clients.push((client, requests));
    }
    if operations == 0 {
        bail!("nothing was answered");
    }
    Ok((Outcome { operations, secs: begun.elapsed().as_secs_f64() }, clients))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_an_answer_is_read_in_any_case_of_its_header() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\netag: x";
        assert_eq!(body_bytes(head).unwrap(), 12);
        assert_eq!(body_bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 0").unwrap(), 0);
        assert_eq!(body_bytes(b"HTTP/1.1 204 No Content\r\netag: x").unwrap(), 0);
    }

    #[test]
    fn an_answer_that_is_no_success_has_no_figure() {
        assert!(body_bytes(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2").is_err());
        assert!(body_bytes(b"HTTP/1.1 200 OK\r\nconnection: close").is_err());
    }
}
