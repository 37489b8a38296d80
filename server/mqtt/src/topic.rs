//! Topic names: parsed to [`Topic`] when a client publishes, formatted from it when the hub does;
//! `contract/mqtt.md 5.1`, `7` and `8`. What has no variant here closes the connection (`2.11`).
#![warn(clippy::indexing_slicing)]

use std::fmt;

use hub::ids::IdentityId;
use hub::method::MethodRequestId;

use crate::names::{method, telemetry, twin};
use crate::wire::MAX_TEXT_BYTES;

/// Longest request id in bytes. The service documents none; SDKs use at most 36. It leaves room for an answer's
/// topic to be longer than the request's, and still be a topic.
const MAX_REQUEST_ID_BYTES: usize = MAX_TEXT_BYTES - 256;

/// A topic of the hub. Text is as it stood on the wire: nothing decoded, so that it can be echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic<'a> {
    /// `$iothub/twin/PATCH/properties/desired/?$version={version}`
    DesiredChanged { version: u64 },
    /// `$iothub/methods/POST/{name}/?$rid={rid}`, the rid in lower-case hex
    MethodRequest { name: &'a str, rid: MethodRequestId },
    /// `$iothub/methods/res/{status}/?$rid={rid}`
    MethodResponse { rid: RequestId<'a>, status: i32 },
    /// `$iothub/twin/PATCH/properties/reported/[?$rid={rid}][&$version={version}]`; without a rid it is not
    /// answered.
    PatchReported { rid: Option<RequestId<'a>>, version: Option<Version<'a>> },
    /// `devices/{device}[/modules/{module}]/messages/events/[bag]`
    Telemetry { device: &'a str, module: Option<&'a str>, bag: &'a str },
    /// `$iothub/twin/GET/?$rid={rid}`
    TwinGet { rid: RequestId<'a> },
    /// `$iothub/twin/res/{status}/?$rid={rid}[&$version={version}]`
    TwinResponse { rid: RequestId<'a>, status: u16, version: Option<u64> },
}

/// What a caller names its request by: any text up to the next `&`, echoed byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId<'a>(&'a str);

impl<'a> RequestId<'a> {
    /// None for text that cannot be a request id.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        (!text.is_empty() && text.len() <= MAX_REQUEST_ID_BYTES && !text.contains('&')).then_some(Self(text))
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }

    /// The method call it answers; none if the hub names no call like that.
    pub(crate) fn of_method(self) -> Option<MethodRequestId> {
        u64::from_str_radix(self.0, 16).ok().map(MethodRequestId)
    }
}

/// `$version` of a reported patch as the caller wrote it: a text that is no number is the request's fault, not
/// the topic's, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version<'a>(&'a str);

impl<'a> Version<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        (!text.contains('&')).then_some(Self(text))
    }

    /// None if it is no number.
    pub(crate) fn number(self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl<'a> Topic<'a> {
    /// None for a topic the hub does not have.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.contains(['+', '#', '\0']) {
            return None;
        }
        if let Some(rest) = text.strip_prefix(telemetry::DEVICES) {
            return parse_telemetry(rest);
        }
        if let Some(query) = text.strip_prefix(twin::GET) {
            return Some(Self::TwinGet { rid: request_id(query)? });
        }
        if let Some(query) = text.strip_prefix(twin::PATCH_REPORTED) {
            return Some(Self::PatchReported { rid: request_id(query), version: version(query) });
        }
        if let Some(query) = text.strip_prefix(twin::PATCH_DESIRED) {
            return Some(Self::DesiredChanged { version: version(query)?.number()? });
        }
        if let Some(rest) = text.strip_prefix(twin::RESPONSE) {
            let (status, query) = rest.split_once('/')?;
            let rid = request_id(query)?;
            return Some(Self::TwinResponse {
                rid,
                status: status.parse().ok()?,
                version: version(query).and_then(Version::number),
            });
        }
        if let Some(rest) = text.strip_prefix(method::REQUEST) {
            let (name, query) = rest.rsplit_once('/')?;
            return Some(Self::MethodRequest { name, rid: request_id(query)?.of_method()? });
        }
        let (status, query) = text.strip_prefix(method::RESPONSE)?.split_once('/')?;
        Some(Self::MethodResponse { rid: request_id(query)?, status: status.parse().ok()? })
    }

    /// Whether a telemetry topic names exactly this identity: ids are compared as they are, never decoded.
    pub(crate) fn is_telemetry_of(&self, identity: &IdentityId) -> bool {
        let Self::Telemetry { device, module, .. } = *self else { return false };
        device == identity.device.as_str() && module == identity.module.as_ref().map(|id| id.as_str())
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DesiredChanged { version } => {
                write!(f, "{}?{}={version}", twin::PATCH_DESIRED, twin::VERSION)
            }
            Self::MethodRequest { name, rid } => {
                write!(f, "{}{name}/?{}={:x}", method::REQUEST, twin::REQUEST_ID, rid.0)
            }
            Self::MethodResponse { rid, status } => {
                write!(f, "{}{status}/?{}={}", method::RESPONSE, twin::REQUEST_ID, rid.as_str())
            }
            Self::PatchReported { rid, version } => {
                f.write_str(twin::PATCH_REPORTED)?;
                let mut separator = '?';
                if let Some(rid) = rid {
                    write!(f, "{separator}{}={}", twin::REQUEST_ID, rid.as_str())?;
                    separator = '&';
                }
                version.map_or(Ok(()), |version| write!(f, "{separator}{}={}", twin::VERSION, version.0))
            }
            Self::Telemetry { device, module, bag } => {
                write!(f, "{}{device}/", telemetry::DEVICES)?;
                if let Some(module) = module {
                    write!(f, "{}{module}/", telemetry::MODULES)?;
                }
                write!(f, "{}/{bag}", telemetry::EVENTS)
            }
            Self::TwinGet { rid } => write!(f, "{}?{}={}", twin::GET, twin::REQUEST_ID, rid.as_str()),
            Self::TwinResponse { rid, status, version } => {
                write!(f, "{}{status:03}/?{}={}", twin::RESPONSE, twin::REQUEST_ID, rid.as_str())?;
                version.map_or(Ok(()), |version| write!(f, "&{}={version}", twin::VERSION))
            }
        }
    }
}

/// The rest of a telemetry topic after `devices/`.
fn parse_telemetry(rest: &str) -> Option<Topic<'_>> {
    let (device, rest) = rest.split_once('/')?;
    let (module, rest) = match rest.strip_prefix(telemetry::MODULES) {
        Some(rest) => {
            let (module, rest) = rest.split_once('/')?;
            (Some(module), rest)
        }
        None => (None, rest),
    };
    let bag = rest.strip_prefix(telemetry::EVENTS)?;
    let bag = match bag.strip_prefix('/') {
        Some(bag) => bag,
        None if bag.is_empty() => bag,
        None => return None,
    };
    // One trailing slash (C# always, Java and Node for modules) and one leading question mark are not the bag's.
    let bag = bag.strip_suffix('/').unwrap_or(bag);
    let bag = bag.strip_prefix('?').unwrap_or(bag);
    Some(Topic::Telemetry { device, module, bag })
}

fn request_id(query: &str) -> Option<RequestId<'_>> {
    parameter(query, twin::REQUEST_ID).and_then(RequestId::parse)
}

fn version(query: &str) -> Option<Version<'_>> {
    parameter(query, twin::VERSION).and_then(Version::parse)
}

/// The value of `name` in `?a=b&c=d`; names are literal, values are not decoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.strip_prefix('?')?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests;
