//! What each SDK says after it connected, and in which spelling; `contract/mqtt.md 2.3`, `5.4` and `10`.

use hub::telemetry::MessageProperties;

use crate::harness::*;
use crate::transcript::play;

const TWIN: &str = r#"{"desired":{"$version":1},"reported":{"$version":1}}"#;

#[tokio::test]
async fn node_subscribes_when_it_needs_to_and_not_again_after_a_renewal() {
    let conversation = format!(
        "> CONNECT d user localhost/d/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4%20(node%20v18)
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 0
        < SUBACK 1 [0]
        > PUBLISH $iothub/twin/GET/?$rid=8a1f0b3c-5b0e-4f6e-9a53-5c1d3d1f0a11 ␣
        < PUBLISH $iothub/twin/res/200/?$rid=8a1f0b3c-5b0e-4f6e-9a53-5c1d3d1f0a11 {TWIN}
        > SUBSCRIBE 2 devices/d/messages/devicebound/# 1
        < SUBACK 2 [1]
        > DISCONNECT
        < closed
        > CONNECT d
        < CONNACK 0 session present 1
        > PUBLISH $iothub/twin/GET/?$rid=1
        < PUBLISH $iothub/twin/res/200/?$rid=1 {TWIN}"
    );
    play(&Bench::new().await, &conversation).await;
}

#[tokio::test]
async fn python_uses_qos_1_for_everything() {
    let conversation = format!(
        "> CONNECT d keep-alive 60 user localhost/d/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 1
        < SUBACK 1 [1]
        > PUBLISH 2 $iothub/twin/GET/?$rid=1c9e ␣
        < PUBACK 2
        < PUBLISH $iothub/twin/res/200/?$rid=1c9e {TWIN}
        > SUBSCRIBE 3 $iothub/twin/PATCH/properties/desired/# 1
        < SUBACK 3 [1]
        > UNSUBSCRIBE 4 $iothub/twin/PATCH/properties/desired/#
        < UNSUBACK 4"
    );
    play(&Bench::new().await, &conversation).await;
}

#[tokio::test]
async fn java_subscribes_to_messages_at_every_connect_as_a_module_too() {
    for (id, filter) in
        [("d", "devices/d/messages/devicebound/#"), ("d/m", "devices/d/modules/m/messages/devicebound/#")]
    {
        let conversation = format!(
            "> CONNECT {id} keep-alive 230
            < CONNACK 0 session present 0
            > SUBSCRIBE 1 {filter} 1
            < SUBACK 1 [1]
            > LOST
            > CONNECT {id} keep-alive 230
            < CONNACK 0 session present 1
            > SUBSCRIBE 1 {filter} 1
            < SUBACK 1 [1]"
        );
        play(&Bench::new().await, &conversation).await;
    }
}

#[tokio::test]
async fn csharp_subscribes_again_to_what_a_present_session_has() {
    let conversation = "
        > CONNECT d keep-alive 300
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 1
        < SUBACK 1 [1]
        > SUBSCRIBE 2 devices/d/messages/devicebound/# 1
        < SUBACK 2 [1]
        > LOST
        hub sends a
        > CONNECT d keep-alive 300
        < CONNACK 0 session present 1
        < PUBLISH 1 devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid=a&iothub-ack=full a
        > SUBSCRIBE 3 devices/d/messages/devicebound/# 1
        < SUBACK 3 [1]
        > SUBSCRIBE 4 $iothub/twin/res/# 1
        < SUBACK 4 [1]
        > PUBACK 1
        > PINGREQ
        < PINGRESP";
    play(&Bench::new().await, conversation).await;
}

#[tokio::test]
async fn c_puts_five_filters_into_one_packet_and_writes_its_request_ids_in_decimals() {
    let conversation = format!(
        "> CONNECT d/m keep-alive 240
        < CONNACK 0 session present 0
        > SUBSCRIBE 2 $iothub/twin/res/# 0 $iothub/twin/PATCH/properties/desired/# 0 $iothub/methods/POST/# 0 \
            devices/d/modules/m/# 1 devices/d/modules/m/inputs/# 1
        < SUBACK 2 [0, 0, 0, 1, 1]
        > PUBLISH $iothub/twin/GET/?$rid=4
        < PUBLISH $iothub/twin/res/200/?$rid=4 {TWIN}"
    );
    play(&Bench::new().await, &conversation).await;
}

