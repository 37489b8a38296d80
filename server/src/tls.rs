//! TLS as every listener speaks it: 1.2 and 1.3, our certificate, and any client certificate whose key the client
//! holds. Whether a certificate means anything is decided per identity after the handshake (contract/mqtt.md 1).

mod any_client;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

use self::any_client::AnyClientCertificate;
use crate::certificates::IssuedCertificate;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate or key is no PEM.
    #[error("the server certificate cannot be used: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// rustls refuses them.
    #[error("the server certificate cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The set-up of one listener. `alpn` names the application protocols it offers; none for MQTT and AMQP, whose
/// clients ask for none.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(server: &IssuedCertificate, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        CertificateDer::pem_slice_iter(server.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(Arc::new(AnyClientCertificate::new(provider)))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Devices stay connected for days: remembering sessions costs memory per connection and saves next to nothing.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
