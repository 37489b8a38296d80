//! The twelve rules that break real SDKs when missed, `contract/mqtt.md 0`. The twelfth, of the WebSocket, is held
//! where the WebSocket is: `server/http/tests/http/websocket.rs` and `tests/protocol/websocket_stream.rs`.

use hub::c2d::CloudToDeviceMessage;
use hub::time::Timestamp;
use serde_json::Value;

use crate::harness::*;
use crate::transcript::play;

#[tokio::test]
async fn rule_01_messages_always_carry_a_bag_that_begins_with_an_encoded_system_property() {
    let conversation = "
        > CONNECT d
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 devices/d/messages/devicebound/# 1
        < SUBACK 1 [1]
        hub sends a
        < PUBLISH 1 devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid=a&iothub-ack=full a
        > PUBACK 1
        > PINGREQ
        < PINGRESP";
    play(&Bench::new().await, conversation).await;
}

#[tokio::test]
async fn rule_02_dollars_of_twin_and_method_topics_are_literal() {
    let conversation = r#"
        > CONNECT d
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 0 $iothub/twin/PATCH/properties/desired/# 0 $iothub/methods/POST/# 0
        < SUBACK 1 [0, 0, 0]
        > PUBLISH $iothub/twin/GET/?$rid=%24a
        < PUBLISH $iothub/twin/res/200/?$rid=%24a {"desired":{"$version":1},"reported":{"$version":1}}
        > PUBLISH $iothub/twin/PATCH/properties/reported/?$rid=2 {"a":1}
        < PUBLISH $iothub/twin/res/204/?$rid=2&$version=2
        hub desires d {"b":2}
        < PUBLISH $iothub/twin/PATCH/properties/desired/?$version=2 {"b":2,"$version":2}
        hub calls d reboot {"now":true}
        < PUBLISH $iothub/methods/POST/reboot/?$rid=<rid> {"now":true}
        > PUBLISH $iothub/methods/res/200/?$rid=<rid> {}
        > PINGREQ
        < PINGRESP
        > PUBLISH $iothub/twin/GET/?%24rid=3
        < closed"#;
    play(&Bench::new().await, conversation).await;
}

#[tokio::test]
async fn rule_03_dates_have_exactly_seven_fraction_digits_and_what_is_no_date_does_not_come() {
    for (created, expected) in [
        ("2026-12-31T23:59:59Z", "&%24.ctime=2026-12-31T23%3A59%3A59.0000000Z"),
        ("2027-01-01T00:00:00.5+01:00", "&%24.ctime=2026-12-31T23%3A00%3A00.5000000Z"),
        ("2026-12-31T23:59:59.123456789Z", "&%24.ctime=2026-12-31T23%3A59%3A59.1234567Z"),
        ("New Year's Eve", ""),
    ] {
        let bench = Bench::new().await;
        let mut client = bench.online("d").await;
        client.subscribe_to_messages(1).await;
        let message = CloudToDeviceMessage {
            expires_at: Timestamp::parse("2027-01-15T09:00:00Z"),
            creation_time_utc: Some(created.to_owned()),
            ..CloudToDeviceMessage::default()
        };
        bench.send(message).await;
        let to = "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound";
        let dates = format!("&%24.exp=2027-01-15T09%3A00%3A00.0000000Z{expected}");
        assert_eq!(client.next().await.trim_end(), format!("PUBLISH 1 {to}{dates}"));
    }
}

#[tokio::test]
async fn rule_04_all_kinds_of_subscriptions_survive_the_reconnect_at_a_token_renewal() {
    let conversation = r#"
        > CONNECT d
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 devices/d/messages/devicebound/# 1 $iothub/methods/POST/# 0
        < SUBACK 1 [1, 0]
        > SUBSCRIBE 2 $iothub/twin/res/# 0 $iothub/twin/PATCH/properties/desired/# 0
        < SUBACK 2 [0, 0]
        > LOST
        hub waits 3000
        > CONNECT d
        < CONNACK 0 session present 1
        hub sends a
        < PUBLISH 1 devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid=a&iothub-ack=full a
        hub calls d reboot 1
        < PUBLISH $iothub/methods/POST/reboot/?$rid=<rid> 1
        hub desires d {"b":2}
        < PUBLISH $iothub/twin/PATCH/properties/desired/?$version=2 {"b":2,"$version":2}
        > PUBLISH $iothub/twin/PATCH/properties/reported/?$rid=2 {"a":1}
        < PUBLISH $iothub/twin/res/204/?$rid=2&$version=2"#;
    play(&Bench::new().await, conversation).await;
}

#[tokio::test]
async fn rule_05_every_refused_connect_gets_5_and_nothing_else() {
    for refused in [
        "CONNECT x",
        "CONNECT d user localhost/d/m/?api-version=2021-04-12",
        "CONNECT d user d",
        "CONNECT d sr localhost/devices/x",
        "CONNECT d/m sr localhost/devices/d/modules/x",
        "CONNECT d will devices/x/messages/events/ gone",
    ] {
        let conversation = format!("> {refused}\n< CONNACK 5 session present 0\n< closed");
        play(&Bench::new().await, &conversation).await;
    }
}

