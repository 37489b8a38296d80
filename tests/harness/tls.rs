//! TLS as a client: trusts one root, and presents a certificate of any shape, version 1 included.

use std::net::SocketAddr;
use std::sync::Arc;

use net::Io;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::certificates::Pem;
use crate::harness::watch::in_time;

/// TLS 1.3 or 1.2, as the peers agree.
pub(crate) const ANY_VERSION: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A handshake that must succeed.
pub(crate) async fn connect(
    address: SocketAddr,
    root: &str,
    certificate: Option<&Pem>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).expect("the root is PEM"))
        .expect("rustls takes the root");
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("ring speaks both versions")
        .with_root_certificates(roots);
    let config = match certificate {
        Some(pem) => config.with_client_cert_resolver(Arc::new(Presents::new(pem))),
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await.expect("the listener accepts");
    stream.set_nodelay(true).expect("the socket is new");
    let name = ServerName::try_from("localhost").expect("a host name");
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    in_time("the TLS handshake", handshake).await.expect("the handshake succeeds")
}

/// The same as bytes.
pub(crate) async fn io(address: SocketAddr, root: &str, certificate: Option<&Pem>) -> Io {
    Io::new(connect(address, root, certificate, ANY_VERSION).await)
}

/// Always presents its certificate. rustls' own way checks it with webpki first, which knows no version 1.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl Presents {
    fn new(pem: &Pem) -> Self {
        let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).expect("the key is PEM");
        let key = ring::sign::any_supported_type(&key).expect("ring signs with RSA and EC keys");
        Self(Arc::new(CertifiedKey::new(chain.expect("the certificate is PEM"), key)))
    }
}

impl ResolvesClientCert for Presents {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
