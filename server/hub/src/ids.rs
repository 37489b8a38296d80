//! The hub's identifiers, each a type that can only hold a valid value (contract/rest.md 2.4, 0.5, 4.1).
//!
//! Text from a wire comes in through `parse`; what comes out is shared (`Arc<str>`), so an id is cheap to
//! keep in a session, an event and a journal row at once.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::error::{ErrorCode, HubError};
use crate::limits;
use crate::time::Timestamp;

/// The id of a device identity: 1 to 128 characters of the documented set, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

/// The id of a module identity, unique within its device; same alphabet and length as a device id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(Arc<str>);

impl DeviceId {
    /// Accepts exactly what the registry accepts as a device id.
    ///
    /// # Errors
    /// `ArgumentInvalid` naming the rule that is broken (contract/rest.md 2.4).
    pub fn parse(text: &str) -> Result<Self, HubError> {
        check_id("device", text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ModuleId {
    /// Accepts exactly what the registry accepts as a module id.
    ///
    /// # Errors
    /// `ArgumentInvalid` naming the rule that is broken (contract/rest.md 2.4).
    pub fn parse(text: &str) -> Result<Self, HubError> {
        check_id("module", text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The modules every edge device is born with.
    pub(crate) fn of_edge_runtime() -> [Self; 2] {
        ["$edgeAgent", "$edgeHub"].map(|id| Self(id.into()))
    }

    /// Whether this is the module that speaks for its edge device and what is below it.
    pub(crate) fn is_edge_hub(&self) -> bool {
        &*self.0 == "$edgeHub"
    }

    /// Whether the module belongs to the edge runtime (`$edgeAgent`, `$edgeHub`).
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A device, or a module of a device: whoever can connect and own a twin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId {
    /// The device, or the device that hosts the module.
    pub device: DeviceId,
    /// The module; `None` for the device itself.
    pub module: Option<ModuleId>,
}

impl IdentityId {
    /// Parses both parts.
    ///
    /// # Errors
    /// `ArgumentInvalid` as [`DeviceId::parse`].
    pub fn parse(device: &str, module: Option<&str>) -> Result<Self, HubError> {
        Ok(Self { device: DeviceId::parse(device)?, module: module.map(ModuleId::parse).transpose()? })
    }

    /// A device's own identity.
    pub const fn device(device: DeviceId) -> Self {
        Self { device, module: None }
    }

    /// A module's identity.
    pub const fn module(device: DeviceId, module: ModuleId) -> Self {
        Self { device, module: Some(module) }
    }

    /// Whether this is a module.
    pub const fn is_module(&self) -> bool {
        self.module.is_some()
    }
}

impl From<DeviceId> for IdentityId {
    fn from(device: DeviceId) -> Self {
        Self::device(device)
    }
}

/// `d` or `d/m`, as in client ids and certificate subjects.
impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{}/{module}", self.device),
            None => self.device.fmt(f),
        }
    }
}

fn check_id(kind: &str, text: &str) -> Result<(), HubError> {
    let invalid = |what: String| HubError::new(ErrorCode::ArgumentInvalid, what);
    if text.is_empty() {
        return Err(invalid(format!("The {kind} id is empty.")));
    }
    if text.chars().count() > limits::ID_CHARS {
        return Err(invalid(format!("The {kind} id is longer than {} characters.", limits::ID_CHARS)));
    }
    match text.chars().find(|c| !is_id_char(*c)) {
        None => Ok(()),
        Some(c) => Err(invalid(format!(
            "The {kind} id contains {c:?}; allowed are ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ $ ' and the semicolon."
        ))),
    }
}

const fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '-' | ':'
                | '.'
                | '+'
                | '%'
                | '_'
                | '#'
                | '*'
                | '?'
                | '!'
                | '('
                | ')'
                | ','
                | '='
                | '@'
                | ';'
                | '$'
                | '\''
        )
}

/// The version of an identity or twin, unquoted base64 text (contract/rest.md 2.1, 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(Box<str>);

impl ETag {
    /// An identity's etag: base64 of a decimal number.
    pub(crate) fn of_identity(number: u32) -> Self {
        Self(BASE64.encode(number.to_string()).into())
    }

    /// A twin's etag: base64 of an 8-byte big-endian counter.
    pub(crate) fn of_twin(counter: u64) -> Self {
        Self(BASE64.encode(counter.to_be_bytes()).into())
    }

    /// The etag as text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller demands of the stored version (contract/rest.md 0.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No header.
    Absent,
    /// `*`, quoted or not: the target must exist, in any version.
    Any,
    /// One of these etags, unquoted.
    OneOf(Vec<Box<str>>),
}

impl IfMatch {
    /// Reads every spelling the SDKs send: bare or quoted, weak prefix, lists.
    pub fn parse(header: Option<&str>) -> Self {
        let Some(header) = header else { return Self::Absent };
        let mut etags = Vec::new();
        for part in header.split(',') {
            let part = part.trim();
            let part = part.strip_prefix("W/").unwrap_or(part);
            let part = part.strip_prefix('"').and_then(|p| p.strip_suffix('"')).unwrap_or(part);
            if part == "*" {
                return Self::Any;
            }
            if !part.is_empty() {
                etags.push(part.into());
            }
        }
        Self::OneOf(etags)
    }

