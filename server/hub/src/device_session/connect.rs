//! Connecting: from an admitted identity to the [`DeviceSession`] a head owns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Hub;
use crate::access::{CredentialKind, Grant};
use crate::device_session::attachment::{Attachment, SavedSession};
use crate::device_session::mailbox::{Delivery, DisconnectReason, Interest, Mailbox};
use crate::error::{ErrorCode, HubError};
use crate::gate::operations::Connect;
use crate::gate::{Admitted, ProtocolLabel};
use crate::identity::{GenerationId, StoredAuthentication};
use crate::ids::{ConnectionId, IdentityId};
use crate::limits;
use crate::state::DeviceCell;
use crate::telemetry::DeviceMessage;
use crate::time::Timestamp;

/// What a head knows of a client when it connects it.
#[derive(Debug)]
pub struct SessionOptions {
    /// The socket.
    pub connection: ConnectionId,
    /// The head's protocol.
    pub protocol: ProtocolLabel,
    /// Where the client is.
    pub peer: SocketAddr,
    /// How long after its credential expired the session may still live.
    pub credential_grace: Duration,
    /// Sent as telemetry when the session ends without a goodbye.
    pub will: Option<DeviceMessage>,
    /// What the client says of itself; cut to [`limits::PRODUCT_INFO_CHARS`].
    pub product_info: Option<String>,
    /// The IoT Plug and Play model the client announces; written to the twin.
    pub model_id: Option<String>,
    /// Whether subscriptions are kept for the next connection; if not, kept ones are forgotten.
    pub keep_saved: bool,
}

/// A live session as the admin API lists it.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// The socket.
    pub connection: ConnectionId,
    /// Who is connected.
    pub identity: IdentityId,
    /// The protocol.
    pub protocol: ProtocolLabel,
    /// Where the client is.
    pub peer: SocketAddr,
    /// The kind of credential it rests on.
    pub credential: CredentialKind,
    /// When it began.
    pub connected_at: Timestamp,
    /// When its credential expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// What the client says of itself.
    pub product_info: Option<Arc<str>>,
}

/// The part of a session that the core and its head share.
#[derive(Debug)]
pub(crate) struct SessionCore {
    pub(crate) identity: IdentityId,
    pub(crate) connection: ConnectionId,
    /// Tells a session from its successors of the same identity.
    pub(crate) generation: u64,
    pub(crate) mailbox: Mailbox,
    /// The identity's generation and model, for the Will.
    pub(crate) generation_id: GenerationId,
    pub(crate) model_id: Option<Arc<str>>,
    protocol: ProtocolLabel,
    peer: SocketAddr,
    connected_at: Timestamp,
    credential_grace: Duration,
    product_info: Option<Arc<str>>,
    grant: Mutex<Arc<Grant>>,
    will: Mutex<Option<DeviceMessage>>,
}

impl SessionCore {
    pub(crate) fn grant(&self) -> Arc<Grant> {
        Arc::clone(&self.grant.lock())
    }

    /// When the session ends for want of a valid credential.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.grant.lock().expires_at.map(|at| at.plus(self.credential_grace))
    }

    pub(crate) fn take_will(&self) -> Option<DeviceMessage> {
        self.will.lock().take()
    }

    fn view(&self) -> ConnectionView {
        let grant = self.grant();
        ConnectionView {
            connection: self.connection,
            identity: self.identity.clone(),
            protocol: self.protocol,
            peer: self.peer,
            credential: grant.credential,
            connected_at: self.connected_at,
            expires_at: grant.expires_at,
            product_info: self.product_info.clone(),
        }
    }
}

/// A connected identity, owned by the head that serves it. Dropping it means the connection was lost.
#[derive(Debug)]
pub struct DeviceSession {
    hub: Arc<Hub>,
    cell: Arc<DeviceCell>,
    core: Arc<SessionCore>,
    saved: SavedSession,
    is_resumed: bool,
    keep_saved: bool,
}

