//! What is proven with the keys of shared access policies: tokens signed with them, and the keys themselves
//! (contract/rest.md 5.1, contract/eventhubs.md 2).

use std::sync::Arc;

use hub::Hub;
use hub::access::{
    CredentialKind, Grant, Permissions, Scope, SharedAccessPolicy, Subject, SymmetricKey, SymmetricKeys,
};
use hub::error::HubError;
use hub::gate::Details;
use hub::ids::IdentityId;
use hub::time::Timestamp;
use subtle::ConstantTimeEq as _;

use super::refusal::{Refusal, check_enabled, check_expiry, named, unauthorized};
use super::{Authenticator, reading_covering};
use crate::resource::{Reach, Reading};
use crate::sas_token::SasToken;

impl Authenticator {
    /// A token signed with the key of a shared access policy.
    pub(super) fn policy_token(
        &self,
        token: &SasToken,
        readings: &[&Reading],
        claimed: Option<&IdentityId>,
        at: Timestamp,
    ) -> Result<Grant, Refusal> {
        let name = token.policy().map_or("", |name| name.as_str());
        let policy = self.policy_named(name).map_err(|reason| unauthorized(claimed, reason))?;
        if !token.is_signed_by_policy(&policy.keys) {
            let reason = format!(
                "the token of policy '{name}' was signed with neither of its keys; `iothub-emulator \
                 connection-string --policy {name}` prints the right one"
            );
            return Err(unauthorized(claimed, reason));
        }
        check_expiry(token, &format_args!("policy '{name}'"), claimed, at)?;
        let scope = match claimed {
            Some(identity) => {
                if !policy.permissions.contains(Permissions::DEVICE_CONNECT) {
                    let reason = format!(
                        "policy '{name}' may not connect as {}: it lacks DeviceConnect",
                        named(identity)
                    );
                    return Err(unauthorized(claimed, reason));
                }
                let found = self.authentication(identity)?;
                check_enabled(identity, &found)?;
                scope_within(identity, &reading_covering(identity, readings, token)?.reach)
            }
            None => {
                let mut scopes = readings.iter().filter_map(|reading| scope_named(&reading.reach, &self.hub));
                scopes.next().ok_or_else(|| {
                    let reason =
                        format!("'{}' is no part of a hub a policy token can be for", token.resource());
                    unauthorized(None, reason)
                })?
            }
        };
        Ok(Grant {
            subject: Subject::Policy(policy.name.clone()),
            scope,
            permissions: policy.permissions,
            expires_at: Some(token.expires_at()),
            credential: CredentialKind::SasPolicy,
            revision: None,
        })
    }

    /// Turns the key of a policy, shown as it is, into what it allows: Event Hubs clients without CBS log in with it
    /// (contract/eventhubs.md 2).
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess`.
    pub fn authenticate_policy_key(
        &self,
        policy: &str,
        key: &str,
        details: Details,
    ) -> Result<Arc<Grant>, HubError> {
        let judged = self.policy_named(policy).and_then(|found| {
            if !is_one_of(key, &found.keys) {
                return Err(format!("the password is neither a SAS token nor a key of policy '{policy}'"));
            }
            Ok(Grant {
                subject: Subject::Policy(found.name.clone()),
                scope: Scope::Hub,
                permissions: found.permissions,
                expires_at: None,
                credential: CredentialKind::PolicyKey,
                revision: None,
            })
        });
        judged
            .map(Arc::new)
            .map_err(|reason| self.refuse(unauthorized(None, reason), details, self.hub.clock().now()))
    }

    /// The error is the reason for the log.
    fn policy_named(&self, name: &str) -> Result<&SharedAccessPolicy, String> {
        let policies = self.hub.policies();
        policies.iter().find(|policy| policy.name.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
            format!("there is no shared access policy '{name}'; there are {}", known.join(", "))
        })
    }
}

/// What a policy's token reaches, `identity` being known to lie within it.
fn scope_within(identity: &IdentityId, reach: &Reach) -> Scope {
    match reach {
        Reach::Hub => Scope::Hub,
        Reach::Module(..) => Scope::Identity(identity.clone()),
        Reach::Bare(_) | Reach::Device(_) | Reach::Elsewhere(_) => {
            Scope::Identity(IdentityId::device(identity.device.clone()))
        }
    }
}

fn scope_named(reach: &Reach, hub: &Hub) -> Option<Scope> {
    match reach {
        Reach::Hub => Some(Scope::Hub),
        Reach::Device(_) | Reach::Module(..) => reach.identity().map(Scope::Identity),
        Reach::Bare(_) | Reach::Elsewhere(_) => reach.events(hub.name()).map(Scope::Events),
    }
}

/// Takes the same time whatever the answer.
fn is_one_of(key: &str, keys: &SymmetricKeys) -> bool {
    let equals = |of: &SymmetricKey| of.to_base64().as_bytes().ct_eq(key.as_bytes());
    (equals(&keys.primary) | equals(&keys.secondary)).into()
}