#[tokio::test]
async fn embedded_c_and_go_connect_in_their_own_spelling() {
    let conversation = format!(
        "> CONNECT d user localhost/d/?api-version=2020-09-30&DeviceClientType=azsdk-c%2F1.5.0
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 devices/+/messages/devicebound/# 1
        < SUBACK 1 [1]
        > LOST
        > CONNECT d clean sr localhost user localhost/d/api-version=2020-09-30
        < CONNACK 0 session present 0
        > SUBSCRIBE 1 $iothub/twin/res/# 1
        < SUBACK 1 [1]
        > PUBLISH 2 $iothub/twin/GET/?$rid=1f
        < PUBACK 2
        < PUBLISH $iothub/twin/res/200/?$rid=1f {TWIN}"
    );
    play(&Bench::new().await, &conversation).await;
}

/// `contract/mqtt.md 9`: modules of an edge device are ordinary identities, and an output is a property of telemetry.
#[tokio::test]
async fn edge_modules_connect_as_any_other_and_send_to_their_outputs() {
    for module in ["$edgeAgent", "$edgeHub"] {
        let bench = Bench::new().await;
        bench.become_edge().await;
        let conversation = format!(
            "> CONNECT d/{module} user localhost/d/{module}/?api-version=2018-06-30
            < CONNACK 0 session present 0
            > SUBSCRIBE 1 devices/d/modules/{module}/# 1 $iothub/twin/res/# 1
            < SUBACK 1 [1, 1]
            > PUBLISH 2 $iothub/twin/GET/?$rid=1
            < PUBACK 2
            < PUBLISH $iothub/twin/res/200/?$rid=1 {TWIN}
            > PUBLISH 3 devices/d/modules/{module}/messages/events/%24.on=alerts&a=1/ hot
            < PUBACK 3
            > PUBLISH 4 devices/d/modules/{module}/inputs/i/a=1 hot
            < closed"
        );
        play(&bench, &conversation).await;
        assert_eq!(bench.events()[0].properties.output_name.as_deref(), Some("alerts"));
    }
}

/// The same message in every SDK's spelling, `contract/mqtt.md 5.4`.
#[tokio::test]
async fn property_bags_are_understood_in_every_sdks_spelling() {
    let rows = [
        ("node", "%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8&colour=dark%20red"),
        ("node module", "%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8&colour=dark%20red/"),
        ("python", "%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8&colour=dark%20red"),
        ("java", "$.mid=m%2F1&$.ce=utf-8&$.ct=application%2Fjson&colour=dark%20red"),
        ("c#", "%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8&colour=dark%20red/"),
        ("c", "colour=dark␣red&%24.mid=m/1&%24.ct=application/json&%24.ce=utf-8"),
        ("c, encoding", "colour=dark%20red&%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8"),
        ("embedded c", "%24.mid=m%2f1&%24.ct=application%2fjson&%24.ce=utf-8&colour=dark%20red"),
        ("go", "%24.ce=utf-8&%24.ct=application%2Fjson&%24.mid=m%2F1&colour=dark%20red"),
        ("an edge sample", "?%24.mid=m%2F1&%24.ct=application%2Fjson&%24.ce=utf-8&colour=dark%20red"),
    ];
    let expected = MessageProperties {
        message_id: Some("m/1".into()),
        content_type: Some("application/json".into()),
        content_encoding: Some("utf-8".into()),
        application: vec![("colour".into(), Some("dark red".into()))],
        ..MessageProperties::default()
    };
    for (sdk, bag) in rows {
        let bench = Bench::new().await;
        let conversation = format!(
            "> CONNECT d
            < CONNACK 0 session present 0
            > PUBLISH 1 devices/d/messages/events/{bag} body
            < PUBACK 1"
        );
        play(&bench, &conversation).await;
        assert_eq!(bench.events()[0].properties, expected, "{sdk}");
    }
}
