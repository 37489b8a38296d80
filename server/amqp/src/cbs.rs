//! Claims: what the tokens put on this connection allow, and the put-token exchange (contract/amqp.md 2).
//!
//! A token is verified when it is put, and again when a session begins on it, because keys may have changed in
//! between. A link is authorized by the token's own resource, never by the name it was put under.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use auth::Authenticator;
use auth::resource::HostName;
use bytes::Bytes;
use hub::access::{EventsPath, Grant, Permissions, Scope, Subject};
use hub::error::HubError;
use hub::gate::Details;
use hub::ids::IdentityId;
use hub::time::Timestamp;
use percent_encoding::percent_decode_str;

use crate::engine::message::Message;
use crate::engine::outgoing::{Entry, OutgoingMessage, OutgoingProperties};
use crate::error::status;
use crate::names::cbs as names;

/// Claims of one connection; twice the devices a C# pool puts on one.
const CLAIMS_PER_CONNECTION: usize = 1990;
/// Longest token kept; real ones have some 200 bytes.
const TOKEN_BYTES_MAX: usize = 4096;
/// Largest put-token message.
pub(crate) const REQUEST_BYTES_MAX: usize = 32 * 1024;

/// A credential that was good, and what it gives.
pub(crate) struct Claim {
    pub(crate) grant: Arc<Grant>,
    /// `None` when it was a policy's key, which does not change.
    token: Option<Box<str>>,
    /// The host its client wrote into the audience, if any.
    host: Option<Box<str>>,
}

/// Without the token.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.grant.fmt(f)
    }
}

/// Every claim of one connection.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    of_events: HashMap<(Subject, EventsPath), Claim>,
    of_identities: HashMap<IdentityId, Claim>,
    of_hub: Vec<Claim>,
}

impl Claims {
    pub(crate) fn is_empty(&self) -> bool {
        self.of_events.is_empty() && self.of_identities.is_empty() && self.of_hub.is_empty()
    }

    fn is_full(&self) -> bool {
        self.of_events.len() + self.of_identities.len() + self.of_hub.len() >= CLAIMS_PER_CONNECTION
    }

