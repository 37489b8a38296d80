//! Handshakes with clients of every kind of certificate, over a pipe.

use rustls::client::ResolvesClientCert;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::certificates::RootAuthority;
use crate::state_folder::StateFolder;
use hub::time::Timestamp;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Presents what it was given, without rustls' own look at it: rustls does not take version 1 certificates.
#[derive(Debug)]
struct Presents(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

fn file(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    std::fs::read(folder.join(name)).unwrap()
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&file(&format!("{name}.pem"))).unwrap()
}

fn presents(certificate_name: &str, key_name: &str) -> Presents {
    let key = PrivateKeyDer::from_pem_slice(&file(&format!("{key_name}.key"))).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    Presents(Some(Arc::new(CertifiedKey::new(vec![certificate(certificate_name)], key))))
}

/// What the server sees of the client after a handshake: its leaf, or nothing; an error if it refuses.
async fn handshake(
    version: &'static SupportedProtocolVersion,
    client: Presents,
) -> Result<Option<Vec<u8>>, String> {
    let temporary = tempfile::tempdir().unwrap();
    let folder = StateFolder::open(temporary.path()).unwrap();
    let now = Timestamp::from_unix_secs(i64::try_from(UnixTime::now().as_secs()).unwrap());
    let root = RootAuthority::load_or_make(&folder, now).unwrap();
    let server = root.server_certificate(&["localhost".to_owned()], &folder, now).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.certificate().as_bytes()).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(client));

    let (here, there) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(server_config(&server, &[]).unwrap());
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    let (accepted, _connected) = tokio::join!(acceptor.accept(here), connector.connect(name, there));
    let stream = accepted.map_err(|error| error.to_string())?;
    Ok(stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec()))
}

#[tokio::test]
async fn a_version_1_certificate_whose_key_the_client_holds_comes_through() {
    for version in VERSIONS {
        for name in ["v1-p256", "v1-p384", "v1-rsa"] {
            let seen = handshake(version, presents(name, name)).await;
            assert_eq!(seen, Ok(Some(certificate(name).to_vec())), "{name} {version:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_whose_key_the_client_does_not_hold_does_not() {
    let other = rcgen::KeyPair::generate().unwrap();
    let other = PrivateKeyDer::try_from(other.serialize_der()).unwrap();
    let other = rustls::crypto::ring::sign::any_supported_type(&other).unwrap();
    for version in VERSIONS {
        let client = CertifiedKey::new(vec![certificate("v1-p256")], Arc::clone(&other));
        assert!(handshake(version, Presents(Some(Arc::new(client)))).await.is_err(), "{version:?}");
        assert!(handshake(version, presents("v1-rsa", "v1-p256")).await.is_err(), "{version:?}");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_comes_through() {
    for version in VERSIONS {
        assert_eq!(handshake(version, Presents(None)).await, Ok(None), "{version:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_certificate_end_the_handshake() {
    for version in VERSIONS {
        let key = PrivateKeyDer::from_pem_slice(&file("v1-p256.key")).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let rubbish = CertifiedKey::new(vec![CertificateDer::from(b"rubbish".to_vec())], key);
        assert!(handshake(version, Presents(Some(Arc::new(rubbish)))).await.is_err(), "{version:?}");
    }
}
