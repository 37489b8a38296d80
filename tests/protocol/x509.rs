//! Certificates that are good, in every shape people make them, over every transport (contract/mqtt.md 2.5,
//! contract/amqp.md 1.1). The journal tells that it was the certificate that let them in.

use net::Io;
use rustls::SupportedProtocolVersion;
use serde_json::{Value, json};

use crate::harness::certificates::{Certificates, Pem, authority, self_signed_leaf, v3_leaf};
use crate::harness::emulator::{telemetry_address, telemetry_topic};
use crate::harness::mqtt::Login;
use crate::harness::{Amqp, Emulator, Mqtt, Port, http, tls, websocket};

/// The ways in, with the journal's name for each.
const TRANSPORTS: [&str; 4] = ["mqtt", "mqtt-ws", "amqp", "amqp-ws"];
const TLS_VERSIONS: [&[&SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

async fn io(
    emulator: &Emulator,
    transport: &str,
    pem: &Pem,
    versions: &[&'static SupportedProtocolVersion],
) -> Io {
    let port = match transport {
        "mqtt" => Port::Mqtts,
        "amqp" => Port::Amqps,
        _ => Port::Https,
    };
    let secured =
        tls::connect(emulator.address(port), &emulator.app.root_certificate, Some(pem), versions).await;
    match transport {
        "mqtt-ws" => websocket::upgrade(Io::new(secured), "mqtt").await,
        "amqp-ws" => websocket::upgrade(Io::new(secured), "AMQPWSB10").await,
        _ => Io::new(secured),
    }
}

/// Connects over every transport and both versions of TLS, sends telemetry, and looks the connection up in the
/// journal.
async fn gets_in(emulator: &Emulator, identity: &str, pem: &Pem, credential: &str) {
    for transport in TRANSPORTS {
        for versions in TLS_VERSIONS {
            let io = io(emulator, transport, pem, versions).await;
            if transport.starts_with("mqtt") {
                let mut mqtt = Mqtt::connect(io, &Login::new(identity, "")).await;
                mqtt.publish(&telemetry_topic(identity), transport.as_bytes()).await;
            } else {
                let mut amqp = Amqp::open(io).await;
                let telemetry = amqp.sender(&telemetry_address(identity)).await;
                let telemetry =
                    telemetry.unwrap_or_else(|reason| panic!("{identity} over {transport}: {reason:?}"));
                assert_eq!(amqp.deliver(telemetry, transport.as_bytes()).await, Ok(()));
            }
            let rows = emulator.journal(identity).await;
            let row =
                rows.iter().find(|row| row["operation"] == "Connect").expect("a row about the connection");
            let found = [&row["outcome"], &row["credential"], &row["protocol"], &row["identity"]];
            assert_eq!(
                found,
                [&json!("succeeded"), &json!(credential), &json!(transport), &json!(identity)],
                "{row}"
            );
        }
    }
}

async fn register(emulator: &Emulator, name: &str, authority: &Pem) {
    let body = json!({ "name": name, "certificate": authority.certificate, "verified": true });
    emulator.admin("POST /admin/certificates", &body).await.ok();
}

fn by_authority() -> Value {
    json!({ "authentication": { "type": "certificateAuthority" } })
}

fn by_thumbprints(primary: Option<&str>, secondary: Option<&str>) -> Value {
    let thumbprints = json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary });
    json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": thumbprints } })
}

#[tokio::test]
async fn a_version_1_leaf_of_a_registered_authority_gets_in() {
    let emulator = Emulator::start().await;
    let made = Certificates::get();
    register(&emulator, "ec", &made.authority).await;
    register(&emulator, "rsa", &made.rsa_authority).await;
    emulator.create_device_with("d1", by_authority()).await;
    gets_in(&emulator, "d1", &made.v1_ec, "x509-ca").await;
    gets_in(&emulator, "d1", &made.v1_rsa, "x509-ca").await;
}

#[tokio::test]
async fn a_version_3_leaf_of_a_registered_authority_gets_in() {
    let emulator = Emulator::start().await;
    let made = Certificates::get();
    let program = authority("Authority of a program");
    for (name, authority) in [("ec", &made.authority), ("rsa", &made.rsa_authority), ("program", &program)] {
        register(&emulator, name, authority).await;
        let device = format!("d-{name}");
        emulator.create_device_with(&device, by_authority()).await;
        gets_in(&emulator, &device, &v3_leaf(&device, authority), "x509-ca").await;
    }
}

#[tokio::test]
async fn a_module_gets_in_with_its_two_part_common_name() {
    let emulator = Emulator::start().await;
    let made = Certificates::get();
    register(&emulator, "ec", &made.authority).await;
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", by_authority()).await;
    // The backslash of the tutorial's `-subj "/CN=device01\/module01"` never reaches the certificate.
    gets_in(&emulator, "d1/m1", &made.v1_module, "x509-ca").await;
    gets_in(&emulator, "d1/m1", &v3_leaf("d1/m1", &made.authority), "x509-ca").await;
}

#[tokio::test]
async fn a_self_signed_certificate_gets_in_by_any_of_its_thumbprints() {
    let emulator = Emulator::start().await;
    let made = Certificates::get();
    let program = self_signed_leaf("whoever");
    // CA:TRUE as OpenSSL makes them, and CA:FALSE as programs do; the common name does not matter.
    for (name, pem) in [("ec", &made.self_signed_ec), ("rsa", &made.self_signed_rsa), ("program", &program)] {
        let (sha1, sha256, other) = (pem.sha1(), pem.sha256().to_lowercase(), "0".repeat(40));
        let places = [
            ("sha1-primary", by_thumbprints(Some(&sha1), None)),
            ("sha1-secondary", by_thumbprints(Some(&other), Some(&sha1))),
            ("sha256-primary", by_thumbprints(Some(&sha256), Some(&other))),
            ("sha256-secondary", by_thumbprints(None, Some(&sha256))),
        ];
        for (place, members) in places {
            let device = format!("{name}-{place}");
            emulator.create_device_with(&device, members).await;
            gets_in(&emulator, &device, pem, "x509-self-signed").await;
        }
    }
}

#[tokio::test]
async fn a_module_gets_in_by_its_own_thumbprint() {
    let emulator = Emulator::start().await;
    let pem = self_signed_leaf("d1/m1");
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", by_thumbprints(Some(&pem.sha256()), None)).await;
    gets_in(&emulator, "d1/m1", &pem, "x509-self-signed").await;
}

#[tokio::test]
async fn a_certificate_next_to_a_good_token_does_not_get_in_the_way() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    let token = emulator.token("d1", 3600).await;
    let pem = self_signed_leaf("somebody");
    let io = emulator.io_with(Port::Mqtts, Some(&pem)).await;
    Mqtt::connect(io, &Login::new("d1", &token)).await;
    let rows = emulator.journal("d1").await;
    assert_eq!(rows[0]["credential"], "sas-device-key", "{}", rows[0]);
}

