//! Direct methods: requests to the client on one link, its responses on the other (contract/amqp.md 4.4).
//!
//! A request waits in its link for credit; the response finds its call by the correlation-id. The core gives up
//! calls on its own clock, so nothing is kept here about those that are never answered.

use bytes::Bytes;
use hub::limits;
use hub::method::{MethodRequest, MethodRequestId, MethodResponse};
use uuid::{Builder, Uuid};

use crate::engine::encode;
use crate::engine::message::{Message, Properties, Scalar};
use crate::engine::outgoing::{Body, Entry, OutgoingMessage, OutgoingProperties};
use crate::engine::value::Malformed;
use crate::names::methods as names;

/// Bytes of a response beside its payload: sections, and properties that some clients add.
const ENCODING_BYTES: usize = 32 * 1024;
/// Largest response collected; the core judges the payload inside.
pub(crate) const RESPONSE_BYTES_MAX: usize = limits::METHOD_PAYLOAD_BYTES + ENCODING_BYTES;

/// The bits of a correlation-id that number the request; the version and variant of the uuid lie between them.
const REQUEST_BITS: u128 = 0xFFFF_FFFF_0000_0000_0000_0000_FFFF_FFFF;

/// Makes correlation-ids of one session's requests, and requests of them again. An id is a random uuid that belongs
/// to the session, with the request's number mixed in; so ids need not be remembered, and one of another session
/// means nothing here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Correlation(Uuid);

impl Correlation {
    pub(crate) const fn new(random: u128) -> Self {
        Self(Builder::from_random_bytes(random.to_be_bytes()).into_uuid())
    }

    fn id(self, request: MethodRequestId) -> Uuid {
        let (high, low) = (u128::from(request.0 >> 32), u128::from(request.0 as u32));
        Uuid::from_u128(self.0.as_u128() ^ (high << 96 | low))
    }

    /// The request an id stands for, if it is one of this session's.
    pub(crate) fn request(self, id: Uuid) -> Option<MethodRequestId> {
        let number = self.0.as_u128() ^ id.as_u128();
        let (high, low) = ((number >> 96) as u64, u64::from(number as u32));
        (number & !REQUEST_BITS == 0).then_some(MethodRequestId(high << 32 | low))
    }
}

/// The message that asks for a method. The C SDK takes the id as a uuid only, and all of them the payload as data.
pub(crate) fn request(request: &MethodRequest, correlation: Correlation) -> Bytes {
    let id = encode::uuid(correlation.id(request.id));
    OutgoingMessage {
        properties: OutgoingProperties { correlation_id: Entry::Encoded(&id), ..Default::default() },
        application: &[(names::NAME, Entry::Text(request.name.as_str()))],
        body: Body::Data(&request.payload),
        ..OutgoingMessage::default()
    }
    .encode()
}

/// What a client answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `None` when it is text that no request was ever sent with.
    pub(crate) correlation_id: Option<Uuid>,
    pub(crate) response: MethodResponse,
}

impl Answer {
    pub(crate) fn parse(message: Message) -> Result<Self, Malformed> {
        let correlation_id = match Properties::scalar(message.properties.correlation_id.as_ref())? {
            Scalar::Uuid(id) => Some(id),
            Scalar::Text(text) => Uuid::parse_str(&text).ok(),
            _ => return Err(Malformed::new("a method response needs the correlation-id of its request")),
        };
        let status = match message.application_property(names::STATUS) {
            Some(Scalar::Int(status)) => i32::try_from(*status).ok(),
            Some(Scalar::Uint(status)) => i32::try_from(*status).ok(),
            _ => None,
        };
        let Some(status) = status else {
            return Err(Malformed::new(format!(
                "a method response needs the application property {} with an int",
                names::STATUS
            )));
        };
        let body = message.into_body();
        let payload = (!body.is_empty()).then_some(body);
        Ok(Self { correlation_id, response: MethodResponse { status, payload } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Correlation = Correlation::new(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF);

    fn answer(
        correlation_id: Vec<u8>,
        status: Option<Scalar>,
        body: &'static [u8],
    ) -> Result<Answer, Malformed> {
        Answer::parse(Message {
            properties: Properties { correlation_id: Some(correlation_id.into()), ..Properties::default() },
            application: status.map(|status| (names::STATUS.to_owned(), status)).into_iter().collect(),
            data: vec![Bytes::from_static(body)],
            ..Message::default()
        })
    }

    fn text(text: &str) -> Vec<u8> {
        [&[0xA1, text.len() as u8], text.as_bytes()].concat()
    }

    #[test]
    fn a_request_is_found_again_by_its_id_whatever_its_number() {
        for number in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let id = SESSION.id(MethodRequestId(number));
            assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
            assert_eq!(SESSION.request(id), Some(MethodRequestId(number)));
        }
    }

    #[test]
    fn an_id_of_another_session_is_no_request_of_this_one() {
        let other = Correlation::new(7);
        assert_eq!(SESSION.request(other.id(MethodRequestId(1))), None);
        assert_eq!(SESSION.request(Uuid::nil()), None);
    }

    #[test]
    fn the_correlation_id_comes_back_as_uuid_or_as_text() {
        let id = SESSION.id(MethodRequestId(5));
        for (encoded, expected) in [
            (encode::uuid(id).to_vec(), Some(id)),
            (text(&id.to_string()), Some(id)),
            (text(&id.to_string().to_uppercase()), Some(id)),
            (text("something of its own"), None),
        ] {
            assert_eq!(answer(encoded, Some(Scalar::Int(200)), b"").unwrap().correlation_id, expected);
        }
    }

    #[test]
    fn a_response_without_an_id_or_with_one_of_another_kind_is_malformed() {
        assert!(Answer::parse(Message::default()).is_err());
        for encoded in [vec![0x40], vec![0x44], vec![0x53, 7], vec![0xA0, 1, b'x']] {
            assert!(answer(encoded, Some(Scalar::Int(200)), b"{}").is_err());
        }
    }

    #[test]
    fn a_status_is_any_integer_that_fits_an_int() {
        let status = |status| {
            let id = encode::uuid(SESSION.id(MethodRequestId(5))).to_vec();
            answer(id, status, b"1").ok().map(|answer| answer.response.status)
        };
        assert_eq!(status(Some(Scalar::Int(-1))), Some(-1));
        assert_eq!(status(Some(Scalar::Int(i32::MAX.into()))), Some(i32::MAX));
        assert_eq!(status(Some(Scalar::Uint(404))), Some(404));
        assert_eq!(status(Some(Scalar::Int(i64::from(i32::MAX) + 1))), None);
        assert_eq!(status(Some(Scalar::Uint(u64::MAX))), None);
        assert_eq!(status(Some(Scalar::Text("200".into()))), None);
        assert_eq!(status(Some(Scalar::Null)), None);
        assert_eq!(status(None), None);
    }

    #[test]
    fn an_empty_body_is_no_payload_and_any_other_is_passed_on_as_it_is() {
        for (body, payload) in
            [(&b""[..], None), (b"null", Some("null")), (b"\"\"", Some("\"\"")), (b"{ }", Some("{ }"))]
        {
            let id = encode::uuid(SESSION.id(MethodRequestId(5))).to_vec();
            let answer = answer(id, Some(Scalar::Int(1)), body).unwrap();
            assert_eq!(answer.response.payload.as_deref(), payload.map(str::as_bytes));
        }
    }
}
