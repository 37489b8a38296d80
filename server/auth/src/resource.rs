//! The `sr` of a SAS token: which hub it names and how far it reaches (contract/rest.md 5.1, contract/mqtt.md 2.4).
//!
//! SDKs write it plain, percent-encoded once, or twice (Go's modules), and an id may itself hold a `%`, so one text
//! has up to three readings. Whoever authenticates takes the first that fits; the signature is over the raw text
//! and is none of this file's business.

use std::borrow::Cow;
use std::fmt;

use hub::access::EventsPath;
use hub::ids::{HubName, IdentityId};
use percent_encoding::percent_decode_str;

/// Everything one `sr` text may mean, likeliest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    readings: Vec<Reading>,
}

impl Resource {
    /// Reads the text as it stands in a token. Whether a reading makes sense is for its [`Reach`] to say.
    pub fn parse(raw: &str) -> Self {
        let once = decoded(raw);
        let twice = once.as_deref().and_then(decoded);
        let mut readings: Vec<Reading> = Vec::with_capacity(1);
        let texts = [once.as_deref(), twice.as_deref(), Some(raw)];
        for (n, text) in texts.iter().enumerate().filter_map(|(n, text)| Some((n, (*text)?))) {
            if texts[..n].contains(&Some(text)) {
                continue;
            }
            let reading = Reading::of(text);
            // A host with an escape in it means that text has not been decoded often enough.
            if !reading.host.as_str().contains('%') && !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        Self { readings }
    }

    /// The readings, likeliest first.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }
}

/// The likeliest reading, for the log.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.readings.first().map_or(Ok(()), |reading| reading.fmt(f))
    }
}

/// One meaning of an `sr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The hub it names.
    pub host: HostName,
    /// The part of that hub.
    pub reach: Reach,
}

impl Reading {
    fn of(text: &str) -> Self {
        let text = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        Self { host: HostName::parse(host), reach: Reach::of(path) }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.reach)
    }
}

/// The path of an `sr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `/{id}`: a device without `devices/`, as the Go device SDK signs for HTTP, or an event hub.
    Bare(Box<str>),
    /// `/devices/{id}`.
    Device(Box<str>),
    /// Anything else; reaches no identity, but maybe a part of an event hub.
    Elsewhere(Box<str>),
    /// Nothing, or `/devices` as gateways sign.
    Hub,
    /// `/devices/{id}/modules/{id}`.
    Module(Box<str>, Box<str>),
}

impl Reach {
    fn of(path: &str) -> Self {
        let mut segments: Vec<&str> = path.split('/').collect();
        // A documented tool appends `api-version=...`; several clients end in a slash.
        while segments.last().is_some_and(|last| last.is_empty() || last.starts_with("api-version=")) {
            segments.pop();
        }
        let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
        match *segments.as_slice() {
            [] => Self::Hub,
            [devices] if is(devices, "devices") => Self::Hub,
            [device] => Self::Bare(device.into()),
            [devices, device] if is(devices, "devices") => Self::Device(device.into()),
            [devices, device, modules, module] if is(devices, "devices") && is(modules, "modules") => {
                Self::Module(device.into(), module.into())
            }
            _ => Self::Elsewhere(path.into()),
        }
    }

    /// Whether this is, or is a segment prefix of, the path of `identity`. Letter case is ignored: Java and the
    /// documentation's sample lower the whole text before they sign it.
    pub fn covers(&self, identity: &IdentityId) -> bool {
        let is_device = |device: &str| device.eq_ignore_ascii_case(identity.device.as_str());
        match self {
            Self::Hub => true,
            Self::Bare(device) | Self::Device(device) => is_device(device),
            Self::Module(device, module) => {
                let claimed = identity.module.as_ref().map(|module| module.as_str());
                is_device(device) && claimed.is_some_and(|claimed| module.eq_ignore_ascii_case(claimed))
            }
            Self::Elsewhere(_) => false,
        }
    }

    /// The identity the path names, where it names one.
    pub fn identity(&self) -> Option<IdentityId> {
        match self {
            Self::Bare(device) | Self::Device(device) => IdentityId::parse(device, None).ok(),
            Self::Module(device, module) => IdentityId::parse(device, Some(module)).ok(),
            Self::Elsewhere(_) | Self::Hub => None,
        }
    }

