//! Who asks, and what they demand: grants with and without the right, and every form of If-Match. The rights
//! stand here a second time, from contract/rest.md 1.1 and 5.2, so that the core's own table is checked against them.

use std::fmt;
use std::sync::Arc;

use hub::access::{CredentialKind, Grant, Permissions, PolicyName, Scope, Subject};
use hub::error::ErrorCode;
use hub::gate::Target;
use hub::ids::{IdentityId, IfMatch};
use hub::time::Timestamp;

use crate::dice::Dice;

/// Whose credential a step is done with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A policy's key, for the whole hub or for one identity.
    Policy(&'static str, Option<IdentityId>),
    /// A device's or module's own key.
    Own(IdentityId),
}

/// Policy, its rights.
const POLICIES: &[(&str, &[Right])] = &[
    (
        "iothubowner",
        &[Right::RegistryRead, Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect],
    ),
    ("service", &[Right::ServiceConnect]),
    ("device", &[Right::DeviceConnect]),
    ("registryRead", &[Right::RegistryRead]),
    ("registryReadWrite", &[Right::RegistryRead, Right::RegistryWrite]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    DeviceConnect,
}

/// The rights of which an operation needs one.
fn needed(operation: &str) -> &'static [Right] {
    match operation {
        "GetDevice" | "ListDevices" | "GetModule" | "ListModules" | "GetDeviceStatistics" => {
            &[Right::RegistryRead]
        }
        "GetServiceStatistics" => &[Right::RegistryRead, Right::ServiceConnect],
        "CreateDevice" | "UpdateDevice" | "DeleteDevice" | "CreateModule" | "UpdateModule"
        | "DeleteModule" | "BulkRegistry" | "RegenerateKeys" => &[Right::RegistryWrite],
        "GetTwin" | "PatchTwin" | "ReplaceTwin" | "InvokeMethod" | "SendCloudToDevice"
        | "PurgeCloudToDevice" | "ReceiveFeedback" | "SettleFeedback" => &[Right::ServiceConnect],
        "Connect"
        | "ReadOwnTwin"
        | "UpdateReported"
        | "AnswerMethod"
        | "ReceiveCloudToDevice"
        | "PollCloudToDevice"
        | "SettleCloudToDevice" => &[Right::DeviceConnect],
        other => panic!("no row for the operation {other}"),
    }
}

impl Caller {
    pub(crate) const OWNER: Self = Self::Policy("iothubowner", None);

    /// Mostly somebody who may; now and then anybody.
    pub(crate) fn service(dice: &mut Dice, target: Option<&IdentityId>) -> Self {
        if !dice.one_in(12) {
            return Self::OWNER;
        }
        let names: Vec<_> = POLICIES.iter().map(|(name, _)| *name).collect();
        let scope = target.filter(|_| dice.one_in(2)).cloned();
        let elsewhere = || IdentityId::parse("elsewhere", None).expect("a legal id");
        match (dice.below(4), target) {
            (0, Some(target)) => Self::Own(target.clone()),
            (2, Some(target)) => Self::Own(IdentityId::device(target.device.clone())),
            (1, _) => Self::Policy(dice.pick(&names), Some(elsewhere())),
            _ => Self::Policy(dice.pick(&names), scope),
        }
    }

    /// Mostly the identity itself; now and then its device, a policy, or somebody who may not.
    pub(crate) fn device(dice: &mut Dice, target: &IdentityId) -> Self {
        match dice.below(24) {
            0 => Self::Own(IdentityId::device(target.device.clone())),
            1 => Self::Policy("service", None),
            2 | 3 => Self::Policy("device", Some(IdentityId::device(target.device.clone()))),
            4 | 5 => Self::Policy("device", None),
            _ => Self::Own(target.clone()),
        }
    }

