//! What ends a live session from outside: disable, delete, new keys. And what does not (contract/mqtt.md 2.10,
//! contract/amqp.md 5, contract/rest.md 1.2, 2.3).

use serde_json::{Value, json};

use crate::harness::amqp::Link;
use crate::harness::emulator::{path, resource};
use crate::harness::mqtt::Login;
use crate::harness::{Amqp, Emulator, Mqtt, Port};

const NEW_KEY: &str = "bmV3IGtleSBvZiAzMiBieXRlcyBmb3IgYSB0ZXN0ISE=";
const ANY: [(&str, &str); 1] = [("If-Match", "*")];

/// A device and its module, one over MQTT and the other over AMQP, in both ways round.
struct Family {
    emulator: Emulator,
    mqtt: Mqtt,
    amqp: Amqp,
    link: Link,
}

impl Family {
    async fn connected(over_mqtt: &str, over_amqp: &str) -> Self {
        let emulator = Emulator::start().await;
        emulator.create_device("d1").await;
        emulator.create_module_with("d1", "m1", json!({})).await;
        let mqtt = emulator.mqtt(over_mqtt).await;
        let (amqp, link) = emulator.amqp(over_amqp).await;
        Self { emulator, mqtt, amqp, link }
    }

    /// Both have lost their session; AMQP says why.
    async fn is_out(&mut self, condition: &str) {
        self.mqtt.is_closed().await;
        assert_eq!(self.amqp.detached(self.link).await.condition, condition);
        let left = self.emulator.admin("GET /admin/connections", &Value::Null).await.ok();
        assert_eq!(left, json!([]));
    }

    async fn is_in(&mut self) {
        self.mqtt.ping().await;
        assert_eq!(self.amqp.deliver(self.link, b"x").await, Ok(()));
    }
}

const BOTH_WAYS: [(&str, &str); 2] = [("d1", "d1/m1"), ("d1/m1", "d1")];

#[tokio::test]
async fn disabling_a_device_ends_its_sessions_and_its_modules() {
    for (over_mqtt, over_amqp) in BOTH_WAYS {
        let mut family = Family::connected(over_mqtt, over_amqp).await;
        let tokens = [family.emulator.token("d1", 3600).await, family.emulator.token("d1/m1", 3600).await];
        let body = json!({ "deviceId": "d1", "status": "disabled" });
        family.emulator.owner("PUT /devices/d1", &ANY, &body).await.ok();
        family.is_out("amqp:unauthorized-access").await;
        for (identity, token) in ["d1", "d1/m1"].into_iter().zip(tokens) {
            let mut mqtt = Mqtt::new(family.emulator.io(Port::Mqtts).await);
            assert_eq!(mqtt.log_in(&Login::new(identity, &token)).await, (false, 5), "{identity}");
        }
    }
}

#[tokio::test]
async fn deleting_a_device_ends_its_sessions_and_its_modules() {
    for (over_mqtt, over_amqp) in BOTH_WAYS {
        let mut family = Family::connected(over_mqtt, over_amqp).await;
        let tokens = [family.emulator.token("d1", 3600).await, family.emulator.token("d1/m1", 3600).await];
        let answer = family.emulator.owner("DELETE /devices/d1", &ANY, &Value::Null).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        family.is_out("amqp:not-found").await;
        for (identity, token) in ["d1", "d1/m1"].into_iter().zip(tokens) {
            let mut mqtt = Mqtt::new(family.emulator.io(Port::Mqtts).await);
            assert_eq!(mqtt.log_in(&Login::new(identity, &token)).await, (false, 5), "{identity}");
        }
    }
}

#[tokio::test]
async fn deleting_a_module_leaves_its_device_connected() {
    for (over_mqtt, over_amqp) in BOTH_WAYS {
        let mut family = Family::connected(over_mqtt, over_amqp).await;
        family.emulator.owner("DELETE /devices/d1/modules/m1", &ANY, &Value::Null).await.ok();
        if over_mqtt == "d1" {
            assert_eq!(family.amqp.detached(family.link).await.condition, "amqp:not-found");
            family.mqtt.ping().await;
        } else {
            family.mqtt.is_closed().await;
            assert_eq!(family.amqp.deliver(family.link, b"x").await, Ok(()));
        }
    }
}