    /// Verifies a token and keeps its claim; a newer one for the same scope replaces the older.
    pub(crate) fn put(
        &mut self,
        token: &str,
        identity: Option<&IdentityId>,
        host: Option<&str>,
        by: &Verifier<'_>,
    ) -> Result<Arc<Grant>, PutError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(PutError::Limit(format!("the token is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let grant = by.verify(token, identity, host).map_err(PutError::Refused)?;
        self.keep(Claim { grant, token: Some(token.into()), host: host.map(Into::into) })
    }

    /// Keeps the claim of a policy's key shown as a password.
    pub(crate) fn put_key(&mut self, policy: &str, key: &str, by: &Verifier<'_>) -> Result<(), PutError> {
        let grant = by.authenticator.authenticate_policy_key(policy, key, by.details);
        let claim = Claim { grant: grant.map_err(PutError::Refused)?, token: None, host: None };
        self.keep(claim).map(drop)
    }

    fn keep(&mut self, claim: Claim) -> Result<Arc<Grant>, PutError> {
        let grant = Arc::clone(&claim.grant);
        let is_held = match &grant.scope {
            Scope::Events(path) => self.of_events.contains_key(&(grant.subject.clone(), path.clone())),
            Scope::Identity(identity) => self.of_identities.contains_key(identity),
            // One per policy, so their number is bounded by the hub's policies.
            Scope::Hub => true,
        };
        if self.is_full() && !is_held {
            return Err(PutError::Limit(format!(
                "a connection holds at most {CLAIMS_PER_CONNECTION} claims"
            )));
        }
        match &grant.scope {
            Scope::Events(path) => {
                self.of_events.insert((grant.subject.clone(), path.clone()), claim);
            }
            Scope::Identity(identity) => {
                self.of_identities.insert(identity.clone(), claim);
            }
            Scope::Hub => {
                self.of_hub.retain(|held| held.grant.subject != grant.subject);
                self.of_hub.push(claim);
            }
        }
        Ok(grant)
    }

    /// The claim that reaches an identity best: its own, its device's, a policy's with the right, any policy's.
    pub(crate) fn covering(&self, identity: &IdentityId) -> Option<&Claim> {
        let own = self.of_identities.get(identity);
        let devices = || {
            let device = IdentityId::device(identity.device.clone());
            self.of_identities.get(&device).filter(|claim| claim.grant.covers(identity))
        };
        let with_right = || self.of_hub.iter().find(|claim| connects_devices(&claim.grant));
        own.or_else(devices).or_else(with_right).or_else(|| self.of_hub.first())
    }

    /// A claim that gives the right the service side needs, over the hub as a whole.
    pub(crate) fn service_grant(&self, now: Timestamp) -> Option<Arc<Grant>> {
        self.of_service(now).find(|grant| grant.scope == Scope::Hub).map(Arc::clone)
    }

    /// Of the claims that give this right over a place below the event hubs, or without one over any, that which
    /// lasts longest.
    pub(crate) fn events_grant(&self, path: Option<&EventsPath>, now: Timestamp) -> Option<Arc<Grant>> {
        let covers = |grant: &&Arc<Grant>| path.is_none_or(|path| grant.covers_events(path));
        let lasting = self.of_service(now).filter(covers);
        lasting.max_by_key(|grant| grant.expires_at.unwrap_or(Timestamp::MAX)).map(Arc::clone)
    }

    /// When the next such claim ends, if any does.
    pub(crate) fn service_ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.of_service(now).filter_map(|grant| grant.expires_at).min()
    }

    fn of_service(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Grant>> {
        let grants = self.of_hub.iter().chain(self.of_events.values()).map(|claim| &claim.grant);
        grants
            .filter(|grant| grant.permissions.contains(Permissions::SERVICE_CONNECT))
            .filter(move |grant| grant.expires_at.is_none_or(|at| at > now))
    }

    /// The identity is gone, disabled or has other keys: its claim is worth nothing.
    pub(crate) fn remove(&mut self, identity: &IdentityId) {
        self.of_identities.remove(identity);
    }

    pub(crate) fn remove_expired(&mut self, now: Timestamp) {
        let is_live = |claim: &Claim| claim.grant.expires_at.is_none_or(|at| at > now);
        self.of_events.retain(|_, claim| is_live(claim));
        self.of_identities.retain(|_, claim| is_live(claim));
        self.of_hub.retain(is_live);
    }
}

/// Whether a grant is of use to devices.
pub(crate) fn connects_devices(grant: &Grant) -> bool {
    grant.permissions.contains(Permissions::DEVICE_CONNECT)
}

/// Whether a freshly put grant takes the place of the one a session rests on (contract/amqp.md 2.1).
pub(crate) fn renews(new: &Grant, session: &Grant, identity: &IdentityId) -> bool {
    let is_for_it_alone = matches!(&new.scope, Scope::Identity(scope) if scope == identity);
    let is_same_policy = matches!(new.subject, Subject::Policy(_)) && new.subject == session.subject;
    connects_devices(new) && new.covers(identity) && (is_for_it_alone || is_same_policy)
}

/// Judges tokens for one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verifier<'a> {
    pub(crate) authenticator: &'a Authenticator,
    /// The host name of the client's open or sasl-init.
    pub(crate) host: Option<&'a str>,
    pub(crate) details: Details,
}

impl Verifier<'_> {
    fn verify(
        &self,
        token: &str,
        identity: Option<&IdentityId>,
        audience_host: Option<&str>,
    ) -> Result<Arc<Grant>, HubError> {
        // The client names the hub twice, and either may be the name its token is for (contract/rest.md 5.1).
        let names_audience = |host: &str| {
            auth::SasToken::parse(token).is_ok_and(|token| {
                token.resource().readings().iter().any(|reading| reading.host == HostName::parse(host))
            })
        };
        let host = audience_host.filter(|host| names_audience(host)).or(self.host);
        self.authenticator.authenticate_token_text(token, identity, host, self.details)
    }

