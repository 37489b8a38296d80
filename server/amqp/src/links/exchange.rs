//! Requests and their replies, each on a link of its own: tokens on `$cbs` (contract/amqp.md 2), questions on
//! `$management` (contract/eventhubs.md 3).

use std::sync::Arc;

use bytes::Bytes;
use hub::access::Grant;

use super::requests::read;
use super::{LinkNode, Links};
use crate::cbs::{self, PutToken, renews};
use crate::engine::message::{Message, Properties, Scalar};
use crate::engine::{AttachRequest, Delivery, Engine, LinkId, Outcome};

/// Characters of an address by which a reply link is found; ours, as clients take a uuid or a link's name.
const REPLY_ADDRESS_CHARS_MAX: usize = 256;

/// What is asked on a pair of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Cbs,
    Management,
}

/// A link for replies.
#[derive(Clone, Debug)]
pub(super) struct ReplyLink {
    /// The address of the client's end, which requests may name.
    address: Option<Box<str>>,
    /// Counts up from link to link.
    number: u64,
}

impl Links<'_> {
    pub(super) fn exchange_node(&mut self, exchange: Exchange, request: &AttachRequest) -> LinkNode {
        if !request.client_receives() {
            return LinkNode::Requests(exchange);
        }
        self.reply_links += 1;
        let address = request.attach().own_address().ok().flatten();
        let address = address.filter(|address| address.len() <= REPLY_ADDRESS_CHARS_MAX);
        let reply = ReplyLink { address: address.map(Into::into), number: self.reply_links };
        LinkNode::Replies(exchange, reply)
    }

    pub(super) async fn on_request(
        &mut self,
        exchange: Exchange,
        link: LinkId,
        delivery: &Delivery,
        engine: &mut Engine,
    ) {
        let message = match read(delivery) {
            Ok(message) => message,
            Err(condition) => return engine.settle(link, delivery, &Outcome::Rejected(&condition)),
        };
        engine.settle(link, delivery, &Outcome::Accepted);
        let reply = match exchange {
            Exchange::Cbs => self.put_token(&message),
            Exchange::Management => self.answer_management(&message).await,
        };
        let Some(replies) = self.reply_link(exchange, link.channel, &message) else {
            tracing::debug!(?exchange, "a request has no reply link to be answered on");
            return;
        };
        if !engine.send(replies, reply) {
            self.on_link_closed(replies);
        }
    }

    /// The encoded reply to a put-token request.
    fn put_token(&mut self, message: &Message) -> Bytes {
        let (status, description, grant) = match PutToken::parse(message) {
            Ok(request) => {
                let (claims, verifier) = self.claims_and_verifier();
                request.perform(claims, &verifier)
            }
            Err((status, description)) => {
                tracing::warn!(code = status, "put-token refused: {description}");
                (status, description, None)
            }
        };
        if let Some(grant) = grant {
            self.has_new_claim(&grant);
        }
        cbs::reply(message, status, &description)
    }

    /// A token was put, here or with a question, and was good.
    pub(super) fn has_new_claim(&mut self, grant: &Arc<Grant>) {
        self.was_authenticated = true;
        self.renew_sessions(grant);
        self.watch_service_claims();
    }

    fn renew_sessions(&self, grant: &Arc<Grant>) {
        for (identity, connected) in &self.connected {
            if renews(grant, &connected.session.grant(), identity) {
                connected.session.renew(Arc::clone(grant));
            }
        }
    }

    /// The reply link of the request's session, of several there the one it names, else the latest; without one in
    /// its session one of another. Go opens and closes a pair for each token.
    fn reply_link(&self, exchange: Exchange, channel: u16, request: &Message) -> Option<LinkId> {
        let named = match Properties::scalar(request.properties.reply_to.as_ref()) {
            Ok(Scalar::Text(named)) => Some(named),
            _ => None,
        };
        let replies = self.nodes.iter().filter_map(|(link, node)| match node {
            LinkNode::Replies(of, reply) if *of == exchange => Some((link, reply)),
            _ => None,
        });
        let best = replies.max_by_key(|(link, reply)| {
            let is_named = named.is_some() && reply.address.as_deref() == named.as_deref();
            (link.channel == channel, is_named, reply.number)
        });
        best.map(|(link, _)| *link)
    }
}
