//! Certificates, and tokens in their place, that prove nothing: MQTT says 5 and closes, AMQP refuses the link with
//! `amqp:unauthorized-access`, the journal says who was refused (contract/mqtt.md 2.5, 2.6, contract/amqp.md 5).

use serde_json::{Value, json};

use crate::harness::certificates::{
    Certificates, Pem, authority, expired_leaf, future_leaf, self_signed_leaf, v3_leaf,
};
use crate::harness::emulator::{resource, telemetry_address};
use crate::harness::mqtt::Login;
use crate::harness::{Amqp, Emulator, Mqtt, Port};

/// What MQTT answers to this login with this certificate.
async fn mqtt_code(emulator: &Emulator, identity: &str, pem: Option<&Pem>, token: &str) -> u8 {
    let mut mqtt = Mqtt::new(emulator.io_with(Port::Mqtts, pem).await);
    let (_, code) = mqtt.log_in(&Login::new(identity, token)).await;
    if code != 0 {
        mqtt.is_closed().await;
    }
    code
}

/// Whether AMQP grants a telemetry link with this certificate, or the condition it refuses it with.
async fn amqp_condition(emulator: &Emulator, identity: &str, pem: Option<&Pem>) -> Result<(), String> {
    let mut amqp = Amqp::open(emulator.io_with(Port::Amqps, pem).await).await;
    amqp.sender(&telemetry_address(identity)).await.map(drop).map_err(|reason| reason.condition)
}

/// Refused over both, with a row in the journal each time.
async fn is_refused(emulator: &Emulator, what: &str, identity: &str, pem: Option<&Pem>) {
    assert_eq!(mqtt_code(emulator, identity, pem, "").await, 5, "{what}");
    if pem.is_some() {
        is_in_the_journal(emulator, what, identity, "mqtt").await;
    }
    let refused = amqp_condition(emulator, identity, pem).await;
    assert_eq!(refused, Err("amqp:unauthorized-access".to_owned()), "{what}");
    if pem.is_some() {
        is_in_the_journal(emulator, what, identity, "amqp").await;
    }
}

async fn is_in_the_journal(emulator: &Emulator, what: &str, identity: &str, protocol: &str) {
    let rows = emulator.journal(identity).await;
    let row = rows.first().unwrap_or_else(|| panic!("{what}: no row about {identity}"));
    let found = [&row["outcome"], &row["errorCode"], &row["protocol"]];
    assert_eq!(found, [&json!("refused"), &json!(401_002), &json!(protocol)], "{what}: {row}");
}

async fn is_accepted(emulator: &Emulator, what: &str, identity: &str, pem: &Pem) {
    assert_eq!(mqtt_code(emulator, identity, Some(pem), "").await, 0, "{what}");
    assert_eq!(amqp_condition(emulator, identity, Some(pem)).await, Ok(()), "{what}");
}

fn by_authority() -> Value {
    json!({ "authentication": { "type": "certificateAuthority" } })
}

