//! Bad input to the admin API: refused in the service's shape, and nothing has changed afterwards (PRODUCT section 5).

use serde_json::{Value, json};

use crate::harness::certificates::{Certificates, v3_leaf};
use crate::harness::{Emulator, Neighbours};

async fn registered(emulator: &Emulator) -> Value {
    emulator.admin("GET /admin/certificates", &Value::Null).await.ok()
}

#[tokio::test]
async fn certificates_that_are_none_are_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let made = Certificates::get();
    let before = registered(&emulator).await;
    let good = &made.authority.certificate;
    let leaf = v3_leaf("d1", &made.authority).certificate;
    let truncated = good.lines().take(4).collect::<Vec<_>>().join("\n") + "\n-----END CERTIFICATE-----\n";
    let rubbish = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", "AAAA".repeat(100));
    let bad = [
        json!({}),
        json!([]),
        json!({ "name": "x" }),
        json!({ "certificate": good }),
        json!({ "name": "", "certificate": good }),
        json!({ "name": "a b/c", "certificate": good }),
        json!({ "name": "x".repeat(10_000), "certificate": good }),
        json!({ "name": "x", "certificate": 17 }),
        json!({ "name": "x", "certificate": "" }),
        json!({ "name": "x", "certificate": "no PEM" }),
        json!({ "name": "x", "certificate": truncated }),
        json!({ "name": "x", "certificate": rubbish }),
        json!({ "name": "x", "certificate": made.authority.key }),
        json!({ "name": "x", "certificate": leaf }),
        json!({ "name": "x", "certificate": good, "verified": "yes" }),
    ];
    for body in bad {
        let answer = emulator.admin("POST /admin/certificates", &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer}");
    }
    let giant = json!({ "name": "x", "certificate": "A".repeat(2 * 1024 * 1024) });
    emulator.admin("POST /admin/certificates", &giant).await.refused(413, "GenericRequestEntityTooLarge");
    assert_eq!(registered(&emulator).await, before);
    neighbours.are_untouched().await;
    emulator.admin("POST /admin/certificates", &json!({ "name": "x", "certificate": good })).await.ok();
}

#[tokio::test]
async fn certificate_authorities_are_bounded_in_number() {
    let emulator = Emulator::start().await;
    let own = registered(&emulator).await.as_array().map_or(0, Vec::len);
    // Ten more than the service documents.
    let mut taken = own;
    for number in 0..35 {
        let authority = crate::harness::certificates::authority(&format!("Authority {number}"));
        let body = json!({ "name": format!("a{number}"), "certificate": authority.certificate });
        let answer = emulator.admin("POST /admin/certificates", &body).await;
        if taken < 25 {
            assert_eq!(answer.status, 200, "{answer}");
            taken += 1;
        } else {
            assert!((400..500).contains(&answer.status), "{answer}");
        }
    }
    assert_eq!(registered(&emulator).await.as_array().map(Vec::len), Some(25));
}

#[tokio::test]
async fn queries_out_of_range_are_refused() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for query in
        ["limit=0", "limit=1001", "limit=-1", "limit=many", "device=a%20b", "module=m1", "device=%ff"]
    {
        let answer = emulator.admin(&format!("GET /admin/journal?{query}"), &Value::Null).await;
        answer.refused(400, "ArgumentInvalid");
    }
    emulator.admin("GET /admin/journal?limit=1000", &Value::Null).await.ok();
    emulator.admin("GET /nonsense", &Value::Null).await.refused(404, "GenericNotFound");
    emulator.admin("DELETE /ready", &Value::Null).await.refused(405, "GenericMethodNotAllowed");
    emulator.admin("GET /devices", &Value::Null).await.refused(404, "GenericNotFound");
    neighbours.are_untouched().await;
}
