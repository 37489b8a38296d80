//! What the hub itself has to tell: identities come and go, connect and disconnect, twins change (contract/mqtt.md 12).
//! An event is made only when a route wants its source, under the lock of the device it is about.

use bytes::Bytes;

use crate::Hub;
use crate::device_session::SessionCore;
use crate::events::{EventData, MessageSource};
use crate::ids::{IdentityId, ModuleId};
use crate::telemetry::MessageProperties;
use crate::time::Timestamp;
use crate::twin::StoredTwin;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HubEvent {
    CreateDeviceIdentity,
    DeleteDeviceIdentity,
    DeviceConnected,
    DeviceDisconnected,
    ReplaceTwin,
    UpdateTwin,
}

impl HubEvent {
    /// Source, `opType` and `iothub-message-schema`.
    const fn row(self) -> (MessageSource, &'static str, &'static str) {
        use MessageSource as Source;
        match self {
            Self::CreateDeviceIdentity => {
                (Source::DeviceLifecycle, "createDeviceIdentity", "deviceLifecycleNotification")
            }
            Self::DeleteDeviceIdentity => {
                (Source::DeviceLifecycle, "deleteDeviceIdentity", "deviceLifecycleNotification")
            }
            Self::DeviceConnected => {
                (Source::DeviceConnectionState, "deviceConnected", "deviceConnectionStateNotification")
            }
            Self::DeviceDisconnected => {
                (Source::DeviceConnectionState, "deviceDisconnected", "deviceConnectionStateNotification")
            }
            Self::ReplaceTwin => (Source::TwinChange, "replaceTwin", "twinChangeNotification"),
            Self::UpdateTwin => (Source::TwinChange, "updateTwin", "twinChangeNotification"),
        }
    }
}

impl Hub {
    /// Whether a route wants events of this source.
    pub(crate) fn is_wanted(&self, source: MessageSource) -> bool {
        self.router().wants(source)
    }

    /// Tells what happened to `identity`, whose twin this is now. `body` makes the event's JSON and runs only when a
    /// route wants it.
    pub(crate) fn tell(
        &self,
        what: HubEvent,
        identity: &IdentityId,
        twin: &StoredTwin,
        at: Timestamp,
        body: impl FnOnce() -> Vec<u8>,
    ) {
        let router = self.router();
        let (source, op_type, schema) = what.row();
        if !router.wants(source) {
            return;
        }
        let mut application = Vec::with_capacity(6);
        let mut set = |name: &str, value: &str| application.push((name.to_owned(), Some(value.to_owned())));
        set("hubName", self.name().as_str());
        set("deviceId", identity.device.as_str());
        if let Some(module) = identity.module.as_ref().map(ModuleId::as_str) {
            set("moduleId", module);
        }
        set("operationTimestamp", &at.to_string());
        set("opType", op_type);
        set("iothub-message-schema", schema);
        let event = EventData {
            identity: identity.clone(),
            source,
            sender: None,
            properties: MessageProperties {
                correlation_id: Some(self.correlation_id()),
                user_id: Some(self.name().as_str().to_owned()),
                content_type: Some("application/json".to_owned()),
                content_encoding: Some("utf-8".to_owned()),
                application,
                ..MessageProperties::default()
            },
            body: Bytes::from(body()),
            accepted_at: at,
        };
        router.route(event, twin);
    }

    /// Tells that an identity was made, after whatever made it.
    pub(crate) fn tell_created(&self, identity: &IdentityId, twin: &StoredTwin, at: Timestamp) {
        self.tell(HubEvent::CreateDeviceIdentity, identity, twin, at, || twin.told_when_born(identity));
    }

    /// Tells that an identity was removed, with its twin as it was at last.
    pub(crate) fn tell_deleted(&self, identity: &IdentityId, twin: &StoredTwin, at: Timestamp) {
        self.tell(HubEvent::DeleteDeviceIdentity, identity, twin, at, || twin.told(identity));
    }

    /// Tells that a session has begun or ended. The number in the body is 256 bits wide and grows from event to event
    /// of an identity: the hub's start, the session's generation, and 0 for its begin, 1 for its end.
    pub(crate) fn tell_connection_state(
        &self,
        what: HubEvent,
        session: &SessionCore,
        twin: &StoredTwin,
        at: Timestamp,
    ) {
        let body = || {
            let started_at = self.started_at.dotnet_ticks();
            let (generation, end) = (session.generation, u64::from(what == HubEvent::DeviceDisconnected));
            format!(r#"{{"sequenceNumber":"{:016X}{started_at:016X}{generation:016X}{end:016X}"}}"#, 0)
                .into_bytes()
        };
        self.tell(what, &session.identity, twin, at, body);
    }

    /// Ten hexadecimal digits, as the service's are.
    fn correlation_id(&self) -> String {
        format!("{:010x}", self.random_bits() >> 88)
    }
}

#[cfg(test)]
mod tests;
