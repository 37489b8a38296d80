//! The hub's specification on one page: each operation, what it acts on, the right it needs (contract/rest.md 1.1
//! column P, 5.2), the lowest tier that has it, the throttle it is paced by, and whether it counts as messages of the
//! day (contract/rest.md 7).

use crate::access::{EventsPath, Permissions};
use crate::gate::throttle::Throttle;
use crate::gate::tier::Tier;
use crate::ids::{DeviceId, IdentityId, ModuleId};

/// What an operation acts on, as the journal shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An event hub, or a part of one.
    Events(EventsPath),
    /// The hub as a whole.
    Hub,
    /// One identity.
    Identity(IdentityId),
}

impl From<()> for Target {
    fn from((): ()) -> Self {
        Self::Hub
    }
}

impl From<EventsPath> for Target {
    fn from(path: EventsPath) -> Self {
        Self::Events(path)
    }
}

impl From<DeviceId> for Target {
    fn from(device: DeviceId) -> Self {
        Self::Identity(IdentityId::device(device))
    }
}

impl From<(DeviceId, ModuleId)> for Target {
    fn from((device, module): (DeviceId, ModuleId)) -> Self {
        Self::Identity(IdentityId::module(device, module))
    }
}

impl From<IdentityId> for Target {
    fn from(identity: IdentityId) -> Self {
        Self::Identity(identity)
    }
}

/// Whoever is close enough to an identity to do something to it by being that close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The device itself, to it and its modules. That it is an edge device is for the operation to see.
    Host,
    /// A module, to its device and the modules beside it.
    Sibling,
}

/// One row of the table. Only the macro below makes implementors.
pub trait Operation: Send + 'static {
    /// The name in the journal.
    const NAME: &'static str;
    /// The rights of which a grant must give one.
    const NEEDS: Permissions;
    /// Whose own credential allows it too, without that right.
    const OPEN_TO: Option<Neighbour>;
    /// The lowest tier that has it; on a module it needs the standard tier in any case.
    const LOWEST_TIER: Tier;
    /// The throttle that paces it.
    const THROTTLE: Option<Throttle>;
    /// Whether its payloads count as messages of the day.
    const IS_METERED: bool;
    /// What it acts on: nobody can be admitted for one thing and act on another.
    type Target: Clone + Into<Target> + Send + Sync;
}

macro_rules! operations {
    ($(
        $name:ident on $target:ty, needs $($right:ident)or+ $((or $neighbour:ident))?, $tier:ident, $throttle:tt, $meter:tt:
        $doc:literal;
    )*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Operation for $name {
            const NAME: &'static str = stringify!($name);
            const NEEDS: Permissions = Permissions::NONE$(.union(Permissions::$right))+;
            const OPEN_TO: Option<Neighbour> = operations!(open_to $($neighbour)?);
            const LOWEST_TIER: Tier = Tier::$tier;
            const THROTTLE: Option<Throttle> = operations!(throttle $throttle);
            const IS_METERED: bool = operations!(is_metered $meter);
            type Target = $target;
        }
    )*};
    (open_to) => { None };
    (open_to host) => { Some(Neighbour::Host) };
    (open_to sibling) => { Some(Neighbour::Sibling) };
    (throttle -) => { None };
    (throttle $throttle:ident) => { Some(Throttle::$throttle) };
    (is_metered -) => { false };
    (is_metered metered) => { true };
}

