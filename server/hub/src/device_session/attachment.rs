//! What an identity's lock guards of its connection: the live session, the subscriptions kept for the next one,
//! when it was last seen. All ways a session ends lead through here, so the Will and the state change come once.

use std::sync::Arc;

use crate::Hub;
use crate::access::Subject;
use crate::device_session::connect::SessionCore;
use crate::device_session::mailbox::{DisconnectReason, Interest, Mailbox};
use crate::device_session::presence::{ConnectionState, Presence};
use crate::error::{ErrorCode, HubError};
use crate::ids::{ConnectionId, IdentityId};
use crate::method::{MethodRequestId, PendingCalls};
use crate::routing::HubEvent;
use crate::state::IdentityState;
use crate::time::{Deadline, Timestamp};

/// The subscriptions of a CleanSession=0 session, kept across its connections (contract/mqtt.md 2.9). The core
/// stores them; only the head reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedSession {
    /// In order of subscription.
    pub subscriptions: Vec<SavedSubscription>,
}

/// One kept subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSubscription {
    /// The topic filter.
    pub filter: Box<str>,
    /// The granted quality of service.
    pub qos: u8,
    /// When it was first made.
    pub created_at: Timestamp,
}

/// The connection side of an identity.
#[derive(Debug, Default)]
pub(crate) struct Attachment {
    /// `None` until it was first heard of: most of a million identities never are.
    contact: Option<Box<Contact>>,
    /// Direct methods that wait for this identity.
    pub(crate) calls: PendingCalls,
}

#[derive(Debug, Default)]
struct Contact {
    session: Option<Arc<SessionCore>>,
    saved: Option<SavedSession>,
    presence: Presence,
    /// When the outstanding `SessionExpiry` row falls due; one row an identity keeps their number bounded.
    expiry_row: Option<Timestamp>,
}

impl Attachment {
    pub(crate) fn session(&self) -> Option<&Arc<SessionCore>> {
        self.contact.as_ref()?.session.as_ref()
    }

    pub(crate) fn presence(&self) -> Presence {
        self.contact.as_ref().map(|contact| contact.presence).unwrap_or_default()
    }

    /// The subscriptions kept for the next connection, if any are.
    pub(crate) fn saved(&self) -> Option<&SavedSession> {
        self.contact.as_ref()?.saved.as_ref()
    }

    /// Keeps these subscriptions, or none, for the next connection.
    pub(crate) fn save(&mut self, saved: Option<SavedSession>) {
        self.contact().saved = saved;
    }

    fn contact(&mut self) -> &mut Contact {
        self.contact.get_or_insert_default()
    }

    /// Where a direct method can be put, if a session listens for them, and the table it belongs in.
    pub(crate) fn listener_and_calls(&mut self) -> (Option<&Mailbox>, &mut PendingCalls) {
        let session = self.contact.as_ref().and_then(|contact| contact.session.as_ref());
        let mailbox = session.map(|session| &session.mailbox);
        (mailbox.filter(|mailbox| mailbox.wants(Interest::Methods)), &mut self.calls)
    }

    /// A direct method that nobody waits for any more.
    pub(crate) fn abandon_call(&mut self, hub: &Hub, id: MethodRequestId) {
        self.calls.abandon(id, &hub.deadlines);
        self.withdraw(id);
    }

    /// A direct method's time is over.
    pub(crate) fn call_timed_out(&mut self, hub: &Hub, id: MethodRequestId) {
        self.calls.timed_out(id, &hub.deadlines);
        self.withdraw(id);
    }

    fn withdraw(&self, id: MethodRequestId) {
        if let Some(session) = self.session() {
            session.mailbox.withdraw(id);
        }
    }

    /// The session listens for methods from now on: what waited for that is delivered.
    pub(crate) fn deliver_parked(&mut self, hub: &Hub, at: Timestamp) {
        if let (Some(listener), calls) = self.listener_and_calls() {
            calls.deliver_parked(listener, at, &hub.deadlines);
        }
    }

    /// The identity was heard of on `connection`. What a connection sends after its session ended counts no more:
    /// the right to it ended with the session. A request over HTTPS has no session and leaves no trace
    /// (contract/rest.md 2.1).
    pub(crate) fn heard_on(
        &mut self,
        connection: Option<ConnectionId>,
        at: Timestamp,
    ) -> Result<(), HubError> {
        let Some(connection) = connection else { return Ok(()) };
        if self.session().is_none_or(|live| live.connection != connection) {
            return Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized")
                .with_reason("the session of this connection has ended"));
        }
        self.touch(at);
        Ok(())
    }

    /// The identity was heard of.
    pub(crate) fn touch(&mut self, at: Timestamp) {
        self.contact().presence.last_activity = Some(at);
    }

    /// Tells the session, if any, that the hub is stopping; its head lets go of it.
    pub(crate) fn stop(&mut self, hub: &Hub) {
        if let Some(session) = self.session() {
            session.mailbox.close(DisconnectReason::HubStopping);
        }
        self.calls.give_up(DisconnectReason::HubStopping, &hub.deadlines);
    }

    /// Sees to it that an expiry row is due no later than the session's credential ends.
    pub(crate) fn watch_expiry(&mut self, hub: &Hub, session: &SessionCore) {
        let Some(ends_at) = session.ends_at() else { return };
        let expiry_row = &mut self.contact().expiry_row;
        if expiry_row.is_none_or(|due| ends_at < due) {
            let row = Deadline::SessionExpiry { identity: session.identity.clone() };
            if let Some(due) = expiry_row.replace(ends_at) {
                hub.deadlines.remove(due, row.clone());
            }
            hub.deadlines.push(ends_at, row);
        }
    }
}