impl Hub {
    /// Brings an identity online. A session it already has is ended first, with its Will, as taken over.
    ///
    /// # Errors
    /// `DeviceNotFound`, `ModuleNotFound`; `IotHubUnauthorizedAccess` when the device is disabled, or when the
    /// credential was proven before the identity's keys or thumbprints were changed.
    pub fn connect(
        self: &Arc<Self>,
        by: Admitted<Connect>,
        options: SessionOptions,
    ) -> Result<DeviceSession, HubError> {
        let (identity, at, grant) = (by.target().clone(), by.at(), Arc::clone(by.grant()));
        let connect = || {
            let cell = self.devices.get(&identity.device)?;
            let mut state = cell.lock(&identity.device)?;
            if !state.is_enabled() {
                return Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized")
                    .with_reason(format!("device '{}' is disabled; enable it first", identity.device)));
            }
            let (registered, _, _) = state.credentials(&identity)?;
            if is_stale(&grant, registered) {
                return Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized")
                    .with_reason(format!("the keys or thumbprints of '{identity}' were changed meanwhile")));
            }
            let generation_id = state.generation_id(&identity)?;
            let own = state.identity(&identity)?;
            if let Some(model_id) =
                options.model_id.filter(|model| model.chars().count() <= limits::MODEL_ID_CHARS)
            {
                own.twin.set_model_id(&model_id);
            }
            let kept = own.attachment.saved().filter(|_| options.keep_saved).cloned();
            let is_resumed = kept.is_some();
            let saved = kept.unwrap_or_default();
            own.attachment.save(options.keep_saved.then(|| saved.clone()));
            let product_info = options.product_info.map(|text| {
                let text: String = text.chars().take(limits::PRODUCT_INFO_CHARS).collect();
                text.into()
            });
            let core = Arc::new(SessionCore {
                identity: identity.clone(),
                connection: options.connection,
                generation: self.next_session_generation(),
                mailbox: Mailbox::default(),
                generation_id,
                model_id: own.twin.model_id().cloned(),
                protocol: options.protocol,
                peer: options.peer,
                connected_at: at,
                credential_grace: options.credential_grace,
                product_info,
                grant: Mutex::new(grant),
                will: Mutex::new(options.will),
            });
            own.begin_session(self, at, Arc::clone(&core));
            drop(state);
            let hub = Arc::clone(self);
            Ok(DeviceSession { hub, cell, core, saved, is_resumed, keep_saved: options.keep_saved })
        };
        by.conclude(connect())
    }

    /// Every live session, by connection.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let mut views = Vec::new();
        self.each_session(|session| views.push(session.view()));
        views.sort_by_key(|view| view.connection);
        views
    }

    pub(crate) fn each_session(&self, mut each: impl FnMut(&Arc<SessionCore>)) {
        self.each_attachment(|attachment| attachment.session().into_iter().for_each(&mut each));
    }

    pub(crate) fn each_attachment(&self, mut each: impl FnMut(&mut Attachment)) {
        for (_, cell) in self.devices.all() {
            let state = &mut *cell.lock_even_if_gone();
            let modules = state.modules.values_mut().map(|module| &mut module.own);
            std::iter::once(&mut state.own).chain(modules).for_each(|own| each(&mut own.attachment));
        }
    }

    /// Runs a `SessionExpiry` row.
    pub(crate) fn session_expiry_due(&self, identity: &IdentityId, due: Timestamp, now: Timestamp) {
        let Ok(cell) = self.devices.get(&identity.device) else { return };
        let mut state = cell.lock_even_if_gone();
        if let Ok(own) = state.identity(identity) {
            own.session_expiry_due(self, identity, due, now);
        }
    }
}

impl DeviceSession {
    /// Who is connected.
    pub fn identity(&self) -> &IdentityId {
        &self.core.identity
    }

    pub(crate) fn generation(&self) -> u64 {
        self.core.generation
    }

