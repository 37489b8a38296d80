//! A cloud-to-device message as its sender meant it, and the names of what can become of it.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

use crate::time::Timestamp;

/// A message on its way to a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudToDeviceMessage {
    /// Chosen by the sender; feedback names it.
    pub message_id: Option<String>,
    /// Chosen by the sender.
    pub correlation_id: Option<String>,
    /// Chosen by the sender.
    pub user_id: Option<String>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The encoding of the body.
    pub content_encoding: Option<String>,
    /// When the sender made it, as sent.
    pub creation_time_utc: Option<String>,
    /// Which outcomes the sender wants to hear of; `None` when it did not say.
    pub acknowledgement: Option<Acknowledgement>,
    /// When it expires; `None` for the hub's default.
    pub expires_at: Option<Timestamp>,
    /// The sender's own properties in the order sent; `None` is a key without a value.
    pub application: Vec<(String, Option<String>)>,
    /// Any bytes, possibly none.
    pub body: Bytes,
}

impl CloudToDeviceMessage {
    /// What counts against the size limit: body, system values, application names and values.
    pub fn size_bytes(&self) -> usize {
        let system = [
            &self.message_id,
            &self.correlation_id,
            &self.user_id,
            &self.content_type,
            &self.content_encoding,
            &self.creation_time_utc,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let text =
            |(name, value): &(String, Option<String>)| name.len() + value.as_ref().map_or(0, String::len);
        self.body.len() + system + self.application.iter().map(text).sum::<usize>()
    }
}

/// `iothub-ack`: which outcomes produce feedback (contract/amqp.md 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Both.
    Full,
    /// Only when it was dead-lettered.
    Negative,
    /// Never.
    None,
    /// Only when the device completed it.
    Positive,
}

impl Acknowledgement {
    /// Every value.
    pub const ALL: &[Self] = &[Self::Full, Self::Negative, Self::None, Self::Positive];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Negative => "negative",
            Self::None => "none",
            Self::Positive => "positive",
        }
    }

    /// Reads the word in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|ack| ack.as_str().eq_ignore_ascii_case(text))
    }

    pub(crate) const fn wants(self, outcome: Outcome) -> bool {
        match self {
            Self::Full => true,
            Self::Negative => !matches!(outcome, Outcome::Success),
            Self::None => false,
            Self::Positive => matches!(outcome, Outcome::Success),
        }
    }
}

/// What became of a message; each message has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Given back too often.
    DeliveryCountExceeded,
    /// Not completed before its expiry.
    Expired,
    /// The back end purged the queue.
    Purged,
    /// The device refused it.
    Rejected,
    /// The device completed it.
    Success,
}

impl Outcome {
    /// The word in feedback records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Expired => "Expired",
            Self::Purged => "Purged",
            Self::Rejected => "Rejected",
            Self::Success => "Success",
        }
    }
}

/// Proof of who holds a delivered message; a GUID, since .NET clients read it as one (contract/amqp.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockToken(Uuid);

impl LockToken {
    pub(crate) fn from_random(bits: u128) -> Self {
        Self(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid())
    }

    /// Reads the text form, quoted or not.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text.trim_matches('"')).ok().map(Self)
    }

    /// Reads the 16 bytes as .NET orders them.
    pub const fn from_dotnet_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes_le(bytes))
    }

    /// The 16 bytes as .NET orders them: the first three groups little-endian.
    pub fn to_dotnet_bytes(self) -> [u8; 16] {
        self.0.to_bytes_le()
    }
}

/// The hyphenated lower-case form.
impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgement_words_are_read_in_any_case_and_others_are_not() {
        assert_eq!(Acknowledgement::parse("FULL"), Some(Acknowledgement::Full));
        assert_eq!(Acknowledgement::parse("all"), None);
    }

    #[test]
    fn each_acknowledgement_wants_its_outcomes_and_no_others() {
        for (ack, success, expired) in [
            (Acknowledgement::Full, true, true),
            (Acknowledgement::Negative, false, true),
            (Acknowledgement::None, false, false),
            (Acknowledgement::Positive, true, false),
        ] {
            assert_eq!((ack.wants(Outcome::Success), ack.wants(Outcome::Expired)), (success, expired));
        }
    }

    #[test]
    fn a_lock_token_survives_its_text_form_and_shows_dotnet_order() {
        let token = LockToken::from_random(0x0011_2233_4455_4677_8899_aabb_ccdd_eeff);
        assert_eq!(token.to_string(), "00112233-4455-4677-8899-aabbccddeeff");
        assert_eq!(LockToken::parse(&format!("\"{token}\"")), Some(token));
        assert_eq!(token.to_dotnet_bytes()[..8], [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x46]);
        assert_eq!(LockToken::from_dotnet_bytes(token.to_dotnet_bytes()), token);
        assert_eq!(LockToken::parse("no guid"), None);
    }
}
