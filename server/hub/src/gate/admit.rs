//! Admission: may this grant do this, in this tier, now. The token it yields is the only way into a core operation.

use std::fmt;
use std::sync::Arc;

use crate::HubConfig;
use crate::access::{Grant, Subject};
use crate::error::{ErrorCode, HubError};
use crate::gate::journal::{Journal, JournalEntry, Outcome};
use crate::gate::operations::{Neighbour, Operation, Target};
use crate::gate::quota::{self, DailyQuota};
use crate::gate::throttle::{Throttle, Throttles};
use crate::gate::tier::Tier;
use crate::ids::ConnectionId;
use crate::limits;
use crate::time::{Clock, Deadlines, Timestamp};

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

/// Checks requests against the table of operations.
#[derive(Debug)]
pub struct Gate {
    clock: Arc<dyn Clock>,
    journal: Arc<Journal>,
    tier: Tier,
    /// None unless switched on, as the quota.
    throttles: Option<Throttles>,
    quota: Option<DailyQuota>,
}

impl Gate {
    pub(crate) fn new(
        config: &HubConfig,
        clock: Arc<dyn Clock>,
        journal: Arc<Journal>,
        deadlines: &Arc<Deadlines>,
    ) -> Self {
        let throttles = config.throttles.clone().map(|rates| Throttles::new(rates, Arc::clone(deadlines)));
        let quota = config.messages_per_day.map(|messages| DailyQuota::new(messages, config.tier));
        Self { clock, journal, tier: config.tier, throttles, quota }
    }

    /// Admits an operation. Waits only for a throttle, at most [`limits::THROTTLE_WAIT`] of hub time. Cancel-safe: an
    /// operation that is given up while it waits takes nothing from the rate.
    ///
    /// # Errors
    /// All logged and journalled here. `IotHubUnauthorizedAccess` when the grant lacks the right or does not reach the
    /// target (contract/rest.md 4.3); expiry is the authenticator's and, for a live session, its deadline's.
    /// `OperationNotAvailableInCurrentTier`, `IotHubQuotaExceeded`, `ThrottlingException` (contract/rest.md 7).
    /// `ServiceUnavailable` when the hub stops while the operation waits.
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
        let checked = authorize::<O>(grant, &admitted.target)
            .and_then(|()| self.in_tier::<O>(&admitted.target))
            .and_then(|()| self.within_quota::<O>(at));
        let turn = match (checked, &self.throttles, O::THROTTLE) {
            (Ok(()), Some(throttles), Some(throttle)) => throttles.turn(throttle, &*self.clock).await,
            (Ok(()), _, _) => Ok(at),
            (Err(error), _, _) => Err(error),
        };
        match turn {
            Ok(at) => {
                admitted.at = at;
                Ok(admitted)
            }
            Err(error) => {
                admitted.outcome = Some(Outcome::Refused(error.code()));
                log_refusal::<O>(&error);
                Err(error)
            }
        }
    }

    /// Counts a payload of an operation that succeeded, if anybody counts: against the day's messages, and what of it goes beyond the
    /// first 4 KB against a throttle that counts bytes. Requests and answers count alike.
    pub(crate) fn meter<O: Operation>(&self, by: &Admitted<O>, bytes: impl Fn() -> usize) {
        if !O::IS_METERED {
            return;
        }
        if let Some(quota) = &self.quota {
            quota.count(bytes(), by.at);
        }
        if let (Some(throttles), Some(throttle @ Throttle::DirectMethods)) = (&self.throttles, O::THROTTLE) {
            throttles.charge(throttle, quota::chunks(bytes(), limits::METERED_BYTES) - 1, by.at);
        }
    }

    /// What was bought.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// Whether the hub has what only the standard tier has, where no operation says so: what a head offers long
    /// before it is used, and what only the contents of a request ask for.
    ///
    /// # Errors
    /// `OperationNotAvailableInCurrentTier`, logged here.
    pub fn standard(&self, feature: &str) -> Result<(), HubError> {
        if self.tier.includes(Tier::Standard) {
            return Ok(());
        }
        let refused = not_in_tier(self.tier, feature);
        tracing::warn!(code = refused.code().number(), "refused: {}", refused.reason());
        Err(refused)
    }

    /// Runs a `ThrottleTurn` row.
    pub(crate) fn turn_due(&self, ticket: u64) {
        if let Some(throttles) = &self.throttles {
            throttles.turn_due(ticket);
        }
    }

    /// Nobody waits any more: the hub stops.
    pub(crate) fn close(&self) {
        if let Some(throttles) = &self.throttles {
            throttles.close();
        }
    }

    /// Modules are a feature of the standard tier, whatever is done to them.
    fn in_tier<O: Operation>(&self, target: &O::Target) -> Result<(), HubError> {
        // The one tier that lacks anything: the others never look at the target.
        if self.tier.includes(Tier::Standard) {
            return Ok(());
        }
        let concerns_module = match target.clone().into() {
            Target::Events(_) | Target::Hub => false,
            Target::Identity(identity) => identity.is_module(),
        };
        if self.tier.includes(O::LOWEST_TIER) && !concerns_module {
            return Ok(());
        }
        Err(not_in_tier(self.tier, if concerns_module { "A module identity" } else { O::NAME }))
    }

    fn within_quota<O: Operation>(&self, at: Timestamp) -> Result<(), HubError> {
        match &self.quota {
            Some(quota) if O::IS_METERED => quota.check(at),
            _ => Ok(()),
        }
    }
}

/// What the basic tier says to what it lacks.
fn not_in_tier(tier: Tier, feature: &str) -> HubError {
    HubError::new(
        ErrorCode::OperationNotAvailableInCurrentTier,
        format!("{feature} is not available in the {} tier of IoT Hub.", tier.as_str()),
    )
    .with_reason(format!(
        "{feature} needs the standard tier, but the hub runs with --tier {}; use --tier standard or free",
        tier.as_str()
    ))
}

fn log_refusal<O: Operation>(error: &HubError) {
    tracing::warn!(op = O::NAME, code = error.code().number(), "refused: {}", error.reason());
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
    if let Target::Identity(identity) = &target {
        let is_neighbour = match O::OPEN_TO {
            Some(Neighbour::Host) => grant.is_of_device(&identity.device),
            Some(Neighbour::Sibling) => grant.is_of_module_on(&identity.device),
            None => false,
        };
        if is_neighbour {
            return Ok(());
        }
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
        Target::Events(path) if grant.covers_events(&path) => Ok(()),
        Target::Events(path) => {
            refuse(format!("the credential of {} does not reach the event hub's '{path}'", grant.subject))
        }
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

    /// As [`Self::conclude`] for an operation with failures of its own: `failure` says what the journal notes.
    pub(crate) fn conclude_with<T>(mut self, result: T, failure: impl FnOnce(&T) -> Option<ErrorCode>) -> T {
        self.outcome = Some(failure(&result).map_or(Outcome::Succeeded, Outcome::Failed));
        result
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
mod tests;