    /// The credential it rests on now.
    pub fn grant(&self) -> Arc<Grant> {
        self.core.grant()
    }

    /// Puts a newer credential in place of the present one; the session's end moves with it.
    ///
    /// One that was proven before the identity's keys or thumbprints were changed ends the session. One that is over
    /// stays over.
    pub fn renew(&self, grant: Arc<Grant>) {
        let mut state = self.cell.lock_even_if_gone();
        let Ok((registered, _, own)) = state.credentials(&self.core.identity) else { return };
        if own.attachment.session().is_none_or(|live| live.generation != self.core.generation) {
            return;
        }
        if is_stale(&grant, registered) {
            own.end_session(&self.hub, self.hub.clock().now(), DisconnectReason::KeysChanged);
            return;
        }
        *self.core.grant.lock() = grant;
        own.attachment.watch_expiry(&self.hub, &self.core);
    }

    /// Asks to be told about something from now on. Direct methods and messages that wait are told of at once.
    pub fn subscribe(&self, to: Interest) {
        // Under the lock, so that a call finds either a session that listens or a place to wait for one.
        let mut state = self.cell.lock_even_if_gone();
        self.core.mailbox.subscribe(to, true);
        let (identity, at) = (&self.core.identity, self.hub.clock().now());
        match to {
            Interest::CloudToDevice => self.hub.refresh_queue(&mut state, &identity.device, at),
            Interest::DesiredProperties => {}
            Interest::Methods => {
                if let Ok(own) = state.identity(identity) {
                    own.attachment.deliver_parked(&self.hub, at);
                }
            }
        }
    }

    /// Asks not to be told any more.
    pub fn unsubscribe(&self, from: Interest) {
        self.core.mailbox.subscribe(from, false);
    }

    /// What the session is told next. Cancel-safe.
    pub async fn next(&self) -> Delivery {
        self.core.mailbox.next().await
    }

    /// Waits until the core has ended the session, and leaves what else there is to [`Self::next`]. Cancel-safe.
    pub async fn ended(&self) -> DisconnectReason {
        self.core.mailbox.closed().await
    }

    /// The client was heard of without an operation, such as a keep-alive. Counts only while the session is live.
    pub fn touch(&self) {
        let at = self.hub.clock().now();
        if let Ok(own) = self.cell.lock_even_if_gone().identity(&self.core.identity) {
            let live = own.attachment.session();
            if live.is_some_and(|live| live.generation == self.core.generation) {
                own.attachment.touch(at);
            }
        }
    }

    /// Whether subscriptions of an earlier session were found.
    pub const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The subscriptions the session began with.
    pub const fn saved(&self) -> &SavedSession {
        &self.saved
    }

    /// Keeps these subscriptions for the next connection, if the client asked for that. The head must not pass
    /// more than [`limits::SAVED_SUBSCRIPTIONS`]; what is beyond is dropped.
    pub fn save(&self, mut session: SavedSession) {
        if !self.keep_saved {
            return;
        }
        session.subscriptions.truncate(limits::SAVED_SUBSCRIPTIONS);
        if let Ok(own) = self.cell.lock_even_if_gone().identity(&self.core.identity) {
            let live = own.attachment.session();
            if live.is_some_and(|live| live.generation == self.core.generation) {
                own.attachment.save(Some(session));
            }
        }
    }

    /// The client said goodbye: its Will is dropped.
    pub fn end(self) {
        self.core.take_will();
    }
}

/// Whether the identity is registered with other keys or thumbprints than the grant was earned with.
fn is_stale(grant: &Grant, registered: &StoredAuthentication) -> bool {
    grant.revision.is_some_and(|revision| revision != registered.mechanism().revision())
}

impl Drop for DeviceSession {
    fn drop(&mut self) {
        let at = self.hub.clock().now();
        if let Ok(own) = self.cell.lock_even_if_gone().identity(&self.core.identity) {
            own.release_session(&self.hub, at, self.core.generation);
        }
    }
}

#[cfg(test)]
mod tests;
