//! The device's and module's side of the hub, the same over every transport.
//!
//! Reading order: the clients here and their settings in `builder`; what they carry in `message`, `twin` and
//! `desired`; `session` keeps them connected over one `link` after another, which is MQTT or AMQP.

mod builder;
mod credentials;
mod desired;
mod link;
mod message;
mod session;
mod twin;

use serde_json::Value;

pub use self::builder::{DeviceClientBuilder, ModuleClientBuilder, Transport};
pub use self::desired::{DesiredChange, DesiredChanges};
pub use self::message::TelemetryMessage;
pub use self::twin::{ReportedVersion, Twin};

pub(crate) use self::credentials::Credentials;
pub(crate) use self::desired::DesiredFanOut;
pub(crate) use self::link::LinkSettings;

use self::session::Session;
use crate::connection_string::DeviceConnectionString;
use crate::error::Error;
use crate::identity_id::IdentityId;

macro_rules! client {
    ($(#[$doc:meta])* $client:ident, $builder:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $client {
            session: Session,
        }

        impl $client {
            /// Connects with default settings.
            ///
            /// # Errors
            /// `Connection`, `Unauthorized`, `TimedOut`, or `InvalidConfiguration` when the string asks for a
            /// certificate, which only the builder takes.
            pub async fn open(
                connection_string: DeviceConnectionString,
                transport: Transport,
            ) -> Result<Self, Error> {
                Self::builder(connection_string).open(transport).await
            }

            /// Sets certificate, ports, trust and time-outs.
            #[must_use]
            pub fn builder(connection_string: DeviceConnectionString) -> $builder {
                $builder::new(connection_string)
            }

            pub(crate) const fn over(session: Session) -> Self {
                Self { session }
            }

            /// Who this is.
            #[must_use]
            pub fn identity(&self) -> &IdentityId {
                self.session.identity()
            }

            /// Reads the twin: desired and reported properties with their versions.
            ///
            /// # Errors
            /// The hub refused, or the connection failed in between: reading again does no harm.
            pub async fn twin(&self) -> Result<Twin, Error> {
                self.session.twin().await
            }

            /// Merges `patch`, an object, into the reported properties; `null` deletes a property.
            ///
            /// # Errors
            /// `InvalidArgument` past a limit of twins; `ConnectionLost` when it is not known whether the hub
            /// took it: the same patch again does no harm.
            pub async fn update_reported(&self, patch: &Value) -> Result<ReportedVersion, Error> {
                self.session.update_reported(patch).await
            }

            /// Starts to receive changes of the desired properties. Changes made before are in the twin: start
            /// first and read the twin then, so that nothing falls between.
            ///
            /// # Errors
            /// The hub refused, or the connection failed in between.
            pub async fn desired_changes(&self) -> Result<DesiredChanges, Error> {
                self.session.desired_changes().await
            }

            /// Sends a message and waits until the hub has stored it.
            ///
            /// # Errors
            /// `InvalidArgument` when it is too large; `ConnectionLost` when it is not known whether the hub
            /// stored it: sent again, it may arrive twice.
            pub async fn send_telemetry(&self, message: TelemetryMessage) -> Result<(), Error> {
                self.session.send(&message).await
            }

            /// Says goodbye to the hub and ends every stream of changes. Dropping the client does the same in the
            /// background.
            pub async fn close(self) {
                self.session.close().await;
            }
        }
    };
}

client! {
    /// A device, connected and kept connected: lost connections are made again, tokens renewed before they expire.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), iothub_client::Error> {
    /// use iothub_client::DeviceConnectionString;
    /// use iothub_client::device::{DeviceClient, TelemetryMessage, Transport};
    ///
    /// let text = std::env::var("IOTHUB_DEVICE_CONNECTION_STRING").unwrap_or_default();
    /// let device = DeviceClient::open(DeviceConnectionString::parse(&text)?, Transport::Mqtt).await?;
    /// device.send_telemetry(TelemetryMessage::new(r#"{"celsius":21.5}"#).json()).await?;
    /// device.close().await;
    /// # Ok(()) }
    /// ```
    DeviceClient, DeviceClientBuilder
}

client! {
    /// A module, connected and kept connected: lost connections are made again, tokens renewed before they expire.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), iothub_client::Error> {
    /// use iothub_client::DeviceConnectionString;
    /// use iothub_client::device::{ModuleClient, Transport};
    ///
    /// let text = std::env::var("IOTHUB_MODULE_CONNECTION_STRING").unwrap_or_default();
    /// let module = ModuleClient::open(DeviceConnectionString::parse(&text)?, Transport::Amqp).await?;
    /// let mut changes = module.desired_changes().await?;
    /// while let Some(change) = changes.next().await {
    ///     let interval = change?.properties["interval_secs"].clone();
    ///     module.update_reported(&serde_json::json!({ "interval_secs": interval })).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ModuleClient, ModuleClientBuilder
}
