//! `$management`: what event hubs and partitions say of themselves (contract/eventhubs.md 3).
//!
//! .NET and Go cast every value to just the type of the contract's table.

use bytes::Bytes;
use hub::error::HubError;
use hub::events::{EventHubProperties, PartitionProperties, ReadError};
use hub::ids::HubName;

use crate::cbs::PutError;
use crate::engine::message::Message;
use crate::engine::outgoing::{Body, Entry, OutgoingMessage, OutgoingProperties};
use crate::error::status;
use crate::eventhubs::message::LastEnqueued;
use crate::names::{conditions, management as names, partition, segments};

/// Largest request; the largest part of one is an Entra token of several KiB.
pub(crate) const REQUEST_BYTES_MAX: usize = 32 * 1024;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    EventHub { event_hub: String },
    Partition { event_hub: String, partition: String },
}

/// What a question is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    EventHub(EventHubProperties),
    Partition(PartitionProperties),
    Refused(Refused),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    status: i32,
    condition: &'static str,
    description: String,
}

/// The token a client shows with its question; what Entra signs is left to those who put it on `$cbs`.
pub(crate) fn security_token(request: &Message) -> Option<&str> {
    request.application_property(names::SECURITY_TOKEN).and_then(|value| value.text())
}

impl Question {
    pub(crate) fn parse(message: &Message) -> Result<Self, Refused> {
        let property = |name| message.application_property(name).and_then(|value| value.text());
        let required = |name: &str, value: Option<&str>| {
            let missing = || Refused::bad_request(format!("the application property '{name}' is missing"));
            value.map(str::to_owned).ok_or_else(missing)
        };
        if property(names::OPERATION) != Some(names::READ) {
            return Err(Refused::bad_request("the application property 'operation' must be 'READ'".into()));
        }
        let event_hub = || required(names::NAME, property(names::NAME));
        match property(names::TYPE) {
            Some(names::EVENT_HUB_TYPE) => Ok(Self::EventHub { event_hub: event_hub()? }),
            Some(names::PARTITION_TYPE) => {
                let partition = required(names::PARTITION, property(names::PARTITION))?;
                Ok(Self::Partition { event_hub: event_hub()?, partition })
            }
            other => Err(Refused::bad_request(format!(
                "the application property 'type' must be '{}' or '{}', not '{}'",
                names::EVENT_HUB_TYPE,
                names::PARTITION_TYPE,
                other.unwrap_or_default()
            ))),
        }
    }

    /// The event hub asked about; the one of `hub` itself has an older name besides.
    pub(crate) fn event_hub<'a>(&'a self, hub: &'a HubName) -> &'a str {
        let (Self::EventHub { event_hub } | Self::Partition { event_hub, .. }) = self;
        let is_old_name = event_hub.split_once('/').is_some_and(|(messages, events)| {
            messages.eq_ignore_ascii_case(segments::MESSAGES) && events.eq_ignore_ascii_case(segments::EVENTS)
        });
        if is_old_name { hub.as_str() } else { event_hub }
    }
}

impl Refused {
    fn bad_request(description: String) -> Self {
        Self { status: 400, condition: conditions::ARGUMENT_ERROR, description }
    }

    pub(crate) fn unknown_event_hub(event_hub: &str) -> Self {
        ReadError::EventHubNotFound { event_hub: event_hub.to_owned() }.into()
    }

    pub(crate) fn unauthorized(description: String) -> Self {
        Self { status: 401, condition: conditions::UNAUTHORIZED_ACCESS, description }
    }
}

/// A token shown with a question that was not taken.
impl From<PutError> for Refused {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Limit(text) => {
                Self { status: 403, condition: conditions::NOT_ALLOWED, description: text }
            }
            PutError::Refused(error) => error.into(),
        }
    }
}

/// A refusal of the gate.
impl From<HubError> for Refused {
    fn from(error: HubError) -> Self {
        let condition = crate::error::condition(error.code());
        Self { status: status(error.code()), condition, description: error.message().to_owned() }
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        let (status, condition) = match error {
            ReadError::PartitionOutOfRange { .. } => (400, names::BAD_PARTITION),
            ReadError::ConsumerGroupNotFound { .. } | ReadError::EventHubNotFound { .. } => {
                (404, names::ENTITY_NOT_FOUND)
            }
            ReadError::ConsumerGroupRefused(_)
            | ReadError::Disowned { .. }
            | ReadError::OwnedByHigherLevel { .. }
            | ReadError::TooManyReaders { .. } => (403, conditions::NOT_ALLOWED),
        };
        Self { status, condition, description: error.to_string() }
    }
}

impl Answer {
    /// The reply: type and value of the message-id come back as they were sent.
    pub(crate) fn encode(&self, request: &Message) -> Bytes {
        match self {
            Self::EventHub(found) => {
                let ids: Vec<String> = (0..found.partitions).map(|id| id.to_string()).collect();
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                let body = [
                    (partition::NAME, Entry::Text(found.name.as_str())),
                    (partition::TYPE, Entry::Text(names::EVENT_HUB_TYPE)),
                    (names::CREATED_AT, Entry::Time(found.created_at.unix_millis())),
                    (names::PARTITION_COUNT, Entry::Int(found.partitions.into())),
                    (names::PARTITION_IDS, Entry::Strings(&ids)),
                    // Newer Go clients refuse an answer without it.
                    (names::GEOREPLICATION_FACTOR, Entry::Int(1)),
                ];
                reply(request, OK, Body::Map(&body))
            }
            Self::Partition(found) => {
                let id = found.partition.to_string();
                let last = LastEnqueued::of(found.last_enqueued);
                let body = [
                    (partition::NAME, Entry::Text(found.event_hub.as_str())),
                    (partition::TYPE, Entry::Text(names::PARTITION_TYPE)),
                    (partition::PARTITION, Entry::Text(&id)),
                    (partition::BEGIN_SEQUENCE_NUMBER, Entry::Long(found.begin_sequence_number)),
                    (partition::LAST_ENQUEUED_SEQUENCE_NUMBER, Entry::Long(last.sequence_number)),
                    (partition::LAST_ENQUEUED_OFFSET, Entry::Text(&last.offset)),
                    (partition::LAST_ENQUEUED_TIME, Entry::Time(last.at.unix_millis())),
                    (partition::IS_EMPTY, Entry::Bool(found.is_empty)),
                ];
                reply(request, OK, Body::Map(&body))
            }
            Self::Refused(refused) => {
                let Refused { status, condition, description } = refused;
                reply(request, (*status, description, Some(*condition)), Body::Null)
            }
        }
    }
}

/// Status, description, condition.
const OK: (i32, &str, Option<&str>) = (200, "OK", None);

fn reply(
    request: &Message,
    (status, description, condition): (i32, &str, Option<&str>),
    body: Body<'_>,
) -> Bytes {
    let condition = condition.map(|condition| (names::ERROR_CONDITION, Entry::Symbol(condition)));
    let application: Vec<_> =
        [(names::STATUS_CODE, Entry::Int(status)), (names::STATUS_DESCRIPTION, Entry::Text(description))]
            .into_iter()
            .chain(condition)
            .collect();
    OutgoingMessage {
        properties: OutgoingProperties {
            to: Entry::echo(request.properties.reply_to.as_deref()),
            correlation_id: Entry::echo(request.properties.message_id.as_deref()),
            ..OutgoingProperties::default()
        },
        application: &application,
        body,
        ..OutgoingMessage::default()
    }
    .encode()
}