    /// Judges a claim again before a session rests on it.
    pub(crate) fn verify_again(&self, claim: &Claim) -> Result<Arc<Grant>, HubError> {
        match &claim.token {
            Some(token) => self.verify(token, None, claim.host.as_deref()),
            None => Ok(Arc::clone(&claim.grant)),
        }
    }
}

/// Why a token was not taken.
#[derive(Debug)]
pub(crate) enum PutError {
    /// The connection holds too much already, or the token is absurdly long.
    Limit(String),
    /// Not a good token.
    Refused(HubError),
}

/// A put-token request.
pub(crate) struct PutToken {
    token: String,
    host: Option<String>,
}

impl PutToken {
    /// Reads a request; the error is status and description of the reply.
    pub(crate) fn parse(message: &Message) -> Result<Self, (i32, String)> {
        let property = |name| message.application_property(name).and_then(|value| value.text());
        if property(names::OPERATION) != Some(names::PUT_TOKEN) {
            return Err((400, "the application property 'operation' must be 'put-token'".into()));
        }
        match property(names::TYPE) {
            Some(kind) if names::SAS_TYPES.contains(&kind) => {}
            Some(kind) => {
                return Err((401, format!("tokens of the type '{kind}' are not accepted; use a SAS token")));
            }
            None => return Err((400, "the application property 'type' is missing".into())),
        }
        let host = property(names::NAME).map(audience_host);
        match message.value.as_ref().and_then(|value| value.text()) {
            Some(token) => Ok(Self { token: token.to_owned(), host }),
            None => Err((400, "the token must be the message's amqp-value, as a string".into())),
        }
    }

    /// Puts the token; status and description of the reply, and the grant when it was good.
    pub(crate) fn perform(
        &self,
        claims: &mut Claims,
        by: &Verifier<'_>,
    ) -> (i32, String, Option<Arc<Grant>>) {
        match claims.put(&self.token, None, self.host.as_deref(), by) {
            Ok(grant) => (200, "OK".into(), Some(grant)),
            Err(PutError::Limit(text)) => (403, text, None),
            Err(PutError::Refused(error)) => (status(error.code()), error.message().to_owned(), None),
        }
    }
}

/// The host of an audience: encoded or not, with or without scheme, port and path (contract/amqp.md 2).
fn audience_host(name: &str) -> String {
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    let behind_scheme = decoded.split_once("://").map_or(&*decoded, |(_, rest)| rest);
    behind_scheme.split('/').next().unwrap_or_default().to_owned()
}

/// The reply: type and value of the message-id come back as they were sent.
pub(crate) fn reply(request: &Message, status: i32, description: &str) -> Bytes {
    OutgoingMessage {
        properties: OutgoingProperties {
            to: Entry::echo(request.properties.reply_to.as_deref()),
            correlation_id: Entry::echo(request.properties.message_id.as_deref()),
            ..OutgoingProperties::default()
        },
        application: &[
            (names::STATUS_CODE, Entry::Int(status)),
            (names::STATUS_DESCRIPTION, Entry::Text(description)),
        ],
        ..OutgoingMessage::default()
    }
    .encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found_in_every_audience_clients_write() {
        for name in [
            "h.x%2Fdevices%2Fd1%2Fmodules%2Fm1",
            "h.x/devices/d1",
            "amqps://h.x:5671/",
            "https://h.x",
            "h.x",
            "sb://h.x/hub/ConsumerGroups/$Default",
        ] {
            assert!(audience_host(name).starts_with("h.x"), "{name}");
        }
    }
}