fn by_thumbprint(thumbprint: &str) -> Value {
    json!({ "authentication": { "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint } } })
}

/// An emulator that trusts `known`, with `d1` and `d1/m1` registered for certificates of authorities.
async fn with_authority(known: &Pem) -> Emulator {
    let emulator = Emulator::start().await;
    let body = json!({ "name": "known", "certificate": known.certificate, "verified": true });
    emulator.admin("POST /admin/certificates", &body).await.ok();
    emulator.create_device_with("d1", by_authority()).await;
    emulator.create_module_with("d1", "m1", by_authority()).await;
    emulator
}

#[tokio::test]
async fn a_common_name_that_is_not_the_identity_is_refused() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    for name in ["d2", "D1", "d1 ", "d1/m1", ""] {
        is_refused(&emulator, name, "d1", Some(&v3_leaf(name, &known))).await;
    }
    for name in ["d1", "m1", "d1/m2", "d2/m1", "d1/M1", r"d1\/m1"] {
        is_refused(&emulator, name, "d1/m1", Some(&v3_leaf(name, &known))).await;
    }
    is_accepted(&emulator, "the right one", "d1", &v3_leaf("d1", &known)).await;
    is_accepted(&emulator, "the right one", "d1/m1", &v3_leaf("d1/m1", &known)).await;
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    is_refused(&emulator, "expired", "d1", Some(&expired_leaf("d1", &known))).await;
    is_refused(&emulator, "not yet good", "d1", Some(&future_leaf("d1", &known))).await;
    let expired = expired_leaf("d2", &known);
    emulator.create_device_with("d2", by_thumbprint(&expired.sha1())).await;
    is_refused(&emulator, "expired, known by its thumbprint", "d2", Some(&expired)).await;
}

#[tokio::test]
async fn a_certificate_of_an_authority_nobody_registered_is_refused() {
    let made = Certificates::get();
    let emulator = with_authority(&made.authority).await;
    // Of the same name as the one registered, but with a key of its own.
    is_refused(&emulator, "an impostor", "d1", Some(&v3_leaf("d1", &made.unknown_authority))).await;
    is_refused(&emulator, "another name", "d1", Some(&v3_leaf("d1", &authority("Unknown")))).await;
    is_refused(&emulator, "the RSA authority", "d1", Some(&made.v1_rsa)).await;
    is_refused(&emulator, "self-signed", "d1", Some(&made.self_signed_ec)).await;
    is_refused(&emulator, "the authority itself", "d1", Some(&made.authority)).await;
    is_accepted(&emulator, "the twin", "d1", &made.v1_ec).await;
}

#[tokio::test]
async fn an_uploaded_authority_counts_only_once_possession_is_proven() {
    let emulator = Emulator::start().await;
    let uploaded = authority("Uploaded");
    let pem = v3_leaf("d1", &uploaded);
    emulator.create_device_with("d1", by_authority()).await;
    let body = json!({ "name": "uploaded", "certificate": uploaded.certificate });
    let registered = emulator.admin("POST /admin/certificates", &body).await.ok();
    assert_eq!(registered["isVerified"], false);
    is_refused(&emulator, "uploaded only", "d1", Some(&pem)).await;

    let code = emulator.admin("POST /admin/certificates/uploaded/verification-code", &Value::Null).await.ok();
    let code = code["verificationCode"].as_str().expect("a code").to_owned();
    let verify = "POST /admin/certificates/uploaded/verify";
    let wrong = json!({ "certificate": v3_leaf("another code", &uploaded).certificate });
    emulator.admin(verify, &wrong).await.refused(400, "ArgumentInvalid");
    let foreign = json!({ "certificate": v3_leaf(&code, &authority("Uploaded")).certificate });
    emulator.admin(verify, &foreign).await.refused(400, "ArgumentInvalid");
    is_refused(&emulator, "not proven", "d1", Some(&pem)).await;

    let proof = json!({ "certificate": v3_leaf(&code, &uploaded).certificate });
    assert_eq!(emulator.admin(verify, &proof).await.ok()["isVerified"], true);
    is_accepted(&emulator, "proven", "d1", &pem).await;

    emulator.admin("DELETE /admin/certificates/uploaded", &Value::Null).await.ok();
    is_refused(&emulator, "removed", "d1", Some(&pem)).await;
}

#[tokio::test]
async fn another_thumbprint_is_refused() {
    let emulator = Emulator::start().await;
    let (own, other) = (self_signed_leaf("d1"), self_signed_leaf("d1"));
    for (device, thumbprint) in [("sha1", own.sha1()), ("sha256", own.sha256())] {
        emulator.create_device_with(device, by_thumbprint(&thumbprint)).await;
        is_refused(&emulator, device, device, Some(&other)).await;
        is_accepted(&emulator, device, device, &own).await;
    }
}

#[tokio::test]
async fn a_good_certificate_for_an_identity_of_another_kind_is_refused() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    let (self_signed, leaf) = (self_signed_leaf("d1"), |name: &str| v3_leaf(name, &known));
    emulator.create_device("with-keys").await;
    emulator.create_device_with("by-thumbprint", by_thumbprint(&self_signed.sha1())).await;
    is_refused(&emulator, "a leaf for a device with keys", "with-keys", Some(&leaf("with-keys"))).await;
    is_refused(&emulator, "a leaf for a thumbprint", "by-thumbprint", Some(&leaf("by-thumbprint"))).await;
    is_refused(&emulator, "a self-signed one for an authority", "d1", Some(&self_signed)).await;
    is_refused(&emulator, "no certificate at all", "d1", None).await;
}

#[tokio::test]
async fn a_token_for_an_identity_with_a_certificate_is_refused() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    emulator.create_device_with("by-thumbprint", by_thumbprint(&"A".repeat(40))).await;
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for identity in ["d1", "d1/m1", "by-thumbprint"] {
        let token = crate::harness::sas::token(&resource(identity), key, emulator.now() + 3600, None);
        assert_eq!(mqtt_code(&emulator, identity, None, &token).await, 5, "{identity}");
        is_in_the_journal(&emulator, "a token", identity, "mqtt").await;
        let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
        assert_eq!(amqp.put_token(&resource(identity), &token).await, 401, "{identity}");
        is_in_the_journal(&emulator, "a token", identity, "amqp").await;
    }
}