operations! {
//  operation               acts on                right                                   tier      throttle            quota
    CreateDevice         on DeviceId,              needs REGISTRY_WRITE,                   Basic,    IdentityRegistry,   -:       "PUT /devices/{id} without If-Match.";
    UpdateDevice         on DeviceId,              needs REGISTRY_WRITE,                   Basic,    IdentityRegistry,   -:       "PUT /devices/{id} with If-Match.";
    DeleteDevice         on DeviceId,              needs REGISTRY_WRITE,                   Basic,    IdentityRegistry,   -:       "DELETE /devices/{id}.";
    GetDevice            on DeviceId,              needs REGISTRY_READ,                    Basic,    IdentityRegistry,   -:       "GET /devices/{id}.";
    ListDevices          on (),                    needs REGISTRY_READ,                    Basic,    IdentityRegistry,   -:       "GET /devices.";
    BulkRegistry         on (),                    needs REGISTRY_WRITE,                   Basic,    IdentityRegistry,   -:       "POST /devices.";
    RegenerateKeys       on (),                    needs REGISTRY_WRITE,                   Basic,    IdentityRegistry,   -:       "POST /devices/keys/regenerate.";
    GetDeviceStatistics  on (),                    needs REGISTRY_READ,                    Basic,    -,                  -:       "GET /statistics/devices.";
    GetServiceStatistics on (),                    needs REGISTRY_READ or SERVICE_CONNECT, Basic,    -,                  -:       "GET /statistics/service.";
    CreateModule         on (DeviceId, ModuleId),  needs REGISTRY_WRITE (or host),         Standard, IdentityRegistry,   -:       "PUT /devices/{id}/modules/{mid} without If-Match.";
    UpdateModule         on (DeviceId, ModuleId),  needs REGISTRY_WRITE (or host),         Standard, IdentityRegistry,   -:       "PUT /devices/{id}/modules/{mid} with If-Match.";
    DeleteModule         on (DeviceId, ModuleId),  needs REGISTRY_WRITE (or host),         Standard, IdentityRegistry,   -:       "DELETE /devices/{id}/modules/{mid}.";
    GetModule            on (DeviceId, ModuleId),  needs REGISTRY_READ (or host),          Standard, IdentityRegistry,   -:       "GET /devices/{id}/modules/{mid}.";
    ListModules          on DeviceId,              needs REGISTRY_READ (or host),          Standard, IdentityRegistry,   -:       "GET /devices/{id}/modules.";
    GetTwin              on IdentityId,            needs SERVICE_CONNECT,                  Standard, TwinReads,          metered: "GET /twins/...";
    PatchTwin            on IdentityId,            needs SERVICE_CONNECT,                  Standard, TwinUpdates,        metered: "PATCH /twins/...";
    ReplaceTwin          on IdentityId,            needs SERVICE_CONNECT,                  Standard, TwinUpdates,        metered: "PUT /twins/...";
    SendCloudToDevice    on DeviceId,              needs SERVICE_CONNECT,                  Standard, CloudToDeviceSends, metered: "A message for a device, over AMQP or REST.";
    PurgeCloudToDevice   on DeviceId,              needs SERVICE_CONNECT,                  Standard, -,                  -:       "DELETE /devices/{id}/commands.";
    ReceiveFeedback      on (),                    needs SERVICE_CONNECT,                  Standard, -,                  -:       "A back end reads what became of its messages.";
    SettleFeedback       on (),                    needs SERVICE_CONNECT,                  Standard, -,                  -:       "A back end completes or gives back feedback.";
    GetEventHubProperties on EventsPath,           needs SERVICE_CONNECT,                  Basic,    -,                  -:       "A back end asks for an event hub and its partitions.";
    ReadEvents           on EventsPath,            needs SERVICE_CONNECT,                  Basic,    -,                  -:       "A back end opens a reader of a partition.";
    InvokeMethod         on IdentityId,            needs SERVICE_CONNECT (or sibling),     Standard, DirectMethods,      metered: "POST /twins/.../methods.";
    AnswerMethod         on IdentityId,            needs DEVICE_CONNECT,                   Standard, -,                  -:       "A device or module answers a direct method.";
    ReadEdgeScope        on (DeviceId, ModuleId),  needs DEVICE_CONNECT,                   Standard, -,                  -:       "An edge hub reads the identities below its device.";
    ManageOnBehalf       on (DeviceId, ModuleId),  needs DEVICE_CONNECT,                   Standard, IdentityRegistry,   -:       "An edge hub manages modules of an edge device below its own.";
    Connect              on IdentityId,            needs DEVICE_CONNECT,                   Basic,    Connections,        -:       "A device or module comes online.";
    ReadOwnTwin          on IdentityId,            needs DEVICE_CONNECT,                   Standard, TwinReads,          metered: "A device or module reads its twin.";
    UpdateReported       on IdentityId,            needs DEVICE_CONNECT,                   Standard, TwinUpdates,        metered: "A device or module reports properties.";
    SendTelemetry        on IdentityId,            needs DEVICE_CONNECT,                   Basic,    DeviceToCloudSends, metered: "A device or module sends a message.";
    ReceiveCloudToDevice on DeviceId,              needs DEVICE_CONNECT,                   Standard, -,                  -:       "A device takes its next message.";
    PollCloudToDevice    on DeviceId,              needs DEVICE_CONNECT,                   Standard, CloudToDeviceReceives, -:       "A device asks over HTTPS for its next message.";
    SettleCloudToDevice  on DeviceId,              needs DEVICE_CONNECT,                   Standard, -,                  -:       "A device completes, abandons or rejects a message.";
}