#[tokio::test]
async fn rule_06_every_qos_1_publish_is_acknowledged_in_order_and_before_what_it_brings() {
    let bench = Bench::new().await;
    let conversation = r#"
        > CONNECT d
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 1 $iothub/methods/POST/# 1
        < SUBACK 1 [1, 1]
        hub calls d reboot 1
        < PUBLISH $iothub/methods/POST/reboot/?$rid=<rid> 1
        > PUBLISH 7 devices/d/messages/events/ telemetry
        > PUBLISH 3 $iothub/twin/PATCH/properties/reported/?$rid=a {"a":1}
        > PUBLISH 9 $iothub/methods/res/200/?$rid=<rid> {}
        > PUBLISH 4 $iothub/methods/res/200/?$rid=fff {}
        > PUBLISH 2 $iothub/twin/PATCH/properties/reported/ {"b":1}
        > PUBLISH 1 $iothub/twin/GET/?$rid=b
        > PUBLISH 5 devices/d/messages/events/ telemetry
        < PUBACK 7
        < PUBACK 3
        < PUBLISH $iothub/twin/res/204/?$rid=a&$version=2
        < PUBACK 9
        < PUBACK 4
        < PUBACK 2
        < PUBACK 1
        < PUBLISH $iothub/twin/res/200/?$rid=b {"desired":{"$version":1},"reported":{"a":1,"b":1,"$version":3}}
        < PUBACK 5"#;
    play(&bench, conversation).await;
    assert_eq!(bench.events().len(), 2);
}

#[tokio::test]
async fn rule_07_twins_and_methods_come_with_qos_0_whatever_was_granted() {
    let conversation = r#"
        > CONNECT d
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 1 $iothub/twin/PATCH/properties/desired/# 1 $iothub/methods/POST/# 1
        < SUBACK 1 [1, 1, 1]
        > PUBLISH 2 $iothub/twin/GET/?$rid=1
        < PUBACK 2
        < PUBLISH $iothub/twin/res/200/?$rid=1 {"desired":{"$version":1},"reported":{"$version":1}}
        hub desires d {"b":2}
        < PUBLISH $iothub/twin/PATCH/properties/desired/?$version=2 {"b":2,"$version":2}
        hub calls d reboot 1
        < PUBLISH $iothub/methods/POST/reboot/?$rid=<rid> 1"#;
    play(&Bench::new().await, conversation).await;
}

#[tokio::test]
async fn rule_08_errors_of_twin_requests_are_json_with_a_code_and_a_message() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    client.send(&Subscribe(1, &[("$iothub/twin/res/#", 0)])).await;
    assert_eq!(client.next().await, "SUBACK 1 [0]");
    client.send(&Publish(0, "$iothub/twin/PATCH/properties/reported/?$rid=1", "{")).await;
    let answer = client.next().await;
    let body = answer.strip_prefix("PUBLISH $iothub/twin/res/400/?$rid=1 ").expect("a 400");
    let error: Value = serde_json::from_str(body).unwrap();
    assert_ne!(error["errorCode"].as_u64().unwrap(), 0);
    assert!(!error["message"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn rule_09_telemetry_topics_may_end_in_a_slash_and_bags_be_raw() {
    let bench = Bench::new().await;
    let conversation = "
        > CONNECT d/m
        < CONNACK 0 session present 0
        > PUBLISH 1 devices/d/modules/m/messages/events
        > PUBLISH 2 devices/d/modules/m/messages/events/
        > PUBLISH 3 devices/d/modules/m/messages/events/a=1/
        > PUBLISH 4 devices/d/modules/m/messages/events/a=x/y␣100%&$.ct=application/json
        > PUBLISH 5 devices/d/modules/m/messages/events/?a=1
        < PUBACK 1
        < PUBACK 2
        < PUBACK 3
        < PUBACK 4
        < PUBACK 5";
    play(&bench, conversation).await;
    let value = |text: &str| Some(text.to_owned());
    let values: Vec<_> = bench
        .events()
        .iter()
        .map(|event| event.properties.application.first().and_then(|(_, value)| value.clone()))
        .collect();
    assert_eq!(values, [None, None, value("1"), value("x/y 100%"), value("1")]);
    assert_eq!(bench.events()[3].properties.content_type.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn rule_10_the_wildcards_of_embedded_c_and_of_modules_are_granted() {
    let conversation = "
        > CONNECT d
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 devices/+/messages/devicebound/# 1
        < SUBACK 1 [1]
        hub sends a
        < PUBLISH 1 devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid=a&iothub-ack=full a
        module > CONNECT d/m
        module < CONNACK 0 session present 0
        module > SUBSCRIBE 1 devices/d/modules/m/# 1 devices/d/modules/m/inputs/# 0
        module < SUBACK 1 [1, 0]
        module > SUBSCRIBE 2 devices/d/modules/m/messages/devicebound/# 1
        module < SUBACK 2 [1]";
    play(&Bench::new().await, conversation).await;
}

#[tokio::test]
async fn rule_11_a_token_is_verified_with_its_resource_as_it_is_written() {
    for (id, sr) in [
        ("d", "localhost"),
        ("d", "localhost/devices/d"),
        ("d", "localhost%2Fdevices%2Fd"),
        ("d/m", "localhost/devices/d/modules/m"),
        ("d/m", "localhost%2Fdevices%2Fd%2Fmodules%2Fm"),
    ] {
        // The harness encodes it once more, so that the second form of each is what Go's modules send.
        play(&Bench::new().await, &format!("> CONNECT {id} sr {sr}\n< CONNACK 0 session present 0")).await;
    }
}
