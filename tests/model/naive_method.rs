//! Naive direct methods (contract/rest.md 1.9): a plain list of calls, looked through as a whole each time something
//! happens. What a caller gets is noted once; noting it twice is an error of the model.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hub::device_session::DisconnectReason;
use hub::error::ErrorCode;
use hub::ids::IdentityId;
use hub::time::Timestamp;
use serde_json::Value;

use crate::naive::{Naive, Told};

/// The hub answers its callers a little before their own patience ends.
const LEAD: Duration = Duration::from_millis(200);

/// What a caller gets: the device's status and body, or why there is none.
pub(crate) type NaiveAnswer = Result<(i32, Option<Bytes>), ErrorCode>;

/// Calls without an answer, and answers without a reader.
#[derive(Debug, Default)]
pub(crate) struct NaiveCalls {
    pub(crate) open: BTreeMap<usize, NaiveCall>,
    pub(crate) answered: BTreeMap<usize, NaiveAnswer>,
    /// The id under which a session was told of a call.
    pub(crate) told_as: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveCall {
    pub(crate) identity: IdentityId,
    pub(crate) name: String,
    pub(crate) payload: Bytes,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) due: Timestamp,
    pub(crate) is_delivered: bool,
}

impl Naive {
    /// A call comes in. `Err` when it is answered at once.
    pub(crate) fn invoke(&mut self, number: usize, mut call: NaiveCall) -> Result<(), ErrorCode> {
        let is_allowed = |secs: std::ops::RangeInclusive<u64>, timeout: Duration| {
            timeout >= Duration::from_secs(*secs.start()) && timeout <= Duration::from_secs(*secs.end())
        };
        if call.payload.len() > 128 * 1024 {
            return Err(ErrorCode::MessageTooLarge);
        }
        if !is_allowed(5..=300, call.response_timeout) || !is_allowed(0..=300, call.connect_timeout) {
            return Err(ErrorCode::ArgumentInvalid);
        }
        self.find(&call.identity)?;
        if !self.is_enabled(&call.identity.device) {
            return Err(ErrorCode::DeviceNotFound);
        }
        let listener = self.listener(&call.identity);
        if listener.is_none() && call.connect_timeout.is_zero() {
            return Err(ErrorCode::DeviceNotOnline);
        }
        if self.calls.open.values().filter(|open| open.identity == call.identity).count() >= 100 {
            return Err(ErrorCode::DeviceMaximumInflightMethodExceeded);
        }
        call.due = self.now.plus(call.connect_timeout.saturating_sub(LEAD));
        self.calls.open.insert(number, call);
        if let Some(listener) = listener {
            self.deliver(number, listener);
        }
        Ok(())
    }

    /// The live session of an identity, if it listens for methods.
    fn listener(&self, identity: &IdentityId) -> Option<usize> {
        self.identities[identity].live.filter(|handle| self.sessions[handle].wants_methods)
    }

    fn deliver(&mut self, number: usize, listener: usize) {
        let call = self.calls.open.get_mut(&number).expect("it is open");
        call.is_delivered = true;
        call.due = self.now.plus(call.response_timeout - LEAD);
        let told = Told::Method { call: number, name: call.name.clone(), payload: call.payload.clone() };
        self.sessions.get_mut(&listener).expect("a live session is held by its head").tell(told);
    }

    /// A session listens from now on: whoever waited for that is told of, in the order of the calls.
    pub(crate) fn listen(&mut self, handle: usize) {
        let session = self.sessions.get_mut(&handle).expect("the head holds it");
        session.wants_methods = true;
        let identity = session.identity.clone();
        if self.is_live(handle) {
            for number in self.calls_of(&identity, false) {
                self.deliver(number, handle);
            }
        }
    }

    fn calls_of(&self, identity: &IdentityId, delivered: bool) -> Vec<usize> {
        let is_it = |call: &NaiveCall| call.identity == *identity && call.is_delivered == delivered;
        self.calls.open.iter().filter(|(_, call)| is_it(call)).map(|(number, _)| *number).collect()
    }

    fn complete(&mut self, number: usize, answer: NaiveAnswer) {
        self.withdraw(number);
        assert!(self.calls.answered.insert(number, answer).is_none(), "call {number} is answered twice");
    }

    /// A call leaves the list, and the mailbox if nobody read of it yet.
    pub(crate) fn withdraw(&mut self, number: usize) {
        self.calls.open.remove(&number).expect("it is open");
        let is_it = |told: &Told| matches!(told, Told::Method { call, .. } if *call == number);
        for session in self.sessions.values_mut() {
            session.unread.retain(|told| !is_it(told));
        }
    }

    /// The session that was told of these calls ended.
    pub(crate) fn session_ended_for_calls(&mut self, identity: &IdentityId) {
        for number in self.calls_of(identity, true) {
            self.complete(number, Err(ErrorCode::DeviceConnectionClosedRemotely));
        }
    }

    /// Who waits for a session waits on, unless none can come any more.
    pub(crate) fn give_up_calls(&mut self, identity: &IdentityId, reason: DisconnectReason) {
        let code = match reason {
            DisconnectReason::IdentityDeleted if identity.is_module() => ErrorCode::ModuleNotFound,
            DisconnectReason::IdentityDeleted | DisconnectReason::IdentityDisabled => {
                ErrorCode::DeviceNotFound
            }
            _ => return,
        };
        for number in self.calls_of(identity, false) {
            self.complete(number, Err(code));
        }
    }

    /// A call's time is over.
    pub(crate) fn call_timed_out(&mut self, number: usize) {
        let is_delivered = self.calls.open[&number].is_delivered;
        let code = if is_delivered { ErrorCode::GatewayTimeout } else { ErrorCode::DeviceNotOnline };
        self.complete(number, Err(code));
    }

    /// An answer counts if it comes on the live connection of who was told of the call, in time.
    pub(crate) fn answer(
        &mut self,
        identity: &IdentityId,
        connection: Option<u64>,
        id: u64,
        (status, body): (i32, Option<Bytes>),
    ) -> Result<(), ErrorCode> {
        self.heard(identity, connection)?;
        let told_as = |number: &usize| self.calls.told_as.get(number) == Some(&id);
        let number = self.calls_of(identity, true).into_iter().find(told_as);
        if let Some(number) = number.filter(|_| connection.is_some()) {
            let body = body.filter(|body| !body.is_empty());
            let is_json = |body: &Bytes| serde_json::from_slice::<Value>(body).is_ok();
            let is_good = body.as_ref().is_none_or(|body| is_json(body) && body.len() <= 128 * 1024);
            self.complete(
                number,
                if is_good { Ok((status, body)) } else { Err(ErrorCode::GenericBadGateway) },
            );
        }
        Ok(())
    }
}
