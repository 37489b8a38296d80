//! Questions to an event hub on the pair of links to `$management` (contract/eventhubs.md 3).

use fe2o3_amqp::types::messaging::{ApplicationProperties, Body, Message, MessageId, Properties};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use fe2o3_amqp::{Receiver, Sender};
use serde_amqp::primitives::{Array, OrderedMap};

use super::connection::{AmqpConnection, LinkTerms};
use super::event::{long, text, time};
use super::failure::{HubSaid as _, outcome};
use super::message::{self, Incoming};
use crate::error::{Error, ErrorKind, HubError};
use crate::events::{EventHubProperties, PartitionProperties};

/// The node of both links.
pub(super) const MANAGEMENT: &str = "$management";

/// The two links, on which one question is asked at a time.
#[derive(Debug)]
pub(super) struct Management {
    sender: Sender,
    receiver: Receiver,
    reply_to: String,
}

type Answer = OrderedMap<Value, Value>;

impl Management {
    pub(super) async fn attach(connection: &AmqpConnection) -> Result<Self, Error> {
        let terms = LinkTerms { address: MANAGEMENT.to_owned(), ..LinkTerms::default() };
        let receiver = connection.attach_receiver(terms.clone()).await?;
        let sender = connection.attach_sender(terms).await?;
        Ok(Self { sender, receiver, reply_to: uuid::Uuid::new_v4().to_string() })
    }

    pub(super) async fn event_hub(&mut self, event_hub: &str) -> Result<EventHubProperties, Error> {
        let question = [("type", "com.microsoft:eventhub")];
        let answer = self.ask(event_hub, &question, &format!("read the properties of {event_hub}")).await?;
        Ok(EventHubProperties {
            name: field(&answer, "name", text)?,
            created_at: field(&answer, "created_at", time)?,
            partition_ids: field(&answer, "partition_ids", texts)?,
        })
    }

    pub(super) async fn partition(
        &mut self,
        event_hub: &str,
        id: &str,
    ) -> Result<PartitionProperties, Error> {
        let question = [("type", "com.microsoft:partition"), ("partition", id)];
        let doing = format!("read the properties of partition {id} of {event_hub}");
        let answer = self.ask(event_hub, &question, &doing).await?;
        Ok(PartitionProperties {
            id: field(&answer, "partition", text)?,
            beginning_sequence_number: field(&answer, "begin_sequence_number", long)?,
            last_enqueued_sequence_number: field(&answer, "last_enqueued_sequence_number", long)?,
            last_enqueued_offset: field(&answer, "last_enqueued_offset", text)?,
            last_enqueued_at: field(&answer, "last_enqueued_time_utc", time)?,
            is_empty: field(&answer, "is_partition_empty", |value| match value {
                Value::Bool(is_empty) => Some(*is_empty),
                _ => None,
            })?,
        })
    }

    async fn ask(
        &mut self,
        event_hub: &str,
        question: &[(&str, &str)],
        doing: &str,
    ) -> Result<Answer, Error> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut properties =
            ApplicationProperties::builder().insert("operation", "READ").insert("name", event_hub);
        for (name, value) in question {
            properties = properties.insert(*name, *value);
        }
        let request = Message::builder()
            .properties(
                Properties::builder()
                    .message_id(MessageId::String(id.clone()))
                    .to(MANAGEMENT)
                    .reply_to(self.reply_to.as_str())
                    .build(),
            )
            .application_properties(properties.build())
            .value(String::new())
            .build();
        let sent = self.sender.send(request).await;
        outcome(sent.map_err(|error| error.failed(doing, ErrorKind::ConnectionLost))?, doing)?;
        loop {
            let delivery = self.receiver.recv::<Body<Value>>().await;
            let reply: Incoming =
                delivery.map_err(|error| error.failed(doing, ErrorKind::ConnectionLost))?.into_message();
            // Another one is to a question nobody waited for any more.
            if message::correlation_id(&reply) == Some(id.as_str()) {
                return answer(reply, doing);
            }
        }
    }
}

fn answer(reply: Incoming, doing: &str) -> Result<Answer, Error> {
    let strange = || Error::protocol(format!("could not {doing}: the answer is not one"));
    match message::cbs_status(&reply).ok_or_else(strange)? {
        (200..=299, _) => match reply.body {
            Body::Value(value) => match value.0 {
                Value::Map(answer) => Ok(answer),
                _ => Err(strange()),
            },
            _ => Err(strange()),
        },
        (status, text) => {
            let condition =
                reply.application_properties.as_ref().and_then(|own| own.0.get("error-condition"));
            let name = match condition {
                Some(SimpleValue::Symbol(symbol)) => Some(symbol.0.clone()),
                Some(SimpleValue::String(text)) => Some(text.clone()),
                _ => None,
            };
            Err(Error::refused(doing, HubError { status, name, text, ..HubError::default() }))
        }
    }
}

fn field<T>(answer: &Answer, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, Error> {
    answer
        .iter()
        .find(|(key, _)| matches!(key, Value::String(key) if key == name))
        .and_then(|(_, value)| read(value))
        .ok_or_else(|| Error::protocol(format!("the event hub's answer has no usable {name}")))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(Array(values)) | Value::List(values) => values.iter().map(text).collect(),
        _ => None,
    }
}
