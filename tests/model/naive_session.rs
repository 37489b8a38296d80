//! Naive sessions: who is connected, what ends that, what a head may still do (ARCHITECTURE section 4.5).

use hub::device_session::{DisconnectReason, SavedSubscription};
use hub::error::ErrorCode;
use hub::ids::{DeviceId, IdentityId};
use hub::time::Timestamp;
use serde_json::Value;

use crate::caller::Demand;
use crate::naive::{Naive, NaiveIdentity, NaiveSession, Told};
use crate::naive_twin::NaivePatch;
use crate::shown::twin_etag;
use crate::world::Proof;

impl Naive {
    /// Brings an identity online, ending the session it has. Returns the subscriptions it finds, if it asked.
    pub(crate) fn connect(
        &mut self,
        handle: usize,
        session: NaiveSession,
        proof: Option<&Proof>,
        model_id: Option<&str>,
    ) -> Result<Option<Vec<SavedSubscription>>, ErrorCode> {
        let (now, identity) = (self.now, session.identity.clone());
        self.find(&IdentityId::device(identity.device.clone()))?;
        if !self.is_enabled(&identity.device) {
            return Err(ErrorCode::IotHubUnauthorizedAccess);
        }
        self.find(&identity)?;
        if self.is_stale(&identity, proof) {
            return Err(ErrorCode::IotHubUnauthorizedAccess);
        }
        self.end(&identity, DisconnectReason::TakenOver);
        let keeps_saved = session.keeps_saved;
        self.sessions.insert(handle, session);
        let own = self.find(&identity)?;
        // The model is no section of the twin: its version stays.
        if let Some(model_id) = model_id {
            model_id.clone_into(&mut own.twin.model_id);
        }
        own.is_connected = true;
        (own.state_updated, own.last_activity) = (Some(now), Some(now));
        own.live = Some(handle);
        let found = own.saved.clone();
        own.saved = keeps_saved.then(|| found.clone().unwrap_or_default());
        Ok(found.filter(|_| keeps_saved))
    }

    /// Whether a credential was proven with keys or thumbprints that are others by now.
    fn is_stale(&self, identity: &IdentityId, proof: Option<&Proof>) -> bool {
        let registered = self.identities.get(identity).map(|own| &own.authentication);
        proof.is_some_and(|proof| Some(&proof.authentication) != registered)
    }

    /// A newer credential takes the place of the present one, unless it is a stale one, which ends the session.
    pub(crate) fn renew(
        &mut self,
        handle: usize,
        is_own: bool,
        expires_at: Option<Timestamp>,
        proof: Option<&Proof>,
    ) {
        let identity = self.sessions[&handle].identity.clone();
        if !self.is_live(handle) {
            return;
        }
        if self.is_stale(&identity, proof) {
            return self.end(&identity, DisconnectReason::KeysChanged);
        }
        let session = self.sessions.get_mut(&handle).expect("the head holds it");
        session.ends_at = expires_at.map(|at| at.plus(session.grace));
        session.is_own_credential = is_own;
    }

    /// A head lets go of a session, with or without goodbye.
    pub(crate) fn drop_session(&mut self, handle: usize, with_goodbye: bool) {
        let session = self.sessions.get_mut(&handle).expect("the head holds it");
        session.has_will &= !with_goodbye;
        let identity = session.identity.clone();
        if self.is_live(handle) {
            self.detach(&identity, None);
        }
        self.sessions.remove(&handle);
    }

    pub(crate) fn is_live(&self, handle: usize) -> bool {
        let session = &self.sessions[&handle];
        self.identities.get(&session.identity).is_some_and(|own| own.live == Some(handle))
    }