    /// Compares with the stored etag, which is unquoted.
    ///
    /// # Errors
    /// `PreconditionFailed` when the caller named only other versions.
    pub fn check(&self, stored: &str) -> Result<(), HubError> {
        match self {
            Self::Absent | Self::Any => Ok(()),
            Self::OneOf(etags) if etags.iter().any(|etag| **etag == *stored) => Ok(()),
            Self::OneOf(_) => Err(HubError::new(
                ErrorCode::PreconditionFailed,
                format!("The If-Match condition is not met: the stored etag is \"{stored}\"."),
            )),
        }
    }
}

/// One accepted socket, numbered in order of arrival within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hub's name: the `hubName` of events and the `EntityPath` of its event hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName(Arc<str>);

impl HubName {
    /// Letters, digits and hyphens, 1 to 50 characters.
    ///
    /// # Errors
    /// `ArgumentInvalid` for anything else.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let legal = text.len() <= 50 && !text.is_empty();
        if legal && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Ok(Self(text.into()));
        }
        Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("'{text}' is no hub name: 1 to 50 letters, digits and hyphens."),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What ties an error a client saw to the hub's log: `<32 hex>-G:0-TimeStamp:MM/dd/yyyy HH:mm:ss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackingId {
    random: u128,
    at: Timestamp,
}

impl TrackingId {
    pub(crate) const fn new(random: u128, at: Timestamp) -> Self {
        Self { random, at }
    }

    /// What its 32 digits say.
    pub const fn number(&self) -> u128 {
        self.random
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at =
            OffsetDateTime::from_unix_timestamp(self.at.unix_secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let format = format_description!("[month]/[day]/[year] [hour]:[minute]:[second]");
        let at = at.format(&format).map_err(|_| fmt::Error)?;
        write!(f, "{:032x}-G:0-TimeStamp:{at}", self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_character_may_stand_in_an_id() {
        let all = "ABCxyz019-:.+%_#*?!(),=@;$'";
        assert_eq!(DeviceId::parse(all).unwrap().as_str(), all);
    }

    #[test]
    fn an_id_of_128_characters_is_accepted_and_129_refused() {
        assert!(DeviceId::parse(&"a".repeat(128)).is_ok());
        assert_eq!(DeviceId::parse(&"a".repeat(129)).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    }

    #[test]
    fn spaces_slashes_and_letters_beyond_ascii_are_refused_by_name() {
        for bad in ["a b", "a/b", "gerät", "a\u{0}", "", "a\"b"] {
            assert_eq!(ModuleId::parse(bad).unwrap_err().code(), ErrorCode::ArgumentInvalid, "{bad:?}");
        }
        assert!(DeviceId::parse("a b").unwrap_err().message().contains("' '"));
    }

    #[test]
    fn if_match_reads_every_spelling_the_sdks_send() {
        let one = |etag: &str| IfMatch::OneOf(vec![etag.into()]);
        for (header, expected) in [
            (None, IfMatch::Absent),
            (Some("*"), IfMatch::Any),
            (Some("\"*\""), IfMatch::Any),
            (Some("\"MTI=\""), one("MTI=")),
            (Some("MTI="), one("MTI=")),
            (Some(" W/\"MTI=\" "), one("MTI=")),
            (Some("\"a\", \"b\""), IfMatch::OneOf(vec!["a".into(), "b".into()])),
        ] {
            assert_eq!(IfMatch::parse(header), expected, "{header:?}");
        }
    }

    #[test]
    fn an_etag_matches_byte_for_byte_and_a_stale_one_does_not() {
        let stored = ETag::of_identity(12);
        assert_eq!(stored.as_str(), "MTI=");
        assert!(IfMatch::parse(Some("\"MTI=\"")).check(stored.as_str()).is_ok());
        let stale = IfMatch::parse(Some("MTI")).check(stored.as_str()).unwrap_err();
        assert_eq!(stale.code(), ErrorCode::PreconditionFailed);
    }

    #[test]
    fn the_first_twin_etag_is_the_captured_one() {
        assert_eq!(ETag::of_twin(1).as_str(), "AAAAAAAAAAE=");
    }

    #[test]
    fn a_tracking_id_has_the_captured_shape() {
        let id = TrackingId::new(0xab, Timestamp::from_unix_secs(1_468_627_961));
        assert_eq!(id.to_string(), "000000000000000000000000000000ab-G:0-TimeStamp:07/16/2016 00:12:41");
    }
}
