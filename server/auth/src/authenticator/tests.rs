//! Each credential a client can come with, beside the one that must be refused; reasons as the log shows them.

mod event_hubs;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hub::HubConfig;
use hub::access::{PolicyName, SymmetricKey, development_policies};
use hub::entropy::Entropy;
use hub::gate::operations::{CreateDevice, CreateModule, DeleteDevice};
use hub::gate::{Admitted, Operation, ProtocolLabel};
use hub::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec, DeviceStatus, ModuleSpec};
use hub::ids::{ConnectionId, HubName, IfMatch};
use hub::time::ManualClock;

use super::*;
use crate::certificate::samples;

const DEVICE_KEY: [u8; 32] = [1; 32];
const MODULE_KEY: [u8; 32] = [2; 32];
const SECONDARY_KEY: [u8; 32] = [3; 32];
const DETAILS: Details = Details { protocol: ProtocolLabel("mqtt"), connection: Some(ConnectionId(7)) };

struct Bench {
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
    authorities: Arc<CertificateAuthorities>,
    authenticator: Authenticator,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2030-01-01T00:00:00Z").unwrap()));
        let config = HubConfig::new(HubName::parse("test").unwrap(), development_policies(), 4);
        let hub = Hub::new(config, Arc::clone(&clock) as _, Entropy::seeded(1));
        let authorities = Arc::new(CertificateAuthorities::new(Arc::clone(&clock) as _, Entropy::seeded(2)));
        let names = vec!["myhub.example".to_owned()];
        let authenticator = Authenticator::new(Arc::clone(&hub), names, Arc::clone(&authorities));
        Self { hub, clock, authorities, authenticator }
    }

    /// `d1` with keys, its modules `m1` with keys, and `disabled` with its module `m`.
    fn with_sas_identities() -> Self {
        let bench = Self::new();
        bench.device("d1", sas(DEVICE_KEY), DeviceStatus::Enabled);
        bench.module("d1", "m1", sas(MODULE_KEY));
        bench.device("disabled", sas(DEVICE_KEY), DeviceStatus::Disabled);
        bench.module("disabled", "m", sas(MODULE_KEY));
        bench
    }

    fn device(&self, id: &str, authentication: AuthenticationSpec, status: DeviceStatus) {
        let spec = DeviceSpec {
            authentication: Some(authentication),
            status: Some(status),
            ..DeviceSpec::default()
        };
        let by = self.owner::<CreateDevice>(identity(id, None).device);
        self.hub.create_device(by, &spec).unwrap();
    }

    fn module(&self, device: &str, id: &str, authentication: AuthenticationSpec) {
        let IdentityId { device, module } = identity(device, Some(id));
        let spec = ModuleSpec { authentication: Some(authentication), ..ModuleSpec::default() };
        self.hub.create_module(self.owner::<CreateModule>((device, module.unwrap())), &spec).unwrap();
    }

    fn owner<O: Operation>(&self, target: O::Target) -> Admitted<O> {
        let grant = self.token(&self.policy_token("iothubowner", "localhost"), None, None).unwrap();
        let mut admission = pin!(self.hub.gate().admit::<O>(&grant, target, DETAILS));
        match admission.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(admitted) => admitted.unwrap(),
            Poll::Pending => panic!("admission waits"),
        }
    }

    fn in_an_hour(&self) -> Timestamp {
        self.hub.clock().now().plus(Duration::from_secs(3600))
    }

    fn signed(&self, resource: &str, key: [u8; 32]) -> String {
        SasToken::sign(resource, &symmetric(key), self.in_an_hour(), None)
    }

    fn policy_token(&self, policy: &str, resource: &str) -> String {
        let found = self.hub.policies().iter().find(|found| found.name.as_str() == policy).unwrap();
        SasToken::sign(resource, &found.keys.primary, self.in_an_hour(), Some(&found.name))
    }

    fn token(
        &self,
        text: &str,
        claimed: Option<&IdentityId>,
        host: Option<&str>,
    ) -> Result<Arc<Grant>, HubError> {
        self.authenticator.authenticate_token_text(text, claimed, host, DETAILS)
    }

    fn certificate(&self, chain: &[&str], claimed: Option<&IdentityId>) -> Result<Arc<Grant>, HubError> {
        let peer = PeerCertificates::new(chain.iter().map(|name| samples::der(name)).collect());
        self.authenticator.authenticate(&Presented {
            credential: Credential::Certificate(&peer),
            identity: claimed,
            host: Some("localhost"),
            details: DETAILS,
        })
    }
}

