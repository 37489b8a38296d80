//! The one authentication path: every head hands in what a client presented and gets a [`Grant`] or a refusal
//! (contract/rest.md 5.1, contract/mqtt.md 2.4 and 2.5, contract/amqp.md 2).
//!
//! A refusal is logged here, once, with the reason in plain words and a hint, and is entered in the journal. The
//! client reads less than the log does.

mod policy;
mod refusal;

use std::sync::Arc;

use hub::Hub;
use hub::access::{CredentialKind, Grant, Permissions, Scope, Subject};
use hub::error::{ErrorCode, HubError};
use hub::gate::{Details, JournalEntry, Outcome, Target};
use hub::identity::{Authentication, AuthenticationMechanism, Thumbprints};
use hub::ids::IdentityId;
use hub::time::Timestamp;

use self::refusal::{
    Refusal, check_enabled, check_expiry, mechanism_in_words, named, printable, unauthorized,
};
use crate::authorities::CertificateAuthorities;
use crate::certificate::{CertificateFacts, PeerCertificates};
use crate::chain;
use crate::recent_tokens::RecentTokens;
use crate::resource::{HostName, Reading};
use crate::sas_token::SasToken;

/// What a client shows to prove who it is.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// The certificate of its TLS connection.
    Certificate(&'a PeerCertificates),
    /// A shared access signature.
    Token(&'a SasToken),
}

/// A credential and how it was presented.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The credential.
    pub credential: Credential<'a>,
    /// The identity the connection claims; `None` where only the credential names one (service calls, CBS).
    pub identity: Option<&'a IdentityId>,
    /// The name the client itself gives the hub: host of the MQTT username, AMQP open hostname, Host header.
    pub host: Option<&'a str>,
    /// For the journal.
    pub details: Details,
}

/// Judges credentials against the hub's identities, policies and certificate authorities.
#[derive(Debug)]
pub struct Authenticator {
    hub: Arc<Hub>,
    hosts: Vec<HostName>,
    authorities: Arc<CertificateAuthorities>,
    recent: RecentTokens,
}

impl Authenticator {
    /// `host_names` are the names the hub was configured with; the loopback's are always accepted besides.
    pub fn new(hub: Arc<Hub>, host_names: Vec<String>, authorities: Arc<CertificateAuthorities>) -> Self {
        let names = host_names.into_iter().chain(LOOPBACK_NAMES.map(String::from));
        let hosts = names.map(|name| HostName::parse(&name)).collect();
        Self { hub, hosts, authorities, recent: RecentTokens::default() }
    }

    /// Turns a proven credential into what it allows.
    ///
    /// # Errors
    /// `IotHubUnauthorizedAccess`; `DeviceNotFound` or `ModuleNotFound` for an unknown identity, which AMQP tells
    /// the client (contract/amqp.md 2) and HTTPS does not (contract/rest.md 4.3).
    pub fn authenticate(&self, presented: &Presented<'_>) -> Result<Arc<Grant>, HubError> {
        let at = self.hub.clock().now();
        let judged = match presented.credential {
            Credential::Token(token) => self.token(token, presented, at),
            Credential::Certificate(peer) => self.certificate(peer, presented.identity, at),
        };
        judged.map(Arc::new).map_err(|refusal| self.refuse(refusal, presented.details, at))
    }