/// How sessions begin and end, with what the hub tells of it: the Will, then the change of the connection state
/// (ARCHITECTURE section 4.5).
impl IdentityState {
    /// Makes `session` the live one, ending its predecessor first: old Will, then the new session's state.
    pub(crate) fn begin_session(&mut self, hub: &Hub, at: Timestamp, session: Arc<SessionCore>) {
        self.end_session(hub, at, DisconnectReason::TakenOver);
        let attachment = &mut self.attachment;
        attachment.contact().presence =
            Presence { state: ConnectionState::Connected, state_updated: Some(at), last_activity: Some(at) };
        attachment.watch_expiry(hub, &session);
        if !session.identity.is_module() {
            hub.devices.census().device_connected();
        }
        hub.tell_connection_state(HubEvent::DeviceConnected, &session, &self.twin, at);
        self.attachment.contact().session = Some(session);
    }

    /// Ends the live session, if any, and with some reasons the wait for the next.
    pub(crate) fn end_session(&mut self, hub: &Hub, at: Timestamp, reason: DisconnectReason) {
        if let Some(session) = self.detach_session(hub, at) {
            tracing::info!(device = %session.identity.device, module = session.identity.module.as_ref().map(crate::ids::ModuleId::as_str), conn = %session.connection, "session ended: {reason}");
            session.mailbox.close(reason);
        }
        self.attachment.calls.give_up(reason, &hub.deadlines);
    }

    /// The identity is deleted: its session ends, and nothing of it falls due any more. A token may be good for
    /// years; who makes and deletes identities for months must not leave a row of each behind.
    pub(crate) fn delete(&mut self, hub: &Hub, at: Timestamp, identity: &IdentityId) {
        self.end_session(hub, at, DisconnectReason::IdentityDeleted);
        let contact = self.attachment.contact.as_mut();
        if let Some(due) = contact.and_then(|contact| contact.expiry_row.take()) {
            hub.deadlines.remove(due, Deadline::SessionExpiry { identity: identity.clone() });
        }
        hub.tell_deleted(identity, &self.twin, at);
    }

    /// Ends the live session if it rests on the identity's own credential and not on a policy's.
    pub(crate) fn end_own_credential(&mut self, hub: &Hub, at: Timestamp, reason: DisconnectReason) {
        let is_own = |session: &Arc<SessionCore>| matches!(session.grant().subject, Subject::Identity(_));
        if self.attachment.session().is_some_and(is_own) {
            self.end_session(hub, at, reason);
        }
    }

    /// Takes the session out because its head let go of it; a stale head cannot clear its successor.
    pub(crate) fn release_session(&mut self, hub: &Hub, at: Timestamp, generation: u64) {
        if self.attachment.session().is_some_and(|live| live.generation == generation) {
            self.detach_session(hub, at);
        }
    }

    fn detach_session(&mut self, hub: &Hub, at: Timestamp) -> Option<Arc<SessionCore>> {
        let contact = self.attachment.contact.as_mut()?;
        let session = contact.session.take()?;
        if !session.identity.is_module() {
            hub.devices.census().device_disconnected();
        }
        contact.presence.state = ConnectionState::Disconnected;
        contact.presence.state_updated = Some(at);
        self.attachment.calls.session_ended(&hub.deadlines);
        if let Some(will) = session.take_will() {
            hub.publish_will(&session, will, &self.twin, at);
        }
        hub.tell_connection_state(HubEvent::DeviceDisconnected, &session, &self.twin, at);
        Some(session)
    }

    /// An expiry row fell due: the session ends unless it was renewed in time.
    pub(crate) fn session_expiry_due(
        &mut self,
        hub: &Hub,
        identity: &IdentityId,
        due: Timestamp,
        now: Timestamp,
    ) {
        let contact = self.attachment.contact.as_mut();
        let Some(contact) = contact.filter(|contact| contact.expiry_row == Some(due)) else { return };
        contact.expiry_row = None;
        let Some(session) = contact.session.clone() else { return };
        match session.ends_at() {
            Some(ends_at) if ends_at <= now => {
                tracing::warn!(
                    device = %identity.device,
                    module = identity.module.as_ref().map(crate::ids::ModuleId::as_str),
                    conn = %session.connection,
                    "credential expired without renewal; the client must reconnect with a new token"
                );
                self.end_session(hub, now, DisconnectReason::CredentialsExpired);
            }
            _ => self.attachment.watch_expiry(hub, &session),
        }
    }
}