fn identity(device: &str, module: Option<&str>) -> IdentityId {
    IdentityId::parse(device, module).unwrap()
}

fn symmetric(key: [u8; 32]) -> SymmetricKey {
    SymmetricKey::from_base64(&base64(key)).unwrap()
}

fn base64(key: [u8; 32]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(key)
}

fn sas(primary: [u8; 32]) -> AuthenticationSpec {
    AuthenticationSpec {
        primary_key: Some(base64(primary)),
        secondary_key: Some(base64(SECONDARY_KEY)),
        ..AuthenticationSpec::default()
    }
}

fn thumbprints(primary: &str, secondary: &str) -> AuthenticationSpec {
    AuthenticationSpec {
        kind: Some(AuthenticationType::SelfSigned),
        primary_thumbprint: Some(primary.into()),
        secondary_thumbprint: Some(secondary.into()),
        ..AuthenticationSpec::default()
    }
}

fn authority_signed() -> AuthenticationSpec {
    AuthenticationSpec {
        kind: Some(AuthenticationType::CertificateAuthority),
        ..AuthenticationSpec::default()
    }
}

#[track_caller]
fn refused(result: Result<Arc<Grant>, HubError>, words: &str) -> HubError {
    let error = result.unwrap_err();
    assert!(error.reason().contains(words), "{}", error.reason());
    error
}

#[test]
fn a_device_token_is_good_for_its_device_until_it_expires_and_not_from_then_on() {
    let bench = Bench::with_sas_identities();
    let d1 = identity("d1", None);
    let text = bench.signed("localhost/devices/d1", DEVICE_KEY);
    let granted = bench.token(&text, Some(&d1), None).unwrap();
    let expected = Grant {
        subject: Subject::Identity(d1.clone()),
        scope: Scope::Identity(d1.clone()),
        permissions: Permissions::DEVICE_CONNECT,
        expires_at: Some(bench.in_an_hour()),
        credential: CredentialKind::SasDeviceKey,
        revision: Some(bench.hub.authentication(&d1).unwrap().mechanism.revision()),
    };
    assert_eq!(*granted, expected);
    bench.clock.advance(Duration::from_secs(3599));
    assert!(bench.token(&text, Some(&d1), None).is_ok());
    bench.clock.advance(Duration::from_secs(1));
    refused(bench.token(&text, Some(&d1), None), "token for d1 expired 0 s ago");
    bench.clock.advance(Duration::from_secs(12));
    refused(bench.token(&text, Some(&d1), None), "token for d1 expired 12 s ago");
}

#[test]
fn either_key_signs_and_no_other() {
    let bench = Bench::with_sas_identities();
    let d1 = identity("d1", None);
    for (key, is_good) in [(DEVICE_KEY, true), (SECONDARY_KEY, true), (MODULE_KEY, false)] {
        let result = bench.token(&bench.signed("localhost/devices/d1", key), Some(&d1), None);
        assert_eq!(result.is_ok(), is_good, "{key:?}");
    }
    refused(
        bench.token(&bench.signed("localhost/devices/d1", MODULE_KEY), Some(&d1), None),
        "neither its primary nor its secondary key",
    );
}

#[test]
fn a_token_that_was_good_is_judged_anew_each_time() {
    let bench = Bench::with_sas_identities();
    let (d1, m1) = (identity("d1", None), identity("d1", Some("m1")));
    let text = bench.signed("localhost/devices/d1", DEVICE_KEY);
    assert!(bench.token(&text, Some(&d1), None).is_ok());
    refused(bench.token(&text, Some(&m1), None), "neither its primary nor its secondary key");
    refused(bench.token(&text, Some(&identity("d2", None)), None), "not for device 'd2'");
    let as_device = |key, status| {
        let by = bench.owner::<DeleteDevice>(d1.device.clone());
        bench.hub.delete_device(by, &IfMatch::Any).unwrap();
        bench.device("d1", sas(key), status);
    };
    as_device(MODULE_KEY, DeviceStatus::Enabled);
    refused(bench.token(&text, Some(&d1), None), "neither its primary nor its secondary key");
    as_device(DEVICE_KEY, DeviceStatus::Disabled);
    refused(bench.token(&text, Some(&d1), None), "is disabled");
    as_device(DEVICE_KEY, DeviceStatus::Enabled);
    assert!(bench.token(&text, Some(&d1), None).is_ok());
}