    /// The event hub of `hub`, or the part of one, that the path may name (contract/eventhubs.md 2).
    pub fn events(&self, hub: &HubName) -> Option<EventsPath> {
        match self {
            Self::Bare(path) | Self::Elsewhere(path) => EventsPath::parse(path, hub),
            Self::Device(_) | Self::Hub | Self::Module(..) => None,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(path) | Self::Elsewhere(path) => write!(f, "/{path}"),
            Self::Device(device) => write!(f, "/devices/{device}"),
            Self::Hub => Ok(()),
            Self::Module(device, module) => write!(f, "/devices/{device}/modules/{module}"),
        }
    }
}

/// A host as clients name it: lower case, without port, brackets or the dot at the end of a full DNS name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(Box<str>);

impl HostName {
    /// Reads `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
    pub fn parse(text: &str) -> Self {
        let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _port)) => address,
            None => match text.split_once(':') {
                Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
                _ => text,
            },
        };
        let mut name: Box<str> = host.trim_end_matches('.').into();
        name.make_ascii_lowercase();
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(raw: &str) -> Reading {
        Resource::parse(raw).readings()[0].clone()
    }

    fn some_reading_covers(raw: &str, device: &str, module: Option<&str>) -> bool {
        let identity = IdentityId::parse(device, module).unwrap();
        Resource::parse(raw).readings().iter().any(|reading| reading.reach.covers(&identity))
    }

    #[test]
    fn a_host_is_read_with_and_without_port_in_every_encoding() {
        for (raw, host) in [
            ("localhost", "localhost"),
            ("LocalHost", "localhost"),
            ("localhost:8443", "localhost"),
            ("localhost%3A8443", "localhost"),
            ("localhost%3a8443%2Fdevices%2Fd", "localhost"),
            ("https://localhost/devices/d", "localhost"),
            ("amqps%3A%2F%2Fmyhub.example%3A5671%2F", "myhub.example"),
            ("::1", "::1"),
            ("[::1]:443/devices/d", "::1"),
            ("myhub.example./devices/d", "myhub.example"),
        ] {
            assert_eq!(first(raw).host.as_str(), host, "{raw}");
        }
    }

    #[test]
    fn every_spelling_an_sdk_sends_reaches_its_identity() {
        for (raw, device, module) in [
            ("h%2Fdevices%2Fd", "d", None),
            ("h%2fdevices%2fd", "d", None),
            ("h/devices/d", "d", None),
            ("h/devices/d/", "d", None),
            ("h/devices/d/api-version=2016-11-14", "d", None),
            ("h/d", "d", None),
            ("h%2Fdevices%2Fd%2Fmodules%2Fm", "d", Some("m")),
            ("h%252Fdevices%252Fd%252Fmodules%252Fm", "d", Some("m")),
            ("h/DEVICES/d/Modules/m", "d", Some("m")),
            ("h/devices/d", "d", Some("m")),
            ("h/devices", "d", Some("m")),
            ("h", "d", None),
            ("h%2Fdevices%2FDevice-1", "device-1", None),
        ] {
            assert!(some_reading_covers(raw, device, module), "{raw}");
        }
    }

    #[test]
    fn a_prefix_counts_by_segment_only() {
        for (raw, device, module) in [
            ("h/devices/d", "d2", None),
            ("h/devices/d2", "d", None),
            ("h/device", "d", None),
            ("h/devices/d/modules/m", "d", None),
            ("h/devices/d/modules/m", "d", Some("m2")),
            ("h/devices/d/modules/m", "e", Some("m")),
            ("h/devices/d/messages/events", "d", None),
            ("h/twins/d", "d", None),
        ] {
            assert!(!some_reading_covers(raw, device, module), "{raw}");
        }
    }

    #[test]
    fn a_percent_sign_in_an_id_survives_one_encoding_and_none() {
        assert!(some_reading_covers("h%2Fdevices%2Fa%2541", "a%41", None));
        assert!(some_reading_covers("h/devices/a%41", "a%41", None));
        assert!(!some_reading_covers("h%2Fdevices%2Fa%2541", "a%2541", None));
    }

    #[test]
    fn only_a_path_that_names_an_identity_yields_one() {
        assert_eq!(first("h/devices/d/modules/m").reach.identity().unwrap().to_string(), "d/m");
        assert_eq!(first("h").reach.identity(), None);
        assert_eq!(first("h/devices/a b").reach.identity(), None);
    }

    #[test]
    fn text_that_is_no_utf8_when_decoded_has_no_reading_but_its_raw_one() {
        assert_eq!(Resource::parse("h/devices/%ff").readings().len(), 1);
        assert!(Resource::parse("h%ff/devices/d").readings().is_empty());
    }
}