#[tokio::test]
async fn a_disabled_device_and_its_modules_are_refused_until_it_is_enabled() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    emulator.create_device("with-keys").await;
    emulator.create_module_with("with-keys", "m1", json!({})).await;
    let any = [("If-Match", "*")];
    for device in ["d1", "with-keys"] {
        let body = json!({ "deviceId": device, "status": "disabled" });
        emulator.owner(&format!("PUT /devices/{device}"), &any, &body).await.ok();
    }
    for identity in ["d1", "d1/m1"] {
        is_refused(&emulator, "disabled", identity, Some(&v3_leaf(identity, &known))).await;
    }
    for identity in ["with-keys", "with-keys/m1"] {
        let token = emulator.token(identity, 3600).await;
        assert_eq!(mqtt_code(&emulator, identity, None, &token).await, 5, "{identity}");
        is_in_the_journal(&emulator, "disabled", identity, "mqtt").await;
        let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
        assert_eq!(amqp.put_token(&resource(identity), &token).await, 401, "{identity}");
        is_in_the_journal(&emulator, "disabled", identity, "amqp").await;
    }
    let body = json!({ "deviceId": "d1", "status": "enabled" });
    emulator.owner("PUT /devices/d1", &any, &body).await.ok();
    for identity in ["d1", "d1/m1"] {
        is_accepted(&emulator, "enabled again", identity, &v3_leaf(identity, &known)).await;
    }
}

#[tokio::test]
async fn somebody_unknown_is_refused() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    for identity in ["nobody", "d1/nobody", "nobody/m1"] {
        let pem = v3_leaf(identity, &known);
        assert_eq!(mqtt_code(&emulator, identity, Some(&pem), "").await, 5, "{identity}");
        // AMQP says what is missing (contract/amqp.md 5).
        let refused = amqp_condition(&emulator, identity, Some(&pem)).await;
        assert_eq!(refused, Err("amqp:not-found".to_owned()), "{identity}");
    }
}

#[tokio::test]
async fn one_certificate_is_good_for_one_identity_of_a_connection() {
    let known = authority("Known");
    let emulator = with_authority(&known).await;
    emulator.create_device_with("d2", by_authority()).await;
    let mut amqp = Amqp::open(emulator.io_with(Port::Amqps, Some(&v3_leaf("d1", &known))).await).await;
    let own = amqp.sender(&telemetry_address("d1")).await.expect("its own link");
    for other in ["d2", "d1/m1"] {
        let refused = amqp.sender(&telemetry_address(other)).await.expect_err("somebody else's link");
        assert_eq!(refused.condition, "amqp:unauthorized-access", "{other}");
    }
    assert_eq!(amqp.deliver(own, b"x").await, Ok(()));
}
