//! Admission: may this grant do this, here, now. The token it yields is the only way into a core operation.

use std::fmt;
use std::sync::Arc;

use crate::access::{Grant, Subject};
use crate::error::{ErrorCode, HubError};
use crate::gate::journal::{Journal, JournalEntry, Outcome};
use crate::gate::operations::{Operation, Target};
use crate::ids::ConnectionId;
use crate::time::{Clock, Timestamp};

/// How a request came in: a head's own word for its protocol, such as `mqtt-ws`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolLabel(pub &'static str);

/// What the journal wants to know of a request besides who and what.
#[derive(Clone, Copy, Debug)]
pub struct Details {
    /// The protocol it came by.
    pub protocol: ProtocolLabel,
    /// The connection it came on.
    pub connection: Option<ConnectionId>,
}

/// Checks grants against the table of operations.
#[derive(Debug)]
pub struct Gate {
    clock: Arc<dyn Clock>,
    journal: Arc<Journal>,
}

impl Gate {
    pub(crate) const fn new(clock: Arc<dyn Clock>, journal: Arc<Journal>) -> Self {
        Self { clock, journal }
    }

    /// Admits an operation. May wait once throttles exist; authorization itself does not.
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess` when the grant lacks the right or does not reach the target (contract/rest.md 4.3); the
    /// refusal is logged and journalled here. Expiry is the authenticator's and, for a live session, its deadline's.
    #[expect(clippy::unused_async, reason = "throttles wait here; heads are written for it")]
    pub async fn admit<O: Operation>(
        &self,
        grant: &Arc<Grant>,
        target: O::Target,
        details: Details,
    ) -> Result<Admitted<O>, HubError> {
        let at = self.clock.now();
        let mut admitted = Admitted {
            grant: Arc::clone(grant),
            target,
            at,
            details,
            journal: Arc::clone(&self.journal),
            outcome: None,
        };
        match authorize::<O>(grant, &admitted.target) {
            Ok(()) => Ok(admitted),
            Err(error) => {
                admitted.outcome = Some(Outcome::Refused(error.code()));
                tracing::warn!(op = O::NAME, code = error.code().number(), "refused: {}", error.reason());
                Err(error)
            }
        }
    }
}

fn authorize<O: Operation>(grant: &Grant, target: &O::Target) -> Result<(), HubError> {
    let refuse = |reason: String| {
        let message = match &grant.subject {
            Subject::Policy(name) => {
                format!("Authorization rule '{name}' does not allow access for '{}'.", O::NAME)
            }
            Subject::Identity(_) => "Unauthorized".to_owned(),
        };
        Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, message).with_reason(reason))
    };
    let target = target.clone().into();
    if let Target::Identity(identity) = &target
        && O::OPEN_TO_SIBLINGS
        && grant.is_of_module_on(&identity.device)
    {
        return Ok(());
    }
    if !grant.permissions.intersects(O::NEEDS) {
        return refuse(format!(
            "{} needs the right {}, but {} has {}; use a policy that has it",
            O::NAME,
            O::NEEDS,
            grant.subject,
            grant.permissions
        ));
    }
    match target {
        Target::Hub if grant.scope == crate::access::Scope::Hub => Ok(()),
        Target::Hub => {
            refuse(format!("{} concerns the whole hub, the token of {} does not", O::NAME, grant.subject))
        }
        Target::Identity(identity) if grant.covers(&identity) => Ok(()),
        Target::Identity(identity) => {
            refuse(format!("the credential of {} does not reach '{identity}'", grant.subject))
        }
    }
}

/// Proof that an operation may be done: by whom, on what, when. Used up by the core operation, which writes the
/// outcome to the journal through it.
pub struct Admitted<O: Operation> {
    grant: Arc<Grant>,
    target: O::Target,
    at: Timestamp,
    details: Details,
    journal: Arc<Journal>,
    outcome: Option<Outcome>,
}

impl<O: Operation> Admitted<O> {
    /// What the operation acts on.
    pub const fn target(&self) -> &O::Target {
        &self.target
    }

    /// When it was admitted: the one time the operation knows.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// On whose behalf.
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// The connection it came on.
    pub(crate) const fn connection(&self) -> Option<ConnectionId> {
        self.details.connection
    }

    /// As [`Self::conclude`] for an operation that answers even when parts of it failed: `failure` says what the journal
    /// notes.
    pub(crate) fn conclude_with<T>(
        mut self,
        result: T,
        failure: impl FnOnce(&T) -> Option<ErrorCode>,
    ) -> Result<T, HubError> {
        self.outcome = Some(failure(&result).map_or(Outcome::Succeeded, Outcome::Failed));
        Ok(result)
    }

    /// Notes how the operation ended and hands the result on.
    pub(crate) fn conclude<T>(mut self, result: Result<T, HubError>) -> Result<T, HubError> {
        self.outcome = Some(match &result {
            Ok(_) => Outcome::Succeeded,
            Err(error) => Outcome::Failed(error.code()),
        });
        result
    }
}

impl<O: Operation> Drop for Admitted<O> {
    fn drop(&mut self) {
        self.journal.record(JournalEntry {
            at: self.at,
            operation: O::NAME,
            target: self.target.clone().into(),
            subject: Some(self.grant.subject.clone()),
            credential: Some(self.grant.credential),
            protocol: self.details.protocol,
            connection: self.details.connection,
            outcome: self.outcome.unwrap_or(Outcome::Abandoned),
        });
    }
}

impl<O: Operation> fmt::Debug for Admitted<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(O::NAME).field("target", &self.target.clone().into()).field("at", &self.at).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::operations::{CreateDevice, GetTwin, InvokeMethod, ListDevices};
    use crate::ids::{DeviceId, IdentityId};
    use crate::testing::{admit, hub, identity_grant, policy_grant};

    #[test]
    fn a_policy_without_the_right_is_refused_with_401_and_journalled() {
        let (hub, _) = hub();
        let grant = policy_grant(&hub, "registryRead");
        let refused = admit::<CreateDevice>(&hub, &grant, DeviceId::parse("d").unwrap()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::IotHubUnauthorizedAccess);
        let entry = &hub.journal().recent(1, None)[0];
        assert_eq!(entry.operation, "CreateDevice");
        assert_eq!(entry.outcome, Outcome::Refused(ErrorCode::IotHubUnauthorizedAccess));
    }

    #[test]
    fn registry_write_implies_no_service_connect() {
        let (hub, _) = hub();
        let grant = policy_grant(&hub, "registryReadWrite");
        assert!(admit::<CreateDevice>(&hub, &grant, DeviceId::parse("d").unwrap()).is_ok());
        assert!(admit::<GetTwin>(&hub, &grant, IdentityId::parse("d", None).unwrap()).is_err());
    }

    #[test]
    fn a_module_may_call_methods_of_its_device_and_its_siblings_and_a_device_may_not() {
        let (hub, _) = hub();
        let identity = |device, module| IdentityId::parse(device, module).unwrap();
        let invoke = |by: &IdentityId, on: IdentityId| {
            admit::<InvokeMethod>(&hub, &identity_grant(by, None), on).map(drop)
        };
        let module = identity("d", Some("m"));
        for on in [identity("d", None), identity("d", Some("other")), module.clone()] {
            assert!(invoke(&module, on).is_ok());
        }
        assert!(invoke(&module, identity("e", None)).is_err());
        assert!(invoke(&module, identity("e", Some("m"))).is_err());
        assert!(invoke(&identity("d", None), identity("d", None)).is_err());
        assert!(invoke(&identity("d", None), identity("d", Some("m"))).is_err());
        assert!(admit::<GetTwin>(&hub, &identity_grant(&module, None), identity("d", None)).is_err());
    }

    #[test]
    fn device_connect_does_not_invoke_methods_and_service_connect_does() {
        let (hub, _) = hub();
        let device = IdentityId::parse("d", None).unwrap();
        let invoke = |policy| admit::<InvokeMethod>(&hub, &policy_grant(&hub, policy), device.clone());
        assert_eq!(invoke("device").unwrap_err().code(), ErrorCode::IotHubUnauthorizedAccess);
        assert!(invoke("service").is_ok());
    }

    #[test]
    fn a_token_for_one_device_cannot_list_all() {
        let (hub, _) = hub();
        let mut grant = (*policy_grant(&hub, "iothubowner")).clone();
        assert!(admit::<ListDevices>(&hub, &Arc::new(grant.clone()), ()).is_ok());
        grant.scope = crate::access::Scope::Identity(IdentityId::parse("d", None).unwrap());
        assert!(admit::<ListDevices>(&hub, &Arc::new(grant), ()).is_err());
    }

    #[test]
    fn an_operation_admitted_but_never_done_is_journalled_as_abandoned() {
        let (hub, _) = hub();
        drop(admit::<ListDevices>(&hub, &policy_grant(&hub, "iothubowner"), ()).unwrap());
        assert_eq!(hub.journal().recent(1, None)[0].outcome, Outcome::Abandoned);
    }
}
