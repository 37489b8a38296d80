//! Settings of a client: what the connection string does not say. Ports live here and never in the string, as no
//! SDK reads them there.

use std::time::Duration;

use super::credentials::{Credentials, DEFAULT_TOKEN_LIFETIME};
use super::link::LinkSettings;
use super::session::Session;
use super::{DeviceClient, ModuleClient};
use crate::byte_stream::{Carrier, Endpoint, IOT_HUB_WEBSOCKET};
use crate::connection_string::{DeviceConnectionString, DeviceCredential};
use crate::error::Error;
use crate::tls::{ClientCertificate, TrustedRoots, client_config};

/// Default time for connecting and for one operation, as the C# SDK has it (contract/mqtt.md 7.4).
const DEFAULT_OPERATION_TIMEOUT: Duration = Duration::from_secs(60);

/// What carries a client's conversation with the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// AMQP 1.0 over TLS, port 5671.
    Amqp,
    /// AMQP 1.0 over WebSocket, port 443.
    AmqpWs,
    /// MQTT 3.1.1 over TLS, port 8883.
    Mqtt,
    /// MQTT 3.1.1 over WebSocket, port 443.
    MqttWs,
}

#[derive(Clone, Debug)]
struct Settings {
    connection_string: DeviceConnectionString,
    certificate: Option<ClientCertificate>,
    port: Option<u16>,
    roots: TrustedRoots,
    operation_timeout: Duration,
    token_lifetime: Duration,
    product_info: String,
}

impl Transport {
    const fn default_port(self) -> u16 {
        match self {
            Self::Amqp => 5671,
            Self::Mqtt => 8883,
            Self::AmqpWs | Self::MqttWs => 443,
        }
    }

    const fn carrier(self) -> Carrier {
        match self {
            Self::Amqp | Self::Mqtt => Carrier::Tcp,
            Self::AmqpWs => Carrier::WebSocket { path: IOT_HUB_WEBSOCKET, subprotocol: "AMQPWSB10" },
            Self::MqttWs => Carrier::WebSocket { path: IOT_HUB_WEBSOCKET, subprotocol: "mqtt" },
        }
    }
}

impl Settings {
    fn new(connection_string: DeviceConnectionString) -> Self {
        Self {
            connection_string,
            certificate: None,
            port: None,
            roots: TrustedRoots::system(),
            operation_timeout: DEFAULT_OPERATION_TIMEOUT,
            token_lifetime: DEFAULT_TOKEN_LIFETIME,
            product_info: concat!("iothub-client-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    async fn open(self, transport: Transport) -> Result<Session, Error> {
        let hub = self.connection_string.host_name().to_owned();
        let identity = self.connection_string.identity().clone();
        let credentials =
            Credentials::new(&self.connection_string, self.certificate.is_some(), self.token_lifetime)?;
        let endpoint = Endpoint {
            host: self.connection_string.gateway_host_name().unwrap_or(&hub).to_owned(),
            port: self.port.unwrap_or_else(|| transport.default_port()),
            tls: Some(client_config(&self.roots, self.certificate.as_ref())?),
        };
        let settings = LinkSettings {
            hub,
            identity,
            endpoint,
            carrier: transport.carrier(),
            credentials,
            product_info: self.product_info,
        };
        Session::open(settings, transport, self.operation_timeout).await
    }
}

macro_rules! builder {
    ($(#[$doc:meta])* $builder:ident makes $client:ident of $kind:literal, is_module $is_module:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $builder {
            settings: Settings,
        }

        impl $builder {
            pub(super) fn new(connection_string: DeviceConnectionString) -> Self {
                Self { settings: Settings::new(connection_string) }
            }

            /// Signs in with this certificate; the connection string says `x509=true` then.
            #[must_use]
            pub fn certificate(mut self, certificate: ClientCertificate) -> Self {
                self.settings.certificate = Some(certificate);
                self
            }

            /// Uses another port than the transport's own.
            #[must_use]
            pub const fn port(mut self, port: u16) -> Self {
                self.settings.port = Some(port);
                self
            }

            /// Believes these root certificates.
            #[must_use]
            pub fn trusted_roots(mut self, roots: TrustedRoots) -> Self {
                self.settings.roots = roots;
                self
            }

            /// Gives connecting, and each operation, this long; 60 s by default.
            #[must_use]
            pub const fn operation_timeout(mut self, timeout: Duration) -> Self {
                self.settings.operation_timeout = timeout;
                self
            }

            /// Signs tokens for this long, 1 h by default; they are renewed after four fifths of it.
            #[must_use]
            pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
                self.settings.token_lifetime = lifetime;
                self
            }

            /// Names the product to the hub, in place of this crate.
            #[must_use]
            pub fn product_info(mut self, product_info: impl Into<String>) -> Self {
                self.settings.product_info = product_info.into();
                self
            }

            /// Connects.
            ///
            /// # Errors
            /// `Connection`, `Unauthorized`, `TimedOut`, or `InvalidConfiguration` when string and certificate do
            /// not fit together.
            pub async fn open(self, transport: Transport) -> Result<$client, Error> {
                if self.settings.connection_string.identity().module().is_some() != $is_module {
                    return Err(Error::configuration(concat!(
                        "the connection string is not one of a ", $kind, ": check its ModuleId="
                    )));
                }
                Ok($client::over(self.settings.open(transport).await?))
            }
        }
    };
}

builder! {
    /// Settings of a [`DeviceClient`] beyond its connection string.
    DeviceClientBuilder makes DeviceClient of "device", is_module false
}

builder! {
    /// Settings of a [`ModuleClient`] beyond its connection string.
    ModuleClientBuilder makes ModuleClient of "module", is_module true
}

impl Credentials {
    fn new(
        connection_string: &DeviceConnectionString,
        has_certificate: bool,
        token_lifetime: Duration,
    ) -> Result<Self, Error> {
        match (connection_string.credential(), has_certificate) {
            (DeviceCredential::X509, true) => Ok(Self::Certificate),
            (DeviceCredential::X509, false) => Err(Error::configuration(
                "the connection string says x509=true: give the certificate and its key as well",
            )),
            (_, true) => Err(Error::configuration(
                "a certificate was given with a connection string that has a key: write x509=true in place of \
                 SharedAccessKey=",
            )),
            (DeviceCredential::Key { key, policy }, false) => Ok(Self::signing(
                connection_string.host_name(),
                connection_string.identity(),
                key.clone(),
                policy.clone(),
                token_lifetime,
            )),
            (DeviceCredential::Token(token), false) => Ok(Self::Token(token.clone())),
        }
    }
}