    /// Whether the contract lets this caller do that there.
    pub(crate) fn may(&self, operation: &str, target: &Target) -> bool {
        let has = |right: &Right| match self {
            Self::Own(_) => *right == Right::DeviceConnect,
            Self::Policy(name, _) => {
                POLICIES.iter().any(|(policy, rights)| policy == name && rights.contains(right))
            }
        };
        let reaches = match (self, target) {
            (Self::Policy(_, None), _) => true,
            (_, Target::Events(_) | Target::Hub) => false,
            (Self::Own(own), Target::Identity(target)) => own == target,
            (Self::Policy(_, Some(scope)), Target::Identity(target)) => {
                scope == target || (scope.device == target.device && !scope.is_module())
            }
        };
        // Edge modules call the methods of their device and of its other modules.
        let is_sibling = match (self, target) {
            (Self::Own(own), Target::Identity(target)) => own.is_module() && own.device == target.device,
            _ => false,
        };
        (needed(operation).iter().any(has) && reaches)
            || (operation == "InvokeMethod" && is_sibling)
            || self.host(operation, target).is_some()
    }

    /// The device that does something to its modules with its own credential, which edge devices may.
    pub(crate) fn host(&self, operation: &str, target: &Target) -> Option<&IdentityId> {
        const OF_HOSTS: &[&str] =
            &["CreateModule", "DeleteModule", "GetModule", "ListModules", "UpdateModule"];
        match (self, target) {
            (Self::Own(own), Target::Identity(target)) if !own.is_module() && own.device == target.device => {
                OF_HOSTS.contains(&operation).then_some(own)
            }
            _ => None,
        }
    }

    pub(crate) fn grant(&self, expires_at: Option<Timestamp>) -> Arc<Grant> {
        let (subject, scope) = match self {
            Self::Own(id) => (Subject::Identity(id.clone()), Scope::Identity(id.clone())),
            Self::Policy(name, scope) => (
                Subject::Policy(PolicyName::parse(name).expect("a legal name")),
                scope.clone().map_or(Scope::Hub, Scope::Identity),
            ),
        };
        let credential = match self {
            Self::Own(id) if id.is_module() => CredentialKind::SasModuleKey,
            Self::Own(_) => CredentialKind::SasDeviceKey,
            Self::Policy(..) => CredentialKind::SasPolicy,
        };
        Arc::new(Grant {
            subject,
            scope,
            permissions: self.permissions(),
            expires_at,
            credential,
            revision: None,
        })
    }

    fn permissions(&self) -> Permissions {
        let name = match self {
            Self::Own(_) => return Permissions::DEVICE_CONNECT,
            Self::Policy(name, _) => *name,
        };
        let policies = hub::access::development_policies();
        policies.iter().find(|policy| policy.name.as_str() == name).expect("a policy of the hub").permissions
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(id) => write!(f, "{id} itself"),
            Self::Policy(name, None) => f.write_str(name),
            Self::Policy(name, Some(scope)) => write!(f, "{name} for {scope}"),
        }
    }
}

/// What a caller demands of the stored version, as text and as meaning.
#[derive(Clone)]
pub(crate) struct Demand {
    header: Option<String>,
    /// The etag it names; `None` when every version will do.
    names: Option<String>,
}

impl Demand {
    /// `current` is the stored etag, if there is anything stored.
    pub(crate) fn of(dice: &mut Dice, current: Option<&str>) -> Self {
        let current = current.unwrap_or("AAAAAAAAAAE=");
        let (header, names) = match dice.below(10) {
            0 | 1 => return Self { header: None, names: None },
            2 => ("*".to_owned(), None),
            3 => ("\"*\"".to_owned(), None),
            4 => (current.to_owned(), Some(current)),
            5 => (format!("W/\"{current}\""), Some(current)),
            6 => (format!(" \"other\" , \"{current}\" "), Some(current)),
            7 => (format!("\"{}\"", current.to_lowercase()), Some("")),
            8 => ("\"c3RhbGU=\"".to_owned(), Some("")),
            _ => (format!("\"{current}\""), Some(current)),
        };
        Self { header: Some(header), names: names.map(ToOwned::to_owned) }
    }

    /// Nothing in particular.
    pub(crate) const ANY: Self = Self { header: None, names: None };

    /// As a row of a bulk call has it: no header, but a field that is bare or quoted.
    pub(crate) fn field(&self) -> Option<String> {
        self.header.clone()
    }

    pub(crate) fn parsed(&self) -> IfMatch {
        IfMatch::parse(self.header.as_deref())
    }

    pub(crate) fn check(&self, stored: Option<&str>) -> Result<(), ErrorCode> {
        match &self.names {
            Some(names) if Some(names.as_str()) != stored => Err(ErrorCode::PreconditionFailed),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "if-match {}", self.header.as_deref().unwrap_or("absent"))
    }
}
