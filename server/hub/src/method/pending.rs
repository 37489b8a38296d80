//! The calls of one identity that nobody has answered yet, guarded by its device's lock. A call is parked until a
//! session listens for methods, then delivered; it leaves exactly once, and only whoever takes it out of the table
//! completes it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, json};
use tokio::sync::oneshot;

use crate::device_session::{Delivery, DisconnectReason, Mailbox};
use crate::error::{ErrorCode, HubError};
use crate::identity::registry::{device_not_found, module_not_found};
use crate::ids::IdentityId;
use crate::limits;
use crate::method::{MethodCall, MethodRequest, MethodRequestId, MethodResponse};
use crate::time::{Deadline, Deadlines, Timestamp};

/// What a caller gets.
pub(crate) type Answer = Result<MethodResponse, HubError>;

/// The table. Most identities have no call, and then it is a null pointer.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes of each of a million identities instead of 24")]
pub(crate) struct PendingCalls(Option<Box<BTreeMap<MethodRequestId, PendingCall>>>);

#[derive(Debug)]
struct PendingCall {
    identity: IdentityId,
    stage: Stage,
    /// When its row among the deadlines falls due.
    due: Timestamp,
    caller: oneshot::Sender<Answer>,
}

#[derive(Debug)]
enum Stage {
    /// Handed to the live session: no call outlives the session it was delivered to.
    Delivered,
    /// Waits for a session that listens.
    Parked { request: MethodRequest, connect_timeout: Duration, response_timeout: Duration },
}

impl PendingCalls {
    /// Takes in a call: delivered if `listener` is there, parked otherwise.
    pub(crate) fn begin(
        &mut self,
        id: MethodRequestId,
        call: MethodCall,
        identity: &IdentityId,
        at: Timestamp,
        listener: Option<&Mailbox>,
        deadlines: &Deadlines,
    ) -> Result<oneshot::Receiver<Answer>, HubError> {
        let MethodCall { name, payload, response_timeout, connect_timeout } = call;
        if listener.is_none() && connect_timeout.is_zero() {
            return Err(not_online(connect_timeout));
        }
        let calls = self.0.get_or_insert_default();
        if calls.len() >= limits::METHODS_IN_FLIGHT {
            return Err(HubError::new(
                ErrorCode::DeviceMaximumInflightMethodExceeded,
                format!("'{identity}' has its limit of {} methods in flight.", limits::METHODS_IN_FLIGHT),
            ));
        }
        let (caller, answer) = oneshot::channel();
        let request = MethodRequest { id, name, payload };
        let stage = Stage::Parked { request, connect_timeout, response_timeout };
        let mut call =
            PendingCall { identity: identity.clone(), stage, due: due(at, connect_timeout), caller };
        if let Some(mailbox) = listener {
            call.deliver(mailbox, at);
        }
        deadlines.push(call.due, call.row(id));
        calls.insert(id, call);
        Ok(answer)
    }

    /// A session listens: everything parked is delivered in the order it was called, and the device's time to
    /// answer begins.
    pub(crate) fn deliver_parked(&mut self, listener: &Mailbox, at: Timestamp, deadlines: &Deadlines) {
        for (id, call) in self.0.iter_mut().flat_map(|calls| calls.iter_mut()) {
            if matches!(call.stage, Stage::Parked { .. }) {
                deadlines.remove(call.due, call.row(*id));
                call.deliver(listener, at);
                deadlines.push(call.due, call.row(*id));
            }
        }
    }

    /// The session that got the request answers it. `false` when nobody waits for this answer (any more).
    pub(crate) fn answer(&mut self, id: MethodRequestId, answer: Answer, deadlines: &Deadlines) -> bool {
        let call = self.0.as_ref().and_then(|calls| calls.get(&id));
        if !call.is_some_and(PendingCall::is_delivered) {
            return false;
        }
        let Some(call) = self.take(id, deadlines) else { return false };
        call.complete(answer);
        true
    }

