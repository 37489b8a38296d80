//! What the core's own tests share: a hub on a clock that stands still, grants, admission without waiting.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::access::{CredentialKind, Grant, Permissions, PolicyName, Scope, Subject, development_policies};
use crate::device_session::{DeviceSession, SessionOptions};
use crate::entropy::Entropy;
use crate::error::HubError;
use crate::gate::operations::{Connect, CreateDevice, CreateModule};
use crate::gate::{Admitted, Details, Operation, ProtocolLabel};
use crate::identity::{DeviceSpec, ModuleSpec};
use crate::ids::{ConnectionId, HubName, IdentityId};
use crate::time::{ManualClock, Timestamp};
use crate::{Hub, HubConfig};

pub(crate) fn hub() -> (Arc<Hub>, Arc<ManualClock>) {
    hub_with(|_| {})
}

/// A hub whose configuration `set` changes.
pub(crate) fn hub_with(set: impl FnOnce(&mut HubConfig)) -> (Arc<Hub>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_secs(1_767_225_600)));
    let mut config = HubConfig::new(HubName::parse("test").unwrap(), development_policies(), 4);
    set(&mut config);
    (Hub::new(config, Arc::clone(&clock) as _, Entropy::seeded(7)), clock)
}

pub(crate) fn policy_grant(hub: &Hub, name: &str) -> Arc<Grant> {
    let policy = hub.policies().iter().find(|policy| policy.name.as_str() == name).unwrap();
    Arc::new(Grant {
        subject: Subject::Policy(PolicyName::parse(name).unwrap()),
        scope: Scope::Hub,
        permissions: policy.permissions,
        expires_at: None,
        credential: CredentialKind::SasPolicy,
        revision: None,
    })
}

pub(crate) fn identity_grant(identity: &IdentityId, expires_at: Option<Timestamp>) -> Arc<Grant> {
    Arc::new(Grant {
        subject: Subject::Identity(identity.clone()),
        scope: Scope::Identity(identity.clone()),
        permissions: Permissions::DEVICE_CONNECT,
        expires_at,
        credential: CredentialKind::SasDeviceKey,
        revision: None,
    })
}

/// Admission never waits in these tests.
pub(crate) fn admit<O: Operation>(
    hub: &Hub,
    grant: &Arc<Grant>,
    target: O::Target,
) -> Result<Admitted<O>, HubError> {
    admit_as(hub, grant, target, None)
}

/// The same on a connection.
pub(crate) fn admit_on<O: Operation>(
    hub: &Hub,
    grant: &Arc<Grant>,
    target: O::Target,
    connection: u64,
) -> Result<Admitted<O>, HubError> {
    admit_as(hub, grant, target, Some(ConnectionId(connection)))
}

fn admit_as<O: Operation>(
    hub: &Hub,
    grant: &Arc<Grant>,
    target: O::Target,
    connection: Option<ConnectionId>,
) -> Result<Admitted<O>, HubError> {
    let details = Details { protocol: ProtocolLabel("test"), connection };
    let mut admission = std::pin::pin!(hub.gate().admit::<O>(grant, target, details));
    match admission.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(admitted) => admitted,
        Poll::Pending => panic!("admission waits"),
    }
}

pub(crate) fn owner<O: Operation>(hub: &Hub, target: O::Target) -> Admitted<O> {
    admit(hub, &policy_grant(hub, "iothubowner"), target).unwrap()
}

/// Registers `d` or `d/m` (with its device) and returns its id.
pub(crate) fn register(hub: &Hub, device: &str, module: Option<&str>) -> IdentityId {
    let identity = IdentityId::parse(device, module).unwrap();
    hub.create_device(owner::<CreateDevice>(hub, identity.device.clone()), &DeviceSpec::default()).unwrap();
    if let Some(module) = &identity.module {
        let target = (identity.device.clone(), module.clone());
        hub.create_module(owner::<CreateModule>(hub, target), &ModuleSpec::default()).unwrap();
    }
    identity
}

pub(crate) fn options(connection: u64) -> SessionOptions {
    SessionOptions {
        connection: ConnectionId(connection),
        protocol: ProtocolLabel("test"),
        peer: ([127, 0, 0, 1], 1).into(),
        credential_grace: Duration::ZERO,
        will: None,
        product_info: None,
        model_id: None,
        keep_saved: false,
    }
}

pub(crate) fn connect(
    hub: &Arc<Hub>,
    identity: &IdentityId,
    options: SessionOptions,
) -> Result<DeviceSession, HubError> {
    connect_until(hub, identity, options, None)
}

pub(crate) fn connect_until(
    hub: &Arc<Hub>,
    identity: &IdentityId,
    options: SessionOptions,
    expires_at: Option<Timestamp>,
) -> Result<DeviceSession, HubError> {
    let grant = identity_grant(identity, expires_at);
    hub.connect(admit::<Connect>(hub, &grant, identity.clone()).unwrap(), options)
}

/// What `write` appends.
pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    write(&mut text);
    String::from_utf8(text).unwrap()
}