    /// The same for a token still in its text form, so that a malformed one is logged and journalled too.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub fn authenticate_token_text(
        &self,
        text: &str,
        identity: Option<&IdentityId>,
        host: Option<&str>,
        details: Details,
    ) -> Result<Arc<Grant>, HubError> {
        let present = |token: &SasToken| {
            self.authenticate(&Presented { credential: Credential::Token(token), identity, host, details })
        };
        if let Some(token) = self.recent.get(text) {
            return present(&token);
        }
        let token = Arc::new(SasToken::parse(text).map_err(|error| {
            let refusal = Refusal { error, identity: identity.cloned() };
            self.refuse(refusal, details, self.hub.clock().now())
        })?);
        let grant = present(&token)?;
        self.recent.keep(text, token);
        Ok(grant)
    }

    /// The refusal of a client that showed no credential at all, logged and journalled like any other; `message` is
    /// what the client reads.
    pub fn refuse_without_credential(
        &self,
        identity: Option<&IdentityId>,
        message: &str,
        details: Details,
    ) -> HubError {
        let error = HubError::new(ErrorCode::IotHubUnauthorizedAccess, message).with_reason(
            "neither a SAS token nor a client certificate was presented; sign the request or connect with one",
        );
        self.refuse(Refusal { error, identity: identity.cloned() }, details, self.hub.clock().now())
    }

    fn token(&self, token: &SasToken, presented: &Presented<'_>, at: Timestamp) -> Result<Grant, Refusal> {
        let readings = self.readings_for_us(token, presented)?;
        match token.policy() {
            Some(_) => self.policy_token(token, &readings, presented.identity, at),
            None => self.identity_token(token, &readings, presented.identity, at),
        }
    }

    /// The readings of the token's resource that name this hub (contract/rest.md 5.1, emulator rule for hosts).
    fn readings_for_us<'t>(
        &self,
        token: &'t SasToken,
        presented: &Presented<'_>,
    ) -> Result<Vec<&'t Reading>, Refusal> {
        let claimed = presented.host.map(HostName::parse);
        let is_us = |host: &HostName| self.hosts.contains(host) || claimed.as_ref() == Some(host);
        let readings: Vec<_> =
            token.resource().readings().iter().filter(|reading| is_us(&reading.host)).collect();
        if readings.is_empty() {
            let reason = format!(
                "the token is for '{}', a host that is not this hub; use a HostName the hub was started with \
                 (--host-name)",
                token.resource()
            );
            return Err(unauthorized(presented.identity, reason));
        }
        Ok(readings)
    }

    /// A token signed with the key of a device or module.
    fn identity_token(
        &self,
        token: &SasToken,
        readings: &[&Reading],
        claimed: Option<&IdentityId>,
        at: Timestamp,
    ) -> Result<Grant, Refusal> {
        let identity = match claimed {
            Some(claimed) => {
                reading_covering(claimed, readings, token)?;
                claimed.clone()
            }
            None => self.identity_named(readings, token)?,
        };
        let found = self.authentication(&identity)?;
        let AuthenticationMechanism::Sas(keys) = &found.mechanism else {
            let reason = format!(
                "{} presented a SAS token but is registered for {}",
                named(&identity),
                mechanism_in_words(&found.mechanism)
            );
            return Err(unauthorized(Some(&identity), reason));
        };
        if !token.is_signed_by(keys) {
            let reason = format!(
                "the token of {} was signed with neither its primary nor its secondary key; compare the \
                 SharedAccessKey of its connection string with the registry",
                named(&identity)
            );
            return Err(unauthorized(Some(&identity), reason));
        }
        check_expiry(token, &identity, Some(&identity), at)?;
        check_enabled(&identity, &found)?;
        let credential = match identity.module {
            Some(_) => CredentialKind::SasModuleKey,
            None => CredentialKind::SasDeviceKey,
        };
        Ok(grant(identity, Some(token.expires_at()), credential, &found.mechanism))
    }

    /// The identity a token is for where the connection names none: the first reading that exists.
    fn identity_named(&self, readings: &[&Reading], token: &SasToken) -> Result<IdentityId, Refusal> {
        let mut named = readings.iter().filter_map(|reading| reading.reach.identity()).peekable();
        let first = named.peek().cloned().ok_or_else(|| {
            let reason = format!(
                "the token for '{}' names no policy (skn), and no device either that could have signed it",
                token.resource()
            );
            unauthorized(None, reason)
        })?;
        Ok(named.find(|identity| self.hub.authentication(identity).is_ok()).unwrap_or(first))
    }

    /// A client certificate; the connection says for which identity (contract/mqtt.md 2.5).
    fn certificate(
        &self,
        peer: &PeerCertificates,
        claimed: Option<&IdentityId>,
        at: Timestamp,
    ) -> Result<Grant, Refusal> {
        let Some(identity) = claimed else {
            let reason =
                "a certificate was presented where no device or module is named; services use SAS tokens";
            return Err(unauthorized(None, reason.into()));
        };
        let refuse = |reason: String| Err(unauthorized(Some(identity), reason));
        let found = self.authentication(identity)?;
        let facts = match CertificateFacts::of(peer.leaf()) {
            Ok(facts) => facts,
            Err(error) => return refuse(format!("the certificate of {}: {error}", named(identity))),
        };
        if at < facts.not_before || facts.not_after < at {
            return refuse(format!(
                "the certificate of {} is good from {} to {} only",
                named(identity),
                facts.not_before,
                facts.not_after
            ));
        }
        let credential = match &found.mechanism {
            AuthenticationMechanism::SelfSigned(thumbprints) if matches(&facts, thumbprints) => {
                CredentialKind::X509SelfSigned
            }
            AuthenticationMechanism::SelfSigned(_) => {
                return refuse(format!(
                    "the certificate of {} has the thumbprints {} (SHA-1) and {} (SHA-256); neither is registered",
                    named(identity),
                    facts.sha1,
                    facts.sha256
                ));
            }
            AuthenticationMechanism::CertificateAuthority => {
                self.authority_signed(peer, &facts, identity, at)?;
                CredentialKind::X509CertificateAuthority
            }
            other @ (AuthenticationMechanism::None | AuthenticationMechanism::Sas(_)) => {
                return refuse(format!(
                    "{} presented a certificate but is registered for {}",
                    named(identity),
                    mechanism_in_words(other)
                ));
            }
        };
        check_enabled(identity, &found)?;
        Ok(grant(identity.clone(), None, credential, &found.mechanism))
    }

    fn authority_signed(
        &self,
        peer: &PeerCertificates,
        facts: &CertificateFacts,
        identity: &IdentityId,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        let refuse = |reason: String| Err(unauthorized(Some(identity), reason));
        let Some(name) = &facts.common_name else {
            return refuse(format!(
                "the certificate of {} has no single CN: its subject is '{}'",
                named(identity),
                facts.subject
            ));
        };
        if *name != identity.to_string() {
            return refuse(format!("certificate CN '{name}' does not match {}", named(identity)));
        }
        let authorities = self.authorities.verified();
        match chain::leads_to(peer, authorities.iter().map(|der| &**der), at) {
            Ok(()) => Ok(()),
            Err(error) => refuse(format!(
                "the certificate of {} is not trusted: {error}; register the authority under \
                 /admin/certificates, or send the intermediates along",
                named(identity)
            )),
        }
    }

    fn authentication(&self, identity: &IdentityId) -> Result<Authentication, Refusal> {
        self.hub.authentication(identity).map_err(|error| {
            let reason =
                format!("{} is not registered; create it first, ids are case-sensitive", named(identity));
            Refusal { error: error.with_reason(reason), identity: Some(identity.clone()) }
        })
    }

    /// Ends a refusal: one line in the log, one row in the journal.
    fn refuse(&self, refusal: Refusal, details: Details, at: Timestamp) -> HubError {
        let Refusal { error, identity } = refusal;
        let reason = printable(error.reason());
        tracing::warn!(
            op = OPERATION,
            conn = details.connection.map(|connection| connection.0),
            device = identity.as_ref().map(|identity| identity.device.as_str()),
            module =
                identity.as_ref().and_then(|identity| identity.module.as_ref()).map(|module| module.as_str()),
            protocol = details.protocol.0,
            code = error.code().number(),
            "refused: {reason}"
        );
        self.hub.journal().record(JournalEntry {
            at,
            operation: OPERATION,
            target: identity.map_or(Target::Hub, Target::Identity),
            subject: None,
            credential: None,
            protocol: details.protocol,
            connection: details.connection,
            outcome: Outcome::Refused(error.code()),
        });
        error
    }
}

