//! Invoking a method and answering it. The caller's future awaits only a oneshot; everything that completes it
//! happens inside the device's lock (contract/rest.md 1.9, ARCHITECTURE section 4.3).

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::Hub;
use crate::error::{ErrorCode, HubError};
use crate::gate::Admitted;
use crate::gate::operations::{AnswerMethod, InvokeMethod};
use crate::identity::registry::device_not_found;
use crate::ids::IdentityId;
use crate::method::pending::Answer;
use crate::method::{MethodCall, MethodRequestId, MethodResponse};
use crate::state::DeviceCell;

impl Hub {
    /// Calls a method of a device or module and waits for its answer, which is the device's whatever its status.
    /// Dropping the future takes the call back.
    ///
    /// # Errors
    /// `ArgumentInvalid` for timeouts out of range, `MessageTooLarge`; `DeviceNotFound` also for a disabled device,
    /// `ModuleNotFound`; `DeviceMaximumInflightMethodExceeded`; `DeviceNotOnline` when no session listened in time,
    /// `GatewayTimeout` when one did and did not answer, `DeviceConnectionClosedRemotely` when it ended before,
    /// `GenericBadGateway` when the answer is no JSON or too large.
    pub async fn invoke_method(
        self: &Arc<Self>,
        by: Admitted<InvokeMethod>,
        call: MethodCall,
    ) -> Result<MethodResponse, HubError> {
        let request_bytes = call.payload.len();
        let answer = match self.begin_call(&by, call) {
            Ok(waiting) => {
                self.gate.meter(&by, || request_bytes);
                let answer = waiting.answer().await;
                let payload = answer.as_ref().ok().and_then(|response| response.payload.as_ref());
                self.gate.meter(&by, || payload.map_or(0, Bytes::len));
                answer
            }
            Err(error) => Err(error),
        };
        by.conclude(answer)
    }

    fn begin_call(
        self: &Arc<Self>,
        by: &Admitted<InvokeMethod>,
        call: MethodCall,
    ) -> Result<WaitingCaller, HubError> {
        call.check()?;
        let identity = by.target().clone();
        let id = self.next_method_request();
        let cell = self.devices.get(&identity.device)?;
        let mut state = cell.lock(&identity.device)?;
        let is_enabled = state.is_enabled();
        let own = state.identity(&identity)?;
        if !is_enabled {
            return Err(device_not_found(&identity.device)
                .with_reason(format!("device '{}' is disabled; enable it first", identity.device)));
        }
        let (listener, calls) = own.attachment.listener_and_calls();
        let answer = calls.begin(id, call, &identity, by.at(), listener, &self.deadlines)?;
        drop(state);
        Ok(WaitingCaller { hub: Arc::clone(self), cell, identity, id, answer, is_over: false })
    }

    /// A device or module answers a method. An answer nobody waits for, being late or made up, is dropped.
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess` when the session of this connection has ended; `DeviceNotFound`,
    /// `ModuleNotFound`.
    pub fn answer_method(
        &self,
        by: Admitted<AnswerMethod>,
        id: MethodRequestId,
        response: MethodResponse,
    ) -> Result<(), HubError> {
        let (identity, connection, at) = (by.target().clone(), by.connection(), by.at());
        let response = response.checked();
        let answer = || {
            let cell = self.devices.get(&identity.device)?;
            let mut state = cell.lock(&identity.device)?;
            let own = state.identity(&identity)?;
            own.attachment.heard_on(connection, at)?;
            if connection.is_none() || !own.attachment.calls.answer(id, response, &self.deadlines) {
                tracing::debug!(
                    device = %identity.device,
                    module = identity.module.as_ref().map(crate::ids::ModuleId::as_str),
                    rid = id.0,
                    "method answer dropped: nobody waits for it, it is late or was never asked for"
                );
            }
            Ok(())
        };
        by.conclude(answer())
    }

    /// Runs a `MethodTimeout` row.
    pub(crate) fn method_timeout_due(&self, identity: &IdentityId, id: MethodRequestId) {
        let Ok(cell) = self.devices.get(&identity.device) else { return };
        if let Ok(own) = cell.lock_even_if_gone().identity(identity) {
            own.attachment.call_timed_out(self, id);
        }
    }
}

/// A caller and its place in the table, which it leaves when it goes away.
struct WaitingCaller {
    hub: Arc<Hub>,
    cell: Arc<DeviceCell>,
    identity: IdentityId,
    id: MethodRequestId,
    answer: oneshot::Receiver<Answer>,
    is_over: bool,
}

impl WaitingCaller {
    async fn answer(mut self) -> Answer {
        let answer = (&mut self.answer).await;
        self.is_over = true;
        answer.unwrap_or_else(|_| {
            Err(HubError::new(ErrorCode::ServerError, "The call was lost.")
                .with_reason("a method call left its table without an answer"))
        })
    }
}

impl Drop for WaitingCaller {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Ok(own) = self.cell.lock_even_if_gone().identity(&self.identity) {
            own.attachment.abandon_call(&self.hub, self.id);
        }
    }
}

#[cfg(test)]
mod tests;
