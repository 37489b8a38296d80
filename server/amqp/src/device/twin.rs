//! The twin node: requests in, replies and desired-property notifications out (contract/amqp.md 4.5).

use bytes::Bytes;
use hub::Hub;
use hub::device_session::{DesiredChange, Interest};
use hub::error::{ErrorCode, HubError};
use hub::gate::Details;
use hub::gate::operations::{ReadOwnTwin, UpdateReported};
use hub::twin::ReportedPatch;

use crate::device::links::Connected;
use crate::engine::message::{Message, Scalar};
use crate::engine::outgoing::{Body, Entry, OutgoingMessage, OutgoingProperties};
use crate::error::status;
use crate::names::twin as names;

/// Largest twin request collected; reported properties may have 32 KiB, more is refused by the core with a reason.
pub(crate) const REQUEST_BYTES_MAX: usize = 128 * 1024;

/// What a client asks of its twin.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Get,
    PatchReported,
    SubscribeDesired,
    UnsubscribeDesired,
}

impl Request {
    fn parse(message: &Message) -> Result<Self, HubError> {
        let annotation = |name| message.annotation(name).and_then(|value| value.text());
        let resource = annotation(names::RESOURCE).unwrap_or_default();
        match (annotation(names::OPERATION), resource) {
            (Some(names::GET), _) => Ok(Self::Get),
            (Some(names::PATCH), names::REPORTED) => Ok(Self::PatchReported),
            (Some(names::PUT), names::DESIRED_SUBSCRIPTION) => Ok(Self::SubscribeDesired),
            (Some(names::DELETE), names::DESIRED_SUBSCRIPTION) => Ok(Self::UnsubscribeDesired),
            (operation, resource) => {
                let operation = operation.unwrap_or("nothing");
                let text = format!("A twin link takes no operation '{operation}' on resource '{resource}'.");
                Err(HubError::new(ErrorCode::ArgumentInvalid, text))
            }
        }
    }
}

/// Does what a request asks and yields the encoded reply. `Err` payloads are requests that could not be read.
pub(crate) async fn answer(
    request: Result<Message, HubError>,
    client: &Connected,
    hub: &Hub,
    details: Details,
) -> Bytes {
    let correlation_id = request.as_ref().ok().and_then(|message| message.properties.correlation_id.clone());
    let performed = match request {
        Ok(message) => perform(message, client, hub, details).await,
        Err(error) => Err(error),
    };
    match performed {
        Ok(done) => done.encode(correlation_id.as_deref()),
        Err(error) => {
            let tracking = hub.tracking_id();
            tracing::debug!(code = error.code().number(), %tracking, "twin request refused: {}", error.reason());
            let body = error.details_json(&tracking, hub.clock().now());
            let done = Done { status: status(error.code()), version: None, body: Bytes::from(body) };
            done.encode(correlation_id.as_deref())
        }
    }
}

async fn perform(
    message: Message,
    client: &Connected,
    hub: &Hub,
    details: Details,
) -> Result<Done, HubError> {
    let session = &client.session;
    let (grant, identity) = (session.grant(), session.identity());
    match Request::parse(&message)? {
        Request::Get => {
            let admitted = hub.gate().admit::<ReadOwnTwin>(&grant, identity.clone(), details).await?;
            Ok(Done { status: 200, version: None, body: hub.read_own_twin(admitted)? })
        }
        Request::PatchReported => {
            let admitted = hub.gate().admit::<UpdateReported>(&grant, identity.clone(), details).await?;
            let expected = expected_version(&message)?;
            let patch = ReportedPatch::parse(&message.into_body(), client.arrays)?;
            let version = hub.update_reported(admitted, &patch, expected)?;
            Ok(Done { status: 204, version: Some(version), body: Bytes::new() })
        }
        Request::SubscribeDesired => {
            session.subscribe(Interest::DesiredProperties);
            Ok(Done { status: 200, version: None, body: Bytes::new() })
        }
        Request::UnsubscribeDesired => {
            session.unsubscribe(Interest::DesiredProperties);
            Ok(Done { status: 200, version: None, body: Bytes::new() })
        }
    }
}