fn reading_covering<'t>(
    identity: &IdentityId,
    readings: &[&'t Reading],
    token: &SasToken,
) -> Result<&'t Reading, Refusal> {
    readings.iter().copied().find(|reading| reading.reach.covers(identity)).ok_or_else(|| {
        unauthorized(
            Some(identity),
            format!("the token is for '{}', not for {}", token.resource(), named(identity)),
        )
    })
}

fn grant(
    identity: IdentityId,
    expires_at: Option<Timestamp>,
    credential: CredentialKind,
    registered: &AuthenticationMechanism,
) -> Grant {
    Grant {
        subject: Subject::Identity(identity.clone()),
        scope: Scope::Identity(identity),
        permissions: Permissions::DEVICE_CONNECT,
        expires_at,
        credential,
        revision: Some(registered.revision()),
    }
}

fn matches(facts: &CertificateFacts, thumbprints: &Thumbprints) -> bool {
    let registered = [&thumbprints.primary, &thumbprints.secondary];
    registered.into_iter().flatten().any(|thumbprint| facts.has_thumbprint(thumbprint.as_str()))
}

/// Names of this machine that every hub answers to. contract/rest.md 5.1.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// What the journal calls a refused credential.
const OPERATION: &str = "Authenticate";

#[cfg(test)]
mod tests;