    /// The ticker ran: sessions past their credential's end and its grace are over, and so is the wait of callers,
    /// each in its turn.
    pub(crate) fn run_due(&mut self) {
        loop {
            let live = self.sessions.iter().filter(|(handle, _)| self.is_live(**handle));
            let ends = live
                .filter_map(|(_, session)| Some((session.ends_at?, Due::Session(session.identity.clone()))));
            let calls = self.calls.open.iter().map(|(number, call)| (call.due, Due::Call(*number)));
            let of_queue = |(id, own): (&IdentityId, &NaiveIdentity)| {
                Some((own.messages.due?, Due::Messages(id.device.clone())))
            };
            let messages = self.identities.iter().filter_map(of_queue);
            let next = ends.chain(calls).chain(messages).filter(|(due, _)| *due <= self.now).min();
            match next {
                None => return,
                Some((_, Due::Session(identity))) => {
                    self.end(&identity, DisconnectReason::CredentialsExpired)
                }
                Some((_, Due::Call(number))) => self.call_timed_out(number),
                Some((_, Due::Messages(device))) => self.refresh_queue(&device),
            }
        }
    }

    /// The client was heard of, though not by an operation; a session that is over says nothing of its identity.
    pub(crate) fn touch(&mut self, handle: usize) {
        let (now, identity) = (self.now, self.sessions[&handle].identity.clone());
        if self.is_live(handle) {
            self.identities.get_mut(&identity).expect("its session is live").last_activity = Some(now);
        }
    }

    /// At most 50 subscriptions are kept, by the session that counts, if its client asked for that.
    pub(crate) fn save(&mut self, handle: usize, mut subscriptions: Vec<SavedSubscription>) {
        subscriptions.truncate(50);
        let identity = self.sessions[&handle].identity.clone();
        if self.sessions[&handle].keeps_saved && self.is_live(handle) {
            self.identities.get_mut(&identity).expect("its session is live").saved = Some(subscriptions);
        }
    }

    /// Everything a head can read at this moment, in order; `Err` when the session is over.
    pub(crate) fn read(&mut self, handle: usize) -> Result<Vec<Told>, DisconnectReason> {
        let session = self.sessions.get_mut(&handle).expect("the head holds it");
        if let Some(reason) = session.closed {
            return Err(reason);
        }
        let mut told: Vec<_> = session.unread.drain(..).collect();
        if std::mem::take(&mut session.messages_wait) {
            told.push(Told::MessagesWait);
        }
        Ok(told)
    }

    /// What arrives on a connection counts only while its session does; without a connection it always does, and
    /// leaves no activity (contract/rest.md 2.1).
    pub(crate) fn heard(&mut self, identity: &IdentityId, connection: Option<u64>) -> Result<(), ErrorCode> {
        let now = self.now;
        let live = self.find(identity)?.live.map(|handle| self.sessions[&handle].connection);
        if connection.is_some() && connection != live {
            return Err(ErrorCode::IotHubUnauthorizedAccess);
        }
        if connection.is_some() {
            self.find(identity)?.last_activity = Some(now);
        }
        Ok(())
    }

    pub(crate) fn read_own_twin(
        &mut self,
        identity: &IdentityId,
        connection: Option<u64>,
    ) -> Result<Value, ErrorCode> {
        self.heard(identity, connection)?;
        Ok(self.find(identity)?.twin.for_owner())
    }

    pub(crate) fn update_reported(
        &mut self,
        identity: &IdentityId,
        connection: Option<u64>,
        patch: &Value,
        expected_version: Option<u64>,
    ) -> Result<u64, ErrorCode> {
        let now = self.now;
        self.heard(identity, connection)?;
        if expected_version
            .is_some_and(|expected| self.identities[identity].twin.reported.version != expected)
        {
            return Err(ErrorCode::PreconditionFailed);
        }
        self.find(identity)?.twin.report(patch, now).map_err(|()| ErrorCode::ArgumentInvalid)
    }

    pub(crate) fn change_twin(
        &mut self,
        identity: &IdentityId,
        patch: &NaivePatch,
        replace: bool,
        demand: &Demand,
    ) -> Result<(), ErrorCode> {
        let now = self.now;
        let own = self.find(identity)?;
        demand.check(Some(&twin_etag(own.twin.etag)))?;
        let told = own.twin.apply(patch, replace, now).map_err(|()| ErrorCode::ArgumentInvalid)?;
        if let Some(told) = told {
            self.tell_desired(identity, told);
        }
        Ok(())
    }
}

/// Something whose time has come.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Call(usize),
    Messages(DeviceId),
    Session(IdentityId),
}
