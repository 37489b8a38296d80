//! Device scopes: the text by which a child names the edge device above it, and which of the two fields that carry
//! it counts (contract/rest.md 2.6).

use std::fmt;

use crate::Hub;
use crate::error::{ErrorCode, HubError};
use crate::identity::device::{DeviceSpec, GenerationId};
use crate::ids::DeviceId;

/// The scope of an edge device, `ms-azure-iot-edge://<deviceId>-<generationId>`. It names one life of that device:
/// when the device is made anew, its scope is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceScope {
    device: DeviceId,
    generation_id: GenerationId,
}

const SCHEME: &str = "ms-azure-iot-edge://";

impl DeviceScope {
    pub(crate) const fn of(device: DeviceId, generation_id: GenerationId) -> Self {
        Self { device, generation_id }
    }

    /// Reads a scope as the hub writes it; that the device exists is not checked here.
    ///
    /// # Errors
    /// `InvalidDeviceScope` for any other text.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let read = || {
            let (device, number) = text.strip_prefix(SCHEME)?.rsplit_once('-')?;
            let generation_id = GenerationId(number.parse().ok()?);
            Some(Self { device: DeviceId::parse(device).ok()?, generation_id })
        };
        // Comparing with what we would write refuses `+1`, `01` and the like.
        read().filter(|scope| scope.to_string() == text).ok_or_else(|| {
            HubError::new(
                ErrorCode::InvalidDeviceScope,
                "The device scope is not of the form ms-azure-iot-edge://<deviceId>-<generationId>.",
            )
        })
    }

    /// The edge device it names.
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }
}

impl fmt::Display for DeviceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}-{}", self.device, self.generation_id)
    }
}

/// What a caller wrote in the two scope fields, looked up before any lock is taken: for each, `None` when absent,
/// `Some(None)` to detach.
#[derive(Debug)]
pub(crate) struct NamedScopes {
    device_scope: Option<Option<NamedScope>>,
    parent_scope: Option<Option<NamedScope>>,
}

#[derive(Debug, PartialEq)]
struct NamedScope {
    scope: DeviceScope,
    is_registered: bool,
}

impl Hub {
    /// Reads the scope fields of `spec` and looks up what they name.
    pub(crate) fn named_scopes(&self, spec: &DeviceSpec) -> Result<NamedScopes, HubError> {
        let named = |text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            let scope = DeviceScope::parse(text)?;
            let is_registered = self.is_edge_scope(&scope);
            Ok(Some(NamedScope { scope, is_registered }))
        };
        let parent_scope = match spec.parent_scopes.as_deref() {
            None => None,
            Some([]) => Some(None),
            Some([parent]) => Some(named(parent)?),
            Some(_) => {
                return Err(HubError::new(
                    ErrorCode::ArgumentInvalid,
                    "parentScopes holds more than one scope; a device has at most one parent.",
                ));
            }
        };
        let device_scope = spec.device_scope.as_deref().map(named).transpose()?;
        Ok(NamedScopes { device_scope, parent_scope })
    }

    fn is_edge_scope(&self, scope: &DeviceScope) -> bool {
        let is_this_edge = |cell: std::sync::Arc<crate::state::DeviceCell>| {
            let state = cell.lock(&scope.device)?;
            Ok::<_, HubError>(state.record.iot_edge && state.record.generation_id == scope.generation_id)
        };
        self.devices.get(&scope.device).and_then(is_this_edge).unwrap_or(false)
    }
}

impl NamedScopes {
    /// The parent of a device that is no edge device: both fields name it.
    pub(crate) fn parent_of_leaf(
        self,
        stored: Option<&DeviceScope>,
    ) -> Result<Option<DeviceScope>, HubError> {
        let is_change = |named: &Option<NamedScope>| named.as_ref().map(|it| &it.scope) != stored;
        let wanted = match (self.device_scope, self.parent_scope) {
            (None, None) => return Ok(stored.cloned()),
            (Some(wanted), None) | (None, Some(wanted)) => wanted,
            (Some(scope), Some(parent)) if scope == parent => scope,
            // SDKs send back what they read and change one of the two: C# and Java always write both.
            (Some(scope), Some(parent)) => match (is_change(&scope), is_change(&parent)) {
                (true, false) => scope,
                (false, true) => parent,
                _ => {
                    return Err(HubError::new(
                        ErrorCode::InvalidDeviceScope,
                        "deviceScope and parentScopes name different parents.",
                    ));
                }
            },
        };
        accept(wanted, stored)
    }

    /// The parent of the edge device of scope `own`: only `parentScopes` names it. `deviceScope` is the hub's; an
    /// edge device that has one may send it back and cannot change it. On a device just becoming an edge device
    /// it is ignored, so that identities exported from another hub can be made here.
    pub(crate) fn parent_of_edge(
        self,
        own: &DeviceScope,
        was_edge: bool,
        stored: Option<&DeviceScope>,
    ) -> Result<Option<DeviceScope>, HubError> {
        if was_edge && self.device_scope.flatten().is_some_and(|named| named.scope != *own) {
            return Err(HubError::new(
                ErrorCode::InvalidDeviceScope,
                format!("The deviceScope of an edge device cannot be changed; it is '{own}'."),
            ));
        }
        match self.parent_scope {
            None => Ok(stored.cloned()),
            Some(Some(named)) if named.scope == *own => {
                Err(HubError::new(ErrorCode::InvalidDeviceScope, "An edge device cannot be its own parent."))
            }
            Some(wanted) => accept(wanted, stored),
        }
    }

    /// Forgets `own` as a device scope: a device that stops being an edge device sends it back, not as a parent.
    pub(crate) fn without_own(mut self, own: &DeviceScope) -> Self {
        self.device_scope =
            self.device_scope.filter(|named| named.as_ref().is_none_or(|it| it.scope != *own));
        self
    }
}

/// A parent that was deleted stays named by its children (contract/rest.md 1.2), so what is stored is accepted.
fn accept(wanted: Option<NamedScope>, stored: Option<&DeviceScope>) -> Result<Option<DeviceScope>, HubError> {
    match wanted {
        None => Ok(None),
        Some(named) if named.is_registered || Some(&named.scope) == stored => Ok(Some(named.scope)),
        Some(NamedScope { scope, .. }) => Err(HubError::new(
            ErrorCode::InvalidDeviceScope,
            format!("'{scope}' is not the scope of a registered edge device."),
        )),
    }
}
