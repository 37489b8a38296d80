//! Cloud-to-device messages on their way to the device: what the core hands out under a lock, and what the device's
//! word on it means (contract/amqp.md 4.2).

use bytes::Bytes;
use hub::c2d::{LockedMessage, Settlement};
use hub::ids::DeviceId;

use crate::engine::Verdict;
use crate::engine::outgoing::{Body, Entry, OutgoingMessage, OutgoingProperties};
use crate::names::{cloud_to_device as names, segments};

/// The message as the device gets it. The tag of its delivery is the lock token again, as a .NET GUID.
pub(crate) fn message(locked: &LockedMessage, device: &DeviceId) -> Bytes {
    let message = &*locked.message;
    let token = locked.token.to_string();
    let to = format!("/{}/{device}/{}/{}", segments::DEVICES, segments::MESSAGES, segments::DEVICEBOUND);
    let optional = Entry::optional_text;
    let symbol = Entry::optional_symbol;
    let application: Vec<_> = message
        .acknowledgement
        .map(|ack| (names::ACK, Entry::Text(ack.as_str())))
        .into_iter()
        // C# drops values that are no strings, so a key without a value has an empty one.
        .chain(
            message
                .application
                .iter()
                .map(|(name, value)| (name.as_str(), Entry::Text(value.as_deref().unwrap_or_default()))),
        )
        .collect();
    OutgoingMessage {
        annotations: &[
            (names::SEQUENCE_NUMBER, Entry::Ulong(locked.sequence)),
            (names::ENQUEUED_TIME, Entry::Time(locked.enqueued_at.unix_millis())),
            (names::DELIVERY_COUNT, Entry::Ubyte(locked.delivery_count)),
            (names::LOCK_TOKEN, Entry::Text(&token)),
        ],
        properties: OutgoingProperties {
            message_id: optional(message.message_id.as_deref()),
            user_id: message.user_id.as_ref().map_or(Entry::Null, |user| Entry::Binary(user.as_bytes())),
            to: Entry::Text(&to),
            correlation_id: optional(message.correlation_id.as_deref()),
            content_type: symbol(message.content_type.as_deref()),
            content_encoding: symbol(message.content_encoding.as_deref()),
            absolute_expiry_time: message.expires_at.map_or(Entry::Null, |at| Entry::Time(at.unix_millis())),
            creation_time: message
                .creation_time_utc
                .as_deref()
                .and_then(hub::time::Timestamp::parse)
                .map_or(Entry::Null, |at| Entry::Time(at.unix_millis())),
        },
        application: &application,
        body: Body::Data(&message.body),
    }
    .encode()
}

/// What a device's word on a message does to it.
pub(crate) const fn settlement(verdict: Verdict) -> Settlement {
    match verdict {
        Verdict::Accepted => Settlement::Complete,
        Verdict::Rejected => Settlement::Reject,
        Verdict::Released => Settlement::Abandon,
    }
}
