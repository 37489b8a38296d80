//! The hub's specification on one page: each operation, what it acts on and the right it needs
//! (contract/rest.md 1.1 column P, 5.2).

use crate::access::Permissions;
use crate::ids::{DeviceId, IdentityId, ModuleId};

/// What an operation acts on, as the journal shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
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

/// One row of the table. Only the macro below makes implementors.
pub trait Operation: Send + 'static {
    /// The name in the journal.
    const NAME: &'static str;
    /// The rights of which a grant must give one.
    const NEEDS: Permissions;
    /// Whether a module's own credential allows it too, on its device and on that device's modules.
    const OPEN_TO_SIBLINGS: bool;
    /// What it acts on: nobody can be admitted for one thing and act on another.
    type Target: Clone + Into<Target> + Send + Sync;
}

macro_rules! operations {
    ($($name:ident on $target:ty, needs $($right:ident)or+ $(, open to $whom:ident)?: $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Operation for $name {
            const NAME: &'static str = stringify!($name);
            const NEEDS: Permissions = Permissions::NONE$(.union(Permissions::$right))+;
            const OPEN_TO_SIBLINGS: bool = operations!(@is_open $($whom)?);
            type Target = $target;
        }
    )*};
    (@is_open siblings) => { true };
    (@is_open) => { false };
}

operations! {
    CreateDevice   on DeviceId,             needs REGISTRY_WRITE:  "PUT /devices/{id} without If-Match.";
    UpdateDevice   on DeviceId,             needs REGISTRY_WRITE:  "PUT /devices/{id} with If-Match.";
    DeleteDevice   on DeviceId,             needs REGISTRY_WRITE:  "DELETE /devices/{id}.";
    GetDevice      on DeviceId,             needs REGISTRY_READ:   "GET /devices/{id}.";
    ListDevices    on (),                   needs REGISTRY_READ:   "GET /devices.";
    BulkRegistry   on (),                   needs REGISTRY_WRITE:  "POST /devices.";
    RegenerateKeys on (),                   needs REGISTRY_WRITE:  "POST /devices/keys/regenerate.";
    GetDeviceStatistics  on (),             needs REGISTRY_READ:   "GET /statistics/devices.";
    GetServiceStatistics on (),             needs REGISTRY_READ or SERVICE_CONNECT: "GET /statistics/service.";
    CreateModule   on (DeviceId, ModuleId), needs REGISTRY_WRITE:  "PUT /devices/{id}/modules/{mid} without If-Match.";
    UpdateModule   on (DeviceId, ModuleId), needs REGISTRY_WRITE:  "PUT /devices/{id}/modules/{mid} with If-Match.";
    DeleteModule   on (DeviceId, ModuleId), needs REGISTRY_WRITE:  "DELETE /devices/{id}/modules/{mid}.";
    GetModule      on (DeviceId, ModuleId), needs REGISTRY_READ:   "GET /devices/{id}/modules/{mid}.";
    ListModules    on DeviceId,             needs REGISTRY_READ:   "GET /devices/{id}/modules.";
    GetTwin        on IdentityId,           needs SERVICE_CONNECT: "GET /twins/...";
    PatchTwin      on IdentityId,           needs SERVICE_CONNECT: "PATCH /twins/...";
    ReplaceTwin    on IdentityId,           needs SERVICE_CONNECT: "PUT /twins/...";
    InvokeMethod   on IdentityId,           needs SERVICE_CONNECT, open to siblings: "POST /twins/.../methods.";
    AnswerMethod   on IdentityId,           needs DEVICE_CONNECT:  "A device or module answers a direct method.";
    Connect        on IdentityId,           needs DEVICE_CONNECT:  "A device or module comes online.";
    ReadOwnTwin    on IdentityId,           needs DEVICE_CONNECT:  "A device or module reads its twin.";
    UpdateReported on IdentityId,           needs DEVICE_CONNECT:  "A device or module reports properties.";
    SendTelemetry  on IdentityId,           needs DEVICE_CONNECT:  "A device or module sends a message.";
}