    /// The caller went away.
    pub(crate) fn abandon(&mut self, id: MethodRequestId, deadlines: &Deadlines) {
        self.take(id, deadlines);
    }

    /// The call's row fell due.
    pub(crate) fn timed_out(&mut self, id: MethodRequestId, deadlines: &Deadlines) {
        let Some(call) = self.take(id, deadlines) else { return };
        let error = match &call.stage {
            Stage::Delivered => {
                let message = "Timed out waiting for the response from device.";
                HubError::new(ErrorCode::GatewayTimeout, message).with_info(Map::new())
            }
            Stage::Parked { connect_timeout, .. } => not_online(*connect_timeout),
        };
        call.complete(Err(error));
    }

    /// The session ended: what it was to answer, it will not.
    pub(crate) fn session_ended(&mut self, deadlines: &Deadlines) {
        let message = "The device disconnected before it answered.";
        self.fail(deadlines, |call| {
            call.is_delivered().then(|| HubError::new(ErrorCode::DeviceConnectionClosedRemotely, message))
        });
    }

    /// What is parked goes on waiting, unless `reason` is one for which no session can come.
    pub(crate) fn give_up(&mut self, reason: DisconnectReason, deadlines: &Deadlines) {
        self.fail(deadlines, |call| match reason {
            DisconnectReason::HubStopping => {
                Some(HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping."))
            }
            DisconnectReason::IdentityDeleted if call.identity.module.is_some() => {
                Some(module_not_found(&call.identity))
            }
            DisconnectReason::IdentityDeleted | DisconnectReason::IdentityDisabled => {
                Some(device_not_found(&call.identity.device))
            }
            DisconnectReason::CredentialsExpired
            | DisconnectReason::KeysChanged
            | DisconnectReason::SlowConsumer
            | DisconnectReason::TakenOver => None,
        });
    }

    fn fail(&mut self, deadlines: &Deadlines, error: impl Fn(&PendingCall) -> Option<HubError>) {
        let failed: Vec<_> = self
            .0
            .iter()
            .flat_map(|calls| calls.iter())
            .filter_map(|(id, call)| error(call).map(|error| (*id, error)))
            .collect();
        for (id, error) in failed {
            if let Some(call) = self.take(id, deadlines) {
                call.complete(Err(error));
            }
        }
    }

    fn take(&mut self, id: MethodRequestId, deadlines: &Deadlines) -> Option<PendingCall> {
        let calls = self.0.as_mut()?;
        let call = calls.remove(&id)?;
        if calls.is_empty() {
            self.0 = None;
        }
        deadlines.remove(call.due, call.row(id));
        Some(call)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |calls| calls.len())
    }
}

impl PendingCall {
    const fn is_delivered(&self) -> bool {
        matches!(self.stage, Stage::Delivered)
    }

    fn deliver(&mut self, listener: &Mailbox, at: Timestamp) {
        if let Stage::Parked { request, response_timeout, .. } =
            std::mem::replace(&mut self.stage, Stage::Delivered)
        {
            self.due = due(at, response_timeout);
            listener.push(Delivery::MethodInvoked(request));
        }
    }

    fn row(&self, id: MethodRequestId) -> Deadline {
        Deadline::MethodTimeout { identity: self.identity.clone(), id }
    }

    fn complete(self, answer: Answer) {
        // A caller that just went away reads no answer.
        let _ = self.caller.send(answer);
    }
}

/// The caller's own patience ends with the timeout it named, so the hub answers a little before
/// (contract/rest.md 1.9).
fn due(at: Timestamp, timeout: Duration) -> Timestamp {
    at.plus(timeout.saturating_sub(limits::METHOD_TIMEOUT_LEAD))
}

fn not_online(connect_timeout: Duration) -> HubError {
    let secs = connect_timeout.as_secs();
    let shown = format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60);
    let info = Map::from_iter([("timeout".to_owned(), json!(shown))]);
    HubError::new(ErrorCode::DeviceNotOnline, "Timed out waiting for device to connect.").with_info(info)
}
