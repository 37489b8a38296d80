//! Who may call what over HTTPS: the rights of each shared access policy, and tokens that prove nothing
//! (contract/rest.md 1.1, 4.3, 5.1, 5.2).

use serde_json::{Value, json};

use crate::harness::{Emulator, sas};

/// A call and which right it needs.
const CALLS: [(&str, &str, Right); 16] = [
    ("GET /devices", "", Right::RegistryRead),
    ("GET /devices/d1", "", Right::RegistryRead),
    ("GET /devices/d1/modules", "", Right::RegistryRead),
    ("GET /devices/d1/modules/m1", "", Right::RegistryRead),
    ("PUT /devices/new", r#"{"deviceId":"new"}"#, Right::RegistryWrite),
    ("PUT /devices/d1/modules/new", r#"{"deviceId":"d1","moduleId":"new"}"#, Right::RegistryWrite),
    ("DELETE /devices/d1/modules/new", "", Right::RegistryWrite),
    ("DELETE /devices/new", "", Right::RegistryWrite),
    ("GET /twins/d1", "", Right::ServiceConnect),
    ("GET /twins/d1/modules/m1", "", Right::ServiceConnect),
    ("PATCH /twins/d1", r#"{"tags":{"a":1}}"#, Right::ServiceConnect),
    ("PUT /twins/d1", r#"{"tags":{"a":1}}"#, Right::ServiceConnect),
    ("PATCH /twins/d1/modules/m1", r#"{"tags":{"a":1}}"#, Right::ServiceConnect),
    ("PUT /twins/d1/modules/m1", r#"{"tags":{"a":1}}"#, Right::ServiceConnect),
    ("POST /twins/d1", r#"{"tags":{"a":1}}"#, Right::ServiceConnect),
    ("PUT /twins/d1/modules/m1", r#"{"properties":{"desired":{"a":1}}}"#, Right::ServiceConnect),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
}

const POLICIES: [(&str, &[Right]); 5] = [
    ("iothubowner", &[Right::RegistryRead, Right::RegistryWrite, Right::ServiceConnect]),
    ("service", &[Right::ServiceConnect]),
    ("device", &[]),
    ("registryRead", &[Right::RegistryRead]),
    ("registryReadWrite", &[Right::RegistryRead, Right::RegistryWrite]),
];

async fn emulator() -> Emulator {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    emulator.create_module_with("d1", "m1", json!({})).await;
    emulator
}

#[tokio::test]
async fn each_policy_may_do_what_its_rights_say_and_nothing_else() {
    for (policy, rights) in POLICIES {
        let emulator = emulator().await;
        for (line, body, right) in CALLS {
            let headers =
                if line.starts_with("POST") { [("X-HTTP-Method-Override", "PATCH")].as_slice() } else { &[] };
            let answer = emulator.call(policy, line, headers, body).await;
            if rights.contains(&right) {
                assert!((200..300).contains(&answer.status), "{policy}, {line}: {answer}");
            } else {
                assert_eq!(answer.status, 401, "{policy}, {line}: {answer}");
                answer.refused(401, "IotHubUnauthorizedAccess");
            }
        }
        // What was refused did not happen: nobody but those who may write made anything, and they removed it again.
        let devices = emulator.owner("GET /devices", &[], &Value::Null).await.ok();
        assert_eq!(devices.as_array().map(Vec::len), Some(1), "{policy}");
    }
}

#[tokio::test]
async fn a_refused_call_is_in_the_journal_with_the_policy_that_signed_it() {
    let emulator = emulator().await;
    let call = emulator.call(
        "registryRead",
        "PUT /devices/d1/modules/m2",
        &[],
        r#"{"deviceId":"d1","moduleId":"m2"}"#,
    );
    call.await.refused(401, "IotHubUnauthorizedAccess");
    let rows = emulator.journal("d1/m2").await;
    let row = rows.first().expect("a row about the refusal");
    assert_eq!((&row["operation"], &row["outcome"]), (&json!("CreateModule"), &json!("refused")), "{row}");
    assert_eq!((&row["policy"], &row["errorCode"]), (&json!("registryRead"), &json!(401_002)), "{row}");
}

#[tokio::test]
async fn tokens_that_prove_nothing_are_refused() {
    let emulator = emulator().await;
    let owner = |resource: &str, expiry: i64, name: &str| {
        let policies = emulator.app.hub.policies();
        let key = policies
            .iter()
            .find(|policy| policy.name.as_str() == "iothubowner")
            .expect("it is built in")
            .keys
            .primary
            .to_base64();
        sas::token(resource, &key, expiry, Some(name))
    };
    let later = emulator.now() + 3600;
    let good = owner("localhost", later, "iothubowner");
    let own = emulator.token("d1", 3600).await;
    let bad = [
        ("no token", String::new()),
        ("another scheme", "Bearer abc".into()),
        ("nothing but the scheme", "SharedAccessSignature".into()),
        ("no signature", "SharedAccessSignature sr=localhost&se=9999999999&skn=iothubowner".into()),
        ("an expired token", owner("localhost", emulator.now() - 1, "iothubowner")),
        ("a stretched expiry", good.replace(&format!("se={later}"), &format!("se={}", later + 1))),
        ("another policy's name", owner("localhost", later, "service")),
        ("an unknown policy", owner("localhost", later, "nobody")),
        ("another hub", owner("other.azure-devices.net", later, "iothubowner")),
        ("a part of the hub", owner("localhost/devices/other", later, "iothubowner")),
        ("a token of a device", own),
        (
            "a wrong key",
            sas::token(
                "localhost",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                later,
                Some("iothubowner"),
            ),
        ),
        ("a token of 60 KB", format!("SharedAccessSignature sr={}", "x".repeat(60_000))),
    ];
    let line = "GET /devices/d1?api-version=2021-04-12";
    for (what, token) in &bad {
        let answer = emulator.https(line, &[("Authorization", token)], "").await;
        // A head that long is refused by size.
        let expected: &[u16] = if token.len() > 50_000 { &[401, 431] } else { &[401] };
        assert!(expected.contains(&answer.status), "{what}: {answer}");
        if answer.status == 401 {
            answer.refused(401, "IotHubUnauthorizedAccess");
            assert_eq!(answer.header("www-authenticate"), Some("SharedAccessSignature"), "{what}");
        }
    }
    emulator.https(line, &[], "").await.refused(401, "IotHubUnauthorizedAccess");
    emulator.https(line, &[("Authorization", &good)], "").await.ok();
}

#[tokio::test]
async fn a_refusal_never_repeats_a_secret() {
    let emulator = emulator().await;
    let token = emulator.token("d1", -10).await;
    let signature = token.split("sig=").nth(1).and_then(|rest| rest.split('&').next()).expect("a signature");
    let answer =
        emulator.https("GET /devices/d1?api-version=2021-04-12", &[("Authorization", &token)], "").await;
    answer.refused(401, "IotHubUnauthorizedAccess");
    let journal = emulator.admin("GET /admin/journal", &Value::Null).await;
    for text in [answer.body, journal.body] {
        let text = String::from_utf8(text).expect("answers are text");
        assert!(!text.contains(signature) && !text.contains("sig="), "{text}");
    }
}