#[test]
fn one_letter_of_a_good_token_changed_makes_it_bad() {
    let bench = Bench::with_sas_identities();
    let text = bench.signed("localhost/devices/d1", DEVICE_KEY);
    assert!(bench.token(&text, None, None).is_ok());
    let later = text.replace("&se=18", "&se=19");
    assert_ne!(later, text);
    refused(bench.token(&later, None, None), "neither its primary nor its secondary key");
}

#[test]
fn a_module_needs_its_own_key() {
    let bench = Bench::with_sas_identities();
    let module = identity("d1", Some("m1"));
    for resource in ["localhost/devices/d1/modules/m1", "localhost/devices/d1"] {
        let granted = bench.token(&bench.signed(resource, MODULE_KEY), Some(&module), None).unwrap();
        assert_eq!(granted.scope, Scope::Identity(module.clone()));
        assert_eq!(granted.credential, CredentialKind::SasModuleKey);
        refused(bench.token(&bench.signed(resource, DEVICE_KEY), Some(&module), None), "neither");
    }
    let module_token = bench.signed("localhost/devices/d1/modules/m1", MODULE_KEY);
    refused(bench.token(&module_token, Some(&identity("d1", None)), None), "not for device 'd1'");
}

#[test]
fn a_token_without_a_claimed_identity_says_itself_for_whom_it_is() {
    let bench = Bench::with_sas_identities();
    for (resource, key, device, module) in [
        ("localhost/devices/d1", DEVICE_KEY, "d1", None),
        ("localhost/devices/d1/modules/m1", MODULE_KEY, "d1", Some("m1")),
        ("localhost%2Fdevices%2Fd1%2Fmodules%2Fm1", MODULE_KEY, "d1", Some("m1")),
        ("localhost/d1", DEVICE_KEY, "d1", None),
    ] {
        let granted = bench.token(&bench.signed(resource, key), None, None).unwrap();
        assert_eq!(granted.subject, Subject::Identity(identity(device, module)), "{resource}");
    }
    refused(bench.token(&bench.signed("localhost", DEVICE_KEY), None, None), "names no policy");
}

#[test]
fn hosts_are_the_configured_the_loopback_and_the_one_the_client_names() {
    let bench = Bench::with_sas_identities();
    let d1 = identity("d1", None);
    for host in ["localhost", "127.0.0.1", "::1", "[::1]:8443", "MyHub.Example", "myhub.example:8443"] {
        let text = bench.signed(&format!("{host}/devices/d1"), DEVICE_KEY);
        assert!(bench.token(&text, Some(&d1), None).is_ok(), "{host}");
    }
    let renamed = bench.signed("other.azure-devices.net/devices/d1", DEVICE_KEY);
    assert!(bench.token(&renamed, Some(&d1), Some("other.azure-devices.net:443")).is_ok());
    refused(bench.token(&renamed, Some(&d1), Some("third.example")), "--host-name");
    refused(bench.token(&renamed, Some(&d1), None), "other.azure-devices.net");
}

#[test]
fn a_policy_token_connects_devices_only_with_device_connect_and_only_within_its_resource() {
    let bench = Bench::with_sas_identities();
    let (d1, m1) = (identity("d1", None), identity("d1", Some("m1")));
    let granted = bench.token(&bench.policy_token("device", "localhost"), Some(&m1), None).unwrap();
    assert_eq!((granted.scope.clone(), granted.credential), (Scope::Hub, CredentialKind::SasPolicy));
    for (resource, scope) in
        [("localhost/devices", Scope::Hub), ("localhost/devices/D1", Scope::Identity(d1.clone()))]
    {
        let granted = bench.token(&bench.policy_token("device", resource), Some(&m1), None).unwrap();
        assert_eq!(granted.scope, scope, "{resource}");
    }
    refused(bench.token(&bench.policy_token("service", "localhost"), Some(&d1), None), "lacks DeviceConnect");
    refused(
        bench.token(&bench.policy_token("device", "localhost/devices/d2"), Some(&d1), None),
        "not for device 'd1'",
    );
    let unknown = identity("d2", None);
    refused(bench.token(&bench.policy_token("device", "localhost"), Some(&unknown), None), "not registered");
    let disabled = identity("disabled", None);
    refused(bench.token(&bench.policy_token("device", "localhost"), Some(&disabled), None), "is disabled");
}

