//! Who a device load is put on and how its devices get in: with a token of their own at the hub, with a password
//! elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use auth::SasToken;
use hub::access::{SymmetricKey, development_policies};

use hub::time::{Clock as _, SystemClock};

use crate::mqtt::{self, Login};
use crate::registry::CONTENT;
use crate::servers::{MOSQUITTO_LOGIN, Server};
use crate::wire::{Dialler, Wire};

/// The key of every device of a load; base64, as the registry takes it.
const DEVICE_KEY: &str = "bG9hZCBsb2FkIGxvYWQgbG9hZCBsb2FkIGxvYWQgbG8=";
/// Devices of one bulk call.
pub(crate) const BULK: usize = 100;
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const API_VERSION: &str = "api-version=2021-04-12";

/// A server, and how to get in.
pub(crate) struct Target {
    pub(crate) server: Server,
    pub(crate) dialler: Dialler,
    mqtt: SocketAddr,
    key: Option<SymmetricKey>,
}

impl Target {
    /// The emulator: its devices have to be registered.
    pub(crate) fn hub(server: Server) -> anyhow::Result<Self> {
        let key = SymmetricKey::from_base64(DEVICE_KEY)?;
        let (dialler, mqtt) = (Dialler::new(&server.root()?)?, server.port("mqtts")?);
        Ok(Self { server, dialler, mqtt, key: Some(key) })
    }

    /// Anything else, with the certificate of `hub`.
    pub(crate) fn peer(server: Server, hub: &Self) -> Self {
        Self { dialler: hub.dialler.clone(), mqtt: server.address, server, key: None }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.server.name
    }

    pub(crate) const fn is_hub(&self) -> bool {
        self.key.is_some()
    }

    /// What a device says in its CONNECT.
    pub(crate) fn login(&self, device: &str) -> Login {
        match self.token(device) {
            Some(token) => Login {
                client_id: device.to_owned(),
                username: format!("localhost/{device}/?{API_VERSION}"),
                password: token,
            },
            None => Login {
                client_id: device.to_owned(),
                username: MOSQUITTO_LOGIN.to_owned(),
                password: MOSQUITTO_LOGIN.to_owned(),
            },
        }
    }

    /// A device's own token.
    pub(crate) fn token(&self, device: &str) -> Option<String> {
        let expiry = SystemClock.now().plus(TOKEN_LIFE);
        let key = self.key.as_ref()?;
        Some(SasToken::sign(&format!("localhost/devices/{device}"), key, expiry, None))
    }

    /// A device, connected over MQTT.
    pub(crate) async fn connect(&self, device: &str) -> anyhow::Result<Wire> {
        let mut wire = self.dialler.dial(self.mqtt).await?;
        mqtt::log_in(&mut wire, &self.login(device)).await?;
        Ok(wire)
    }

    /// Registers devices of these names with the key of all and a twin; nothing to do where names need no
    /// registration.
    pub(crate) async fn register(&self, devices: &[String]) -> anyhow::Result<()> {
        if !self.is_hub() {
            return Ok(());
        }
        let token = owner_token()?;
        let mut client = self.server.connector()?.connect().await?;
        for devices in devices.chunks(BULK) {
            let rows: Vec<_> = devices.iter().map(|device| row(device)).collect();
            let body = format!("[{}]", rows.join(","));
            client.exchange(&request("POST", "/devices", &token, &[], &body)).await?;
        }
        Ok(())
    }
}

/// A device as bulk calls take it, with a key and a twin.
pub(crate) fn row(device: &str) -> String {
    format!(
        r#"{{"id":"{device}","importMode":"createOrUpdate","authentication":{{"type":"sas","symmetricKey":{{"primaryKey":"{DEVICE_KEY}","secondaryKey":"{DEVICE_KEY}"}}}},{}"#,
        CONTENT.trim_start_matches('{')
    )
}

/// A request as it goes over the wire; `path` gets the api-version.
pub(crate) fn request(verb: &str, path: &str, token: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{verb} {path}{separator}{API_VERSION} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n{headers}\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The token of a service with every right.
pub(crate) fn owner_token() -> anyhow::Result<String> {
    let policies = development_policies();
    let owner = policies.iter().find(|policy| policy.name.as_str() == "iothubowner").context("the owner")?;
    let expiry = SystemClock.now().plus(Duration::from_secs(24 * 60 * 60));
    Ok(SasToken::sign("localhost", &owner.keys.primary, expiry, Some(&owner.name)))
}
