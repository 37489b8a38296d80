//! One request to the running emulator, plain to the admin API or over TLS to the hub.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET` over plain HTTP.
pub(super) async fn plain(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    within_limit(async { get(TcpStream::connect(address).await?, path, None).await }).await
}

/// `GET` over TLS, trusting `root` (PEM) and nobody else.
pub(super) async fn secure(
    address: SocketAddr,
    root: &str,
    path: &str,
    token: &str,
) -> anyhow::Result<Answer> {
    within_limit(async {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        // Every server certificate of ours has this name, whatever else it has.
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        get(stream, path, Some(token)).await
    })
    .await
}

async fn within_limit(answer: impl Future<Output = anyhow::Result<Answer>>) -> anyhow::Result<Answer> {
    tokio::time::timeout(LIMIT, answer).await.context("no answer in time")?
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok(Answer { status, body })
    };
    // The connection does its work only while it is polled.
    tokio::select! {
        answer = exchange => answer,
        ended = connection => {
            ended?;
            anyhow::bail!("the connection was closed before the answer came")
        }
    }
}

const LIMIT: Duration = Duration::from_secs(3);
const BODY_BYTES_MAX: usize = 1024 * 1024;