#[test]
fn a_service_token_has_its_policys_rights_over_what_its_resource_names() {
    let bench = Bench::with_sas_identities();
    let granted = bench.token(&bench.policy_token("registryRead", "localhost"), None, None).unwrap();
    assert_eq!(granted.permissions, Permissions::REGISTRY_READ);
    assert_eq!(granted.scope, Scope::Hub);
    let granted =
        bench.token(&bench.policy_token("iothubowner", "localhost/devices/d1"), None, None).unwrap();
    assert_eq!(granted.scope, Scope::Identity(identity("d1", None)));
    refused(
        bench.token(&bench.policy_token("iothubowner", "localhost/twins/d1"), None, None),
        "no part of a hub",
    );
}

#[test]
fn an_unknown_policy_or_a_foreign_key_under_a_known_one_is_refused() {
    let bench = Bench::new();
    let sign = |policy: &str| {
        let name = PolicyName::parse(policy).unwrap();
        SasToken::sign("localhost", &symmetric(DEVICE_KEY), bench.in_an_hour(), Some(&name))
    };
    refused(
        bench.token(&sign("nobody"), None, None),
        "no shared access policy 'nobody'; there are iothubowner,",
    );
    refused(bench.token(&sign("service"), None, None), "neither of its keys");
}

#[test]
fn a_disabled_device_is_refused_and_locks_its_modules_out() {
    let bench = Bench::with_sas_identities();
    let device = bench.signed("localhost/devices/disabled", DEVICE_KEY);
    refused(bench.token(&device, Some(&identity("disabled", None)), None), "device 'disabled' is disabled");
    let module = bench.signed("localhost/devices/disabled/modules/m", MODULE_KEY);
    refused(
        bench.token(&module, Some(&identity("disabled", Some("m"))), None),
        "module 'disabled/m' is locked out because device 'disabled' is disabled",
    );
}

#[test]
fn an_unknown_identity_is_refused_by_its_own_code() {
    let bench = Bench::with_sas_identities();
    let text = bench.signed("localhost/devices/d1/modules/none", DEVICE_KEY);
    assert_eq!(refused(bench.token(&text, None, None), "not registered").code(), ErrorCode::ModuleNotFound);
}

#[test]
fn the_right_credential_of_the_wrong_kind_is_refused() {
    let bench = Bench::with_sas_identities();
    bench.device("by-ca", authority_signed(), DeviceStatus::Enabled);
    let by_ca = identity("by-ca", None);
    let text = bench.signed("localhost/devices/by-ca", DEVICE_KEY);
    refused(
        bench.token(&text, Some(&by_ca), None),
        "presented a SAS token but is registered for a certificate",
    );
    let d1 = identity("d1", None);
    refused(
        bench.certificate(&["self-signed"], Some(&d1)),
        "presented a certificate but is registered for SAS",
    );
}

#[test]
fn a_self_signed_certificate_logs_in_by_either_thumbprint_of_either_length() {
    for name in ["self-signed", "self-signed-rsa", "self-signed-v1"] {
        let facts = CertificateFacts::of(&samples::der(name)).unwrap();
        for (id, primary, secondary) in [
            ("sha1", facts.sha1.as_str(), ""),
            ("sha256", facts.sha256.as_str(), ""),
            ("second", &"A".repeat(40), &facts.sha256.to_lowercase()),
        ] {
            let bench = Bench::new();
            bench.device(id, thumbprints(primary, secondary), DeviceStatus::Enabled);
            let granted = bench.certificate(&[name], Some(&identity(id, None))).unwrap();
            assert_eq!(granted.credential, CredentialKind::X509SelfSigned, "{name} {id}");
            assert_eq!(granted.expires_at, None);
        }
    }
}