#[tokio::test]
async fn new_keys_end_the_session_they_are_for_and_let_the_next_one_in() {
    for (over_mqtt, over_amqp) in BOTH_WAYS {
        let mut family = Family::connected(over_mqtt, over_amqp).await;
        for identity in ["d1", "d1/m1"] {
            let old = family.emulator.token(identity, 3600).await;
            let mut body = family.emulator.identity(identity).await;
            body["authentication"]["symmetricKey"] =
                json!({ "primaryKey": NEW_KEY, "secondaryKey": NEW_KEY });
            family.emulator.owner(&format!("PUT {}", path(identity)), &ANY, &body).await.ok();
            let mut mqtt = Mqtt::new(family.emulator.io(Port::Mqtts).await);
            assert_eq!(mqtt.log_in(&Login::new(identity, &old)).await, (false, 5), "{identity}");
        }
        family.is_out("amqp:unauthorized-access").await;
        for identity in ["d1", "d1/m1"] {
            family.emulator.mqtt(identity).await.ping().await;
        }
    }
}

#[tokio::test]
async fn another_authentication_type_ends_the_session() {
    let mut family = Family::connected("d1", "d1/m1").await;
    for identity in ["d1", "d1/m1"] {
        let mut body = family.emulator.identity(identity).await;
        body["authentication"] = json!({ "type": "certificateAuthority" });
        family.emulator.owner(&format!("PUT {}", path(identity)), &ANY, &body).await.ok();
    }
    family.is_out("amqp:unauthorized-access").await;
}

#[tokio::test]
async fn changes_that_are_not_about_credentials_end_nothing() {
    let mut family = Family::connected("d1", "d1/m1").await;
    let emulator = &family.emulator;
    let reason = json!({ "deviceId": "d1", "status": "enabled", "statusReason": "for a test" });
    emulator.owner("PUT /devices/d1", &ANY, &reason).await.ok();
    let managed = json!({ "deviceId": "d1", "moduleId": "m1", "managedBy": "a test" });
    emulator.owner("PUT /devices/d1/modules/m1", &ANY, &managed).await.ok();
    for twin in ["/twins/d1", "/twins/d1/modules/m1"] {
        emulator.owner(&format!("PATCH {twin}"), &[], &json!({ "tags": { "a": 1 } })).await.ok();
    }
    emulator.create_module_with("d1", "m2", json!({})).await;
    emulator.owner("DELETE /devices/d1/modules/m2", &ANY, &Value::Null).await.ok();
    let stale = [("If-Match", "\"AAAAAAAAAAA=\"")];
    let disable = json!({ "deviceId": "d1", "status": "disabled" });
    emulator.owner("PUT /devices/d1", &stale, &disable).await.refused(412, "PreconditionFailed");
    family.is_in().await;
}

#[tokio::test]
async fn a_session_on_a_policys_token_outlives_new_device_keys() {
    let emulator = Emulator::start().await;
    emulator.create_device("d1").await;
    let token = emulator.policy_token("device");
    let mut mqtt = Mqtt::connect(emulator.io(Port::Mqtts).await, &Login::new("d1", &token)).await;
    let mut body = emulator.identity("d1").await;
    body["authentication"]["symmetricKey"] = json!({ "primaryKey": NEW_KEY, "secondaryKey": NEW_KEY });
    emulator.owner("PUT /devices/d1", &ANY, &body).await.ok();
    mqtt.ping().await;
}

#[tokio::test]
async fn what_was_thrown_out_of_a_connection_can_come_back_on_it_with_a_new_token() {
    let mut family = Family::connected("d1", "d1/m1").await;
    let mut body = family.emulator.identity("d1/m1").await;
    body["authentication"]["symmetricKey"] = json!({ "primaryKey": NEW_KEY, "secondaryKey": NEW_KEY });
    family.emulator.owner("PUT /devices/d1/modules/m1", &ANY, &body).await.ok();
    assert_eq!(family.amqp.detached(family.link).await.condition, "amqp:unauthorized-access");
    let address = crate::harness::emulator::telemetry_address("d1/m1");
    let refused = family.amqp.sender(&address).await.expect_err("the old token is no good any more");
    assert_eq!(refused.condition, "amqp:unauthorized-access");
    let token = family.emulator.token("d1/m1", 3600).await;
    assert_eq!(family.amqp.put_token(&resource("d1/m1"), &token).await, 200);
    let link = family.amqp.sender(&address).await.expect("the new token is good");
    assert_eq!(family.amqp.deliver(link, b"x").await, Ok(()));
}
