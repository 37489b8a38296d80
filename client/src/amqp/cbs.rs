//! Claims-based security (contract/amqp.md section 2): a pair of links to `$cbs` on which tokens are shown, once to
//! get in and again to stay.

use fe2o3_amqp::types::messaging::Body;
use fe2o3_amqp::types::primitives::Value;
use fe2o3_amqp::{Receiver, Sender};

use super::connection::{AmqpConnection, LinkTerms};
use super::failure::{HubSaid as _, outcome};
use super::message::{self, Incoming};
use crate::error::{Error, ErrorKind, HubError};
use crate::sas::SasToken;

/// The two links.
#[derive(Debug)]
pub(super) struct Cbs {
    sender: Sender,
    receiver: Receiver,
}

impl Cbs {
    pub(super) async fn attach(connection: &AmqpConnection) -> Result<Self, Error> {
        let terms = LinkTerms { address: "$cbs".to_owned(), ..LinkTerms::default() };
        let sender = connection.attach_sender(terms.clone()).await?;
        let receiver = connection.attach_receiver(terms).await?;
        Ok(Self { sender, receiver })
    }

    /// Shows a token for `audience`, which is who is to be let in.
    pub(super) async fn put_token(&mut self, audience: &str, token: &SasToken) -> Result<(), Error> {
        let doing = format!("sign in as {audience}");
        let message_id = uuid::Uuid::new_v4().to_string();
        let request = message::put_token(&message_id, audience, token.as_str());
        let sent = self.sender.send(request).await;
        outcome(sent.map_err(|error| error.failed(&doing, ErrorKind::ConnectionLost))?, &doing)?;
        loop {
            let delivery = self.receiver.recv::<Body<Value>>().await;
            let reply: Incoming =
                delivery.map_err(|error| error.failed(&doing, ErrorKind::ConnectionLost))?.into_message();
            if message::correlation_id(&reply) != Some(message_id.as_str()) {
                // The answer to a put-token nobody waited for any more.
                continue;
            }
            return match message::cbs_status(&reply) {
                Some((200..=299, _)) => Ok(()),
                Some((status, text)) => {
                    Err(Error::refused(&doing, HubError { status, text, ..HubError::default() }))
                }
                None => Err(Error::protocol(format!("could not {doing}: the hub's answer has no status"))),
            };
        }
    }
}
