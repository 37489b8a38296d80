//! Connection strings (contract/rest.md 5.3): `Name=value` pairs joined by `;`, in any order, for the service
//! side and for devices and modules. They are parsed and written here; secrets print `***` in `Debug`.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::identity_id::IdentityId;
use crate::sas::{SasToken, SharedAccessKey};

/// How a back end signs in: a shared access policy of the hub.
#[derive(Clone, Debug)]
pub struct ServiceConnectionString {
    host_name: String,
    credential: ServiceCredential,
}

/// How a device or module signs in.
#[derive(Clone, Debug)]
pub struct DeviceConnectionString {
    host_name: String,
    gateway_host_name: Option<String>,
    identity: IdentityId,
    credential: DeviceCredential,
}

/// The secret of a service connection string.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServiceCredential {
    /// A policy and its key: tokens are signed as needed.
    Key {
        /// Name of the shared access policy.
        policy: String,
        /// One of its keys.
        key: SharedAccessKey,
    },
    /// A token signed elsewhere; it is used until it expires.
    Token(SasToken),
}

/// The secret of a device connection string.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeviceCredential {
    /// The identity's own key, or a key of the policy named.
    Key {
        /// One of its keys.
        key: SharedAccessKey,
        /// The shared access policy the key belongs to; none when it is the identity's own.
        policy: Option<String>,
    },
    /// A token signed elsewhere; it is used until it expires.
    Token(SasToken),
    /// A client certificate, which is given apart from the string.
    X509,
}

impl ServiceConnectionString {
    /// Names a hub and one of its policies.
    #[must_use]
    pub fn new(host_name: impl Into<String>, policy: impl Into<String>, key: SharedAccessKey) -> Self {
        let credential = ServiceCredential::Key { policy: policy.into(), key };
        Self { host_name: host_name.into(), credential }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// `InvalidConfiguration`, saying which part is missing, unknown or unreadable.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut pairs = Pairs::parse(text)?;
        if pairs.take(DEVICE_ID).is_some() {
            return Err(Error::configuration(
                "this is a device's connection string: the service side needs one of a policy, \
                 with SharedAccessKeyName= and without DeviceId=",
            ));
        }
        let host_name = pairs.require(HOST_NAME)?;
        let credential = match (pairs.take(KEY), pairs.take(SIGNATURE)) {
            (Some(key), None) => ServiceCredential::Key {
                policy: pairs.require(KEY_NAME)?,
                key: SharedAccessKey::from_base64(&key)?,
            },
            (None, Some(token)) => {
                pairs.take(KEY_NAME);
                ServiceCredential::Token(SasToken::parse(&token)?)
            }
            (Some(_), Some(_)) => return Err(both_secrets()),
            (None, None) => {
                return Err(Error::configuration("the connection string has no SharedAccessKey="));
            }
        };
        pairs.finish()?;
        Ok(Self { host_name, credential })
    }

    /// The hub's host name.
    #[must_use]
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// The policy's key or token.
    #[must_use]
    pub const fn credential(&self) -> &ServiceCredential {
        &self.credential
    }
}

impl DeviceConnectionString {
    /// Names a device or module and how it signs in.
    #[must_use]
    pub fn new(host_name: impl Into<String>, identity: IdentityId, credential: DeviceCredential) -> Self {
        Self { host_name: host_name.into(), gateway_host_name: None, identity, credential }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// `InvalidConfiguration`, saying which part is missing, unknown or unreadable.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut pairs = Pairs::parse(text)?;
        let host_name = pairs.require(HOST_NAME)?;
        let Some(device) = pairs.take(DEVICE_ID) else {
            return Err(Error::configuration(
                "the connection string has no DeviceId=: a device or module needs its own string, not a \
                 policy's (create-identities prints it)",
            ));
        };
        let identity = match pairs.take(MODULE_ID) {
            Some(module) => IdentityId::of_module(device, module)?,
            None => IdentityId::of_device(device)?,
        };
        let gateway_host_name = pairs.take(GATEWAY_HOST_NAME);
        let x509 = pairs.take(X509).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let policy = pairs.take(KEY_NAME);
        let credential = match (pairs.take(KEY), pairs.take(SIGNATURE), x509) {
            (None, None, true) => DeviceCredential::X509,
            (Some(key), None, false) => {
                DeviceCredential::Key { key: SharedAccessKey::from_base64(&key)?, policy }
            }
            (None, Some(token), false) => DeviceCredential::Token(SasToken::parse(&token)?),
            (None, None, false) => {
                return Err(Error::configuration(
                    "the connection string has no SharedAccessKey=, SharedAccessSignature= or x509=true",
                ));
            }
            _ => return Err(both_secrets()),
        };
        pairs.finish()?;
        Ok(Self { host_name, gateway_host_name, identity, credential })
    }

    /// The hub's host name.
    #[must_use]
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// The gateway to dial instead of the hub; tokens and user names keep naming the hub.
    #[must_use]
    pub fn gateway_host_name(&self) -> Option<&str> {
        self.gateway_host_name.as_deref()
    }

    /// The device or module.
    #[must_use]
    pub const fn identity(&self) -> &IdentityId {
        &self.identity
    }

    /// How it signs in.
    #[must_use]
    pub const fn credential(&self) -> &DeviceCredential {
        &self.credential
    }
}

impl FromStr for ServiceConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl FromStr for DeviceConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// Writes the string with its secret, as it would be pasted into a program.
impl fmt::Display for ServiceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HOST_NAME}={}", self.host_name)?;
        match &self.credential {
            ServiceCredential::Key { policy, key } => {
                write!(f, ";{KEY_NAME}={policy};{KEY}={}", key.to_base64())
            }
            ServiceCredential::Token(token) => write!(f, ";{SIGNATURE}={}", token.as_str()),
        }
    }
}