#[tokio::test]
async fn over_https_a_certificate_stands_in_for_the_authorization_header() {
    let emulator = Emulator::start().await;
    let pem = self_signed_leaf("whoever");
    emulator.create_device_with("d1", by_thumbprints(Some(&pem.sha256()), None)).await;
    emulator.create_device_with("other", by_thumbprints(Some(&"0".repeat(40)), None)).await;
    let call = async |line: &str, certificate: Option<&Pem>| {
        let request = http::request(&format!("{line}?api-version=2021-04-12"), &[], "");
        http::exchange(emulator.io_with(Port::Https, certificate).await, request.as_bytes()).await
    };
    for line in ["POST /devices/d1/messages/events", "GET /devices/d1/messages/deviceBound"] {
        assert_eq!(call(line, Some(&pem)).await.status, 204, "{line}");
        call(line, None).await.refused(401, "IotHubUnauthorizedAccess");
        let stranger = self_signed_leaf("d1");
        call(line, Some(&stranger)).await.refused(401, "IotHubUnauthorizedAccess");
    }
    call("POST /devices/other/messages/events", Some(&pem)).await.refused(401, "IotHubUnauthorizedAccess");
    // A certificate is a device's; services have none.
    call("GET /devices/d1", Some(&pem)).await.refused(401, "IotHubUnauthorizedAccess");
    let rows = emulator.journal("d1").await;
    let sent = rows.iter().find(|row| row["operation"] == "SendTelemetry").expect("a row about the message");
    assert_eq!([&sent["credential"], &sent["protocol"]], [&json!("x509-self-signed"), &json!("https")]);
}

#[tokio::test]
async fn an_edge_device_manages_its_modules_with_its_certificate() {
    let emulator = Emulator::start().await;
    let pem = self_signed_leaf("edge");
    let mut edge = by_thumbprints(Some(&pem.sha256()), None);
    edge["capabilities"] = json!({ "iotEdge": true });
    emulator.create_device_with("e1", edge).await;
    emulator.create_device_with("d1", by_thumbprints(Some(&pem.sha256()), None)).await;
    let call = async |line: &str| {
        let request = http::request(&format!("{line}?api-version=2017-11-08-preview"), &[], "");
        http::exchange(emulator.io_with(Port::Https, Some(&pem)).await, request.as_bytes()).await
    };
    let modules = call("GET /devices/e1/modules").await.ok();
    assert_eq!(modules.as_array().expect("an array").len(), 2);
    call("GET /devices/d1/modules").await.refused(401, "IotHubUnauthorizedAccess");
    call("GET /devices/e1").await.refused(401, "IotHubUnauthorizedAccess");
}
