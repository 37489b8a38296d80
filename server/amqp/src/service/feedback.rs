//! Feedback on its way to the back end (contract/amqp.md 4.3).

use bytes::Bytes;
use hub::c2d::FeedbackBatch;
use hub::ids::HubName;

use crate::engine::outgoing::{Body, Entry, OutgoingMessage, OutgoingProperties};
use crate::names::feedback as names;

/// The message of a batch. The tag of its delivery is the lock token as a .NET GUID. C# reads the user-id and the
/// annotation unasked, and refuses any other content type.
pub(crate) fn message(batch: &FeedbackBatch, hub: &HubName) -> Bytes {
    OutgoingMessage {
        annotations: &[(names::ENQUEUED_TIME, Entry::Time(batch.enqueued_at.unix_millis()))],
        properties: OutgoingProperties {
            user_id: Entry::Binary(hub.as_str().as_bytes()),
            content_type: Entry::Symbol(names::CONTENT_TYPE),
            ..OutgoingProperties::default()
        },
        body: Body::Data(batch.to_json().as_bytes()),
        ..OutgoingMessage::default()
    }
    .encode()
}