#[test]
fn another_certificate_or_an_expired_one_does_not_log_in_by_thumbprint() {
    let bench = Bench::new();
    let facts = CertificateFacts::of(&samples::der("self-signed")).unwrap();
    bench.device("d1", thumbprints(&facts.sha1, ""), DeviceStatus::Enabled);
    let expired = CertificateFacts::of(&samples::der("expired")).unwrap();
    bench.device("old", thumbprints(&expired.sha256, ""), DeviceStatus::Enabled);
    refused(bench.certificate(&["self-signed-rsa"], Some(&identity("d1", None))), "neither is registered");
    refused(bench.certificate(&["expired"], Some(&identity("old", None))), "2021-01-01");
}

#[test]
fn a_certificate_of_a_verified_authority_logs_in_the_identity_its_name_is() {
    let bench = Bench::new();
    for (root, leaf, device, module) in [
        ("root-p256", "v1-device", "d1", None),
        ("root-p256", "v3-module", "d1", Some("m1")),
        ("root-rsa", "v1-module-rsa", "device01", Some("module01")),
    ] {
        bench.authorities.add(root, &samples::pem(root), true).unwrap();
        let claimed = identity(device, module);
        if bench.hub.authentication(&identity(device, None)).is_err() {
            bench.device(device, authority_signed(), DeviceStatus::Enabled);
        }
        if let Some(module) = module {
            bench.module(device, module, authority_signed());
        }
        let granted = bench.certificate(&[leaf], Some(&claimed)).unwrap();
        assert_eq!(granted.subject, Subject::Identity(claimed), "{leaf}");
        assert_eq!(granted.credential, CredentialKind::X509CertificateAuthority, "{leaf}");
    }
}

#[test]
fn a_certificate_for_another_name_or_of_an_unverified_authority_is_refused() {
    let bench = Bench::new();
    bench.authorities.add("root", &samples::pem("root-p256"), false).unwrap();
    bench.device("d1", authority_signed(), DeviceStatus::Enabled);
    bench.module("d1", "m1", authority_signed());
    let (d1, m1) = (identity("d1", None), identity("d1", Some("m1")));
    refused(bench.certificate(&["v1-device"], Some(&d1)), "no registered and verified");
    bench.authorities.mark_verified("root").unwrap();
    assert!(bench.certificate(&["v1-device"], Some(&d1)).is_ok());
    refused(
        bench.certificate(&["v1-device"], Some(&m1)),
        "certificate CN 'd1' does not match module 'd1/m1'",
    );
    refused(
        bench.certificate(&["v3-module"], Some(&d1)),
        "certificate CN 'd1/m1' does not match device 'd1'",
    );
    refused(bench.certificate(&["two-cn"], Some(&d1)), "no single CN");
    refused(bench.certificate(&["expired"], Some(&d1)), "2021-01-01");
    refused(bench.certificate(&["v1-device"], None), "services use SAS");
}

#[test]
fn a_refusal_is_journalled_with_its_identity_and_a_success_is_not() {
    let bench = Bench::with_sas_identities();
    let d1 = identity("d1", None);
    bench.token(&bench.signed("localhost/devices/d1", DEVICE_KEY), Some(&d1), None).unwrap();
    let before = bench.hub.journal().recent(usize::MAX, None).len();
    refused(bench.token("nonsense", Some(&d1), None), "malformed");
    let rows = bench.hub.journal().recent(usize::MAX, None);
    assert_eq!(rows.len(), before + 1);
    assert_eq!((rows[0].operation, rows[0].connection), ("Authenticate", Some(ConnectionId(7))));
    assert_eq!(rows[0].target, Target::Identity(d1));
    assert_eq!(rows[0].outcome, Outcome::Refused(ErrorCode::IotHubUnauthorizedAccess));
}

#[test]
fn what_the_client_reads_and_what_the_log_reads_hold_no_secret() {
    let bench = Bench::with_sas_identities();
    let text = bench.signed("localhost/devices/d1", MODULE_KEY);
    let signature = text.split("sig=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let error = bench.token(&text, Some(&identity("d1", None)), None).unwrap_err();
    for text in [error.reason(), error.message()] {
        assert!(!text.contains(&signature) && !text.contains(&base64(MODULE_KEY)), "{text}");
    }
}