/// The reported version a patch is for; C# sends null, Java a number when its caller gives one
/// (contract/amqp.md 4.5).
fn expected_version(message: &Message) -> Result<Option<u64>, HubError> {
    match message.annotation(names::VERSION) {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Uint(version)) => Ok(Some(*version)),
        Some(Scalar::Int(version)) if *version >= 0 => Ok(Some(version.cast_unsigned())),
        Some(_) => {
            let text = "The annotation 'version' of the patch is not a version number.";
            Err(HubError::new(ErrorCode::ArgumentInvalid, text))
        }
    }
}

/// A reply's contents.
struct Done {
    status: i32,
    version: Option<u64>,
    body: Bytes,
}

impl Done {
    /// A data section is always there; the version only where there is one (contract/amqp.md 4.5).
    fn encode(&self, correlation_id: Option<&[u8]>) -> Bytes {
        let status = (names::STATUS, Entry::Int(self.status));
        let with_version;
        let annotations: &[_] = match self.version {
            Some(version) => {
                with_version = [status, (names::VERSION, Entry::Long(version.cast_signed()))];
                &with_version
            }
            None => &[status],
        };
        let correlation_id = Entry::echo(correlation_id);
        OutgoingMessage {
            annotations,
            properties: OutgoingProperties { correlation_id, ..Default::default() },
            body: Body::Data(&self.body),
            ..OutgoingMessage::default()
        }
        .encode()
    }
}

/// A notification: known by its resource, and by having no correlation-id.
pub(crate) fn notification(change: &DesiredChange) -> Bytes {
    OutgoingMessage {
        annotations: &[
            (names::RESOURCE, Entry::Text(names::DESIRED)),
            (names::VERSION, Entry::Long(change.version.cast_signed())),
        ],
        body: Body::Data(&change.patch),
        ..OutgoingMessage::default()
    }
    .encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: Option<&str>, resource: Option<&str>) -> Message {
        let annotations = [(names::OPERATION, operation), (names::RESOURCE, resource)];
        let present = annotations.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Message {
            annotations: present.map(|(name, value)| (name, Scalar::Text(value.to_owned()))).collect(),
            ..Message::default()
        }
    }

    #[test]
    fn the_four_requests_are_known_by_operation_and_resource() {
        let parse = |operation, resource| Request::parse(&request(operation, resource)).ok();
        assert_eq!(parse(Some("GET"), None), Some(Request::Get));
        assert_eq!(parse(Some("PATCH"), Some("/properties/reported")), Some(Request::PatchReported));
        let desired = Some("/notifications/twin/properties/desired");
        assert_eq!(parse(Some("PUT"), desired), Some(Request::SubscribeDesired));
        assert_eq!(parse(Some("DELETE"), desired), Some(Request::UnsubscribeDesired));
    }

    #[test]
    fn other_operations_and_resources_are_refused() {
        for (operation, resource) in [
            (None, None),
            (Some("POST"), None),
            (Some("PATCH"), Some("/properties/desired")),
            (Some("PUT"), None),
        ] {
            assert!(Request::parse(&request(operation, resource)).is_err(), "{operation:?} {resource:?}");
        }
    }

    #[test]
    fn a_patch_may_name_the_version_it_is_for() {
        let expected = |version| {
            let annotations = [(names::VERSION.to_owned(), version)].into();
            expected_version(&Message { annotations, ..Message::default() }).map_err(|error| error.code())
        };
        assert_eq!(expected(Scalar::Null), Ok(None));
        assert_eq!(expected(Scalar::Int(3)), Ok(Some(3)));
        assert_eq!(expected(Scalar::Uint(3)), Ok(Some(3)));
        for bad in [Scalar::Int(-1), Scalar::Text("3".to_owned())] {
            assert_eq!(expected(bad), Err(ErrorCode::ArgumentInvalid));
        }
    }

    #[test]
    fn a_notification_has_no_correlation_id() {
        let change = DesiredChange { version: 3, patch: Bytes::from_static(b"{\"a\":1,\"$version\":3}") };
        let message = Message::parse(&notification(&change)).unwrap();
        assert_eq!(message.properties.correlation_id, None);
        assert_eq!(message.annotation("version"), Some(&Scalar::Int(3)));
        assert_eq!(message.into_body(), change.patch);
    }
}
