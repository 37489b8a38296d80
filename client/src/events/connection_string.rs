//! Connection strings of event hubs (contract/eventhubs.md 1), such as the one IoT Hub shows for its built-in endpoint.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::connection_string::{KEY, KEY_NAME, Pairs, SIGNATURE, both_secrets};
use crate::error::Error;
use crate::sas::{SasToken, SharedAccessKey};
use crate::time::unix_now;

/// Where an event hub is, and who reads it.
#[derive(Clone, Debug)]
pub struct EventHubConnectionString {
    host_name: String,
    port: Option<u16>,
    event_hub: String,
    credential: EventHubCredential,
    is_emulator: bool,
}

/// The secret of the string.
#[derive(Clone)]
pub(crate) enum EventHubCredential {
    Key { policy: String, key: SharedAccessKey },
    Token(SasToken),
}

impl EventHubConnectionString {
    /// Reads the text:
    /// `Endpoint=sb://{host}/;SharedAccessKeyName={policy};SharedAccessKey={key};EntityPath={event hub}`, or one with
    /// `SharedAccessSignature=` in place of policy and key. `UseDevelopmentEmulator=true` means TCP without TLS.
    ///
    /// # Errors
    /// `InvalidConfiguration`, saying which part is missing, unknown or unreadable.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut pairs = Pairs::parse(text)?;
        let (host_name, port) = address(&pairs.require(ENDPOINT)?)?;
        let credential = match (pairs.take(KEY), pairs.take(SIGNATURE)) {
            (Some(key), None) => EventHubCredential::Key {
                policy: pairs.require(KEY_NAME)?,
                key: SharedAccessKey::of_event_hub(&key),
            },
            (None, Some(token)) => EventHubCredential::Token(SasToken::parse(&token)?),
            (Some(_), Some(_)) => return Err(both_secrets()),
            (None, None) => {
                return Err(Error::configuration("the connection string has no SharedAccessKey="));
            }
        };
        let event_hub = pairs.require(ENTITY_PATH)?;
        let is_emulator = pairs.take(EMULATOR).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        pairs.finish()?;
        Ok(Self { host_name, port, event_hub, credential, is_emulator })
    }

    /// The host to connect to.
    #[must_use]
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// The name of the event hub there.
    #[must_use]
    pub fn event_hub(&self) -> &str {
        &self.event_hub
    }

    /// Whether it is one without TLS.
    #[must_use]
    pub const fn is_emulator(&self) -> bool {
        self.is_emulator
    }

    pub(crate) const fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) const fn credential(&self) -> &EventHubCredential {
        &self.credential
    }
}

impl FromStr for EventHubConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl EventHubCredential {
    /// A token for `audience` that lasts that long, or the one there is.
    pub(crate) fn token(&self, audience: &str, lifetime: Duration) -> SasToken {
        match self {
            Self::Key { policy, key } => {
                SasToken::sign(audience, key, unix_now().saturating_add(lifetime), Some(policy))
            }
            Self::Token(token) => token.clone(),
        }
    }

    pub(crate) const fn is_renewable(&self) -> bool {
        matches!(self, Self::Key { .. })
    }
}

impl fmt::Debug for EventHubCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { policy, key } => write!(f, "Key({policy:?}, {key:?})"),
            Self::Token(token) => token.fmt(f),
        }
    }
}

/// Host and port of an endpoint.
fn address(endpoint: &str) -> Result<(String, Option<u16>), Error> {
    let not_one =
        || Error::configuration(format!("Endpoint={endpoint} is not sb://host/ or sb://host:port/"));
    let uri: http::Uri = endpoint.parse().map_err(|_| not_one())?;
    let is_sb = uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("sb"));
    match uri.host() {
        Some(host) if is_sb && !host.is_empty() => {
            Ok((host.trim_matches(['[', ']']).to_owned(), uri.port_u16()))
        }
        _ => Err(not_one()),
    }
}

const EMULATOR: &str = "UseDevelopmentEmulator";
const ENDPOINT: &str = "Endpoint";
const ENTITY_PATH: &str = "EntityPath";

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0;EntityPath=hub";

    fn parse(text: &str) -> Result<EventHubConnectionString, String> {
        EventHubConnectionString::parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn host_port_event_hub_and_emulator_are_read() {
        let read = parse(&format!("Endpoint=sb://h.example/;{REST}")).unwrap();
        assert_eq!((read.host_name(), read.port(), read.event_hub()), ("h.example", None, "hub"));
        assert!(!read.is_emulator());
        let read =
            parse(&format!("{REST};UseDevelopmentEmulator=true;Endpoint=sb://localhost:5673")).unwrap();
        assert_eq!((read.host_name(), read.port(), read.is_emulator()), ("localhost", Some(5673), true));
        assert_eq!(parse(&format!("Endpoint=sb://[::1]/;{REST}")).unwrap().host_name(), "::1");
    }

    #[test]
    fn the_key_is_the_text_and_not_what_it_is_the_base64_of() {
        let read = parse(&format!("Endpoint=sb://h/;{REST}")).unwrap();
        let token = read.credential().token("sb://h/hub", Duration::from_secs(60));
        let expires_at = token.expires_at();
        let signed_with =
            |key: SharedAccessKey| SasToken::sign("sb://h/hub", &key, expires_at, Some("service"));
        assert_eq!(token.as_str(), signed_with(SharedAccessKey::of_event_hub("c2VjcmV0")).as_str());
        assert_ne!(token.as_str(), signed_with(SharedAccessKey::from_base64("c2VjcmV0").unwrap()).as_str());
    }

    #[test]
    fn a_string_that_cannot_be_meant_is_refused_with_the_reason() {
        for (text, reason) in [
            (REST.to_owned(), "no Endpoint="),
            (format!("Endpoint=h.example;{REST}"), "is not sb://"),
            (format!("Endpoint=https://h.example/;{REST}"), "is not sb://"),
            ("Endpoint=sb://h/;EntityPath=hub".to_owned(), "no SharedAccessKey="),
            ("Endpoint=sb://h/;SharedAccessKey=a;EntityPath=hub".to_owned(), "no SharedAccessKeyName="),
            ("Endpoint=sb://h/;SharedAccessKeyName=p;SharedAccessKey=a".to_owned(), "no EntityPath="),
            (format!("Endpoint=sb://h/;{REST};Port=1"), "Port="),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", parse(&format!("Endpoint=sb://h/;{REST}")).unwrap());
        assert!(shown.contains("***") && !shown.contains("c2VjcmV0"), "{shown}");
    }
}