/// Writes the string with its secret, as it would be pasted into a program.
impl fmt::Display for DeviceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HOST_NAME}={};{DEVICE_ID}={}", self.host_name, self.identity.device())?;
        if let Some(module) = self.identity.module() {
            write!(f, ";{MODULE_ID}={module}")?;
        }
        if let Some(gateway) = &self.gateway_host_name {
            write!(f, ";{GATEWAY_HOST_NAME}={gateway}")?;
        }
        match &self.credential {
            DeviceCredential::Key { key, policy } => {
                if let Some(policy) = policy {
                    write!(f, ";{KEY_NAME}={policy}")?;
                }
                write!(f, ";{KEY}={}", key.to_base64())
            }
            DeviceCredential::Token(token) => write!(f, ";{SIGNATURE}={}", token.as_str()),
            DeviceCredential::X509 => write!(f, ";{X509}=true"),
        }
    }
}

/// The pairs not yet taken. Names are compared without case, as some SDKs write `hostname`.
pub(crate) struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Err(Error::configuration("no connection string was given"));
        }
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in text.trim().split(';').filter(|part| !part.trim().is_empty()) {
            // The value may hold more "=": Base64 ends in them, a token is made of them.
            let Some((name, value)) = part.split_once('=') else {
                return Err(Error::configuration(
                    "a part of the connection string is not Name=value: quote the string, \
                     a shell ends a command at \";\"",
                ));
            };
            let name = name.trim();
            if pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(Error::configuration(format!("the connection string has {name}= twice")));
            }
            pairs.push((name, value.trim()));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))?;
        let (_, value) = self.0.swap_remove(at);
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub(crate) fn require(&mut self, name: &str) -> Result<String, Error> {
        self.take(name).ok_or_else(|| Error::configuration(format!("the connection string has no {name}=")))
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::configuration(format!(
                "the connection string has a part {name}= that is not known here"
            ))),
        }
    }
}

pub(crate) fn both_secrets() -> Error {
    Error::configuration(
        "the connection string has more than one of SharedAccessKey=, SharedAccessSignature= and x509=true",
    )
}

const DEVICE_ID: &str = "DeviceId";
const GATEWAY_HOST_NAME: &str = "GatewayHostName";
const HOST_NAME: &str = "HostName";
pub(crate) const KEY: &str = "SharedAccessKey";
pub(crate) const KEY_NAME: &str = "SharedAccessKeyName";
const MODULE_ID: &str = "ModuleId";
pub(crate) const SIGNATURE: &str = "SharedAccessSignature";
const X509: &str = "x509";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_TEXT: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    #[test]
    fn a_service_string_is_read_in_any_order_and_written_back() {
        let text = format!("HostName=h.example;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY_TEXT}");
        let shuffled =
            format!("sharedaccesskey={KEY_TEXT};HostName=h.example;SharedAccessKeyName=iothubowner;");
        assert_eq!(ServiceConnectionString::parse(&text).unwrap().to_string(), text);
        assert_eq!(ServiceConnectionString::parse(&shuffled).unwrap().to_string(), text);
    }

    #[test]
    fn every_kind_of_device_string_survives_a_round_trip() {
        for rest in [
            format!("DeviceId=d;SharedAccessKey={KEY_TEXT}"),
            format!("DeviceId=d;ModuleId=m;SharedAccessKey={KEY_TEXT}"),
            format!("DeviceId=d;ModuleId=m;GatewayHostName=g;SharedAccessKey={KEY_TEXT}"),
            format!("DeviceId=d;SharedAccessKeyName=device;SharedAccessKey={KEY_TEXT}"),
            "DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=h&sig=a%3D&se=9".to_owned(),
            "DeviceId=d;ModuleId=m;x509=true".to_owned(),
        ] {
            let text = format!("HostName=h;{rest}");
            assert_eq!(DeviceConnectionString::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_string_that_cannot_be_meant_is_refused_with_the_reason() {
        let key = format!("SharedAccessKey={KEY_TEXT}");
        for (text, reason) in [
            (String::new(), "no connection string"),
            (format!("DeviceId=d;{key}"), "no HostName="),
            (format!("HostName=h;{key}"), "no DeviceId="),
            ("HostName=h;DeviceId=d".to_owned(), "no SharedAccessKey="),
            (format!("HostName=h;DeviceId=d;{key};x509=true"), "more than one"),
            (format!("HostName=h;HostName=i;DeviceId=d;{key}"), "twice"),
            (format!("HostName=h;DeviceId=d;Port=1;{key}"), "Port="),
            ("HostName=h;DeviceId".to_owned(), "not Name=value"),
            ("HostName=h;DeviceId=a b;x509=true".to_owned(), "not a device id"),
        ] {
            let error = DeviceConnectionString::parse(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_device_string_is_not_taken_for_a_service_string() {
        let text = format!("HostName=h;DeviceId=d;SharedAccessKey={KEY_TEXT}");
        assert!(ServiceConnectionString::parse(&text).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let service = format!("HostName=h;SharedAccessKeyName=p;SharedAccessKey={KEY_TEXT}");
        let device = format!("HostName=h;DeviceId=d;SharedAccessKey={KEY_TEXT}");
        let shown = format!(
            "{:?} {:?}",
            ServiceConnectionString::parse(&service).unwrap(),
            DeviceConnectionString::parse(&device).unwrap()
        );
        assert!(shown.contains("***") && !shown.contains(KEY_TEXT), "{shown}");
    }
}
