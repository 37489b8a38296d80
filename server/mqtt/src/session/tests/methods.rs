//! Direct methods: what is told, to whom, and what an answer brings; `contract/mqtt.md 8`.

use hub::method::MethodName;

use super::*;

const METHODS: &str = "$iothub/methods/POST/#";

fn called(name: &str) -> Delivery {
    let name = MethodName::parse(name).expect("a method name");
    let payload = Bytes::from_static(b"null");
    Delivery::MethodInvoked(MethodRequest { id: MethodRequestId(0x2a), name, payload })
}

#[test]
fn a_call_goes_out_with_its_id_in_hex_and_its_payload_as_it_is() {
    let actions = connected(&[METHODS]).on_delivery(called("component*command"), at());
    assert_eq!(shown(&actions), ["PUBLISH $iothub/methods/POST/component*command/?$rid=2a null"]);
}

#[test]
fn a_single_method_s_filter_lets_only_that_through() {
    let mut session = connected(&["$iothub/methods/POST/reboot/#"]);
    assert_eq!(
        shown(&session.on_delivery(called("reboot"), at())),
        ["PUBLISH $iothub/methods/POST/reboot/?$rid=2a null"]
    );
    assert!(session.on_delivery(called("stop"), at()).is_empty());
    assert!(connected(&[DESIRED]).on_delivery(called("reboot"), at()).is_empty());
}

#[test]
fn the_core_is_asked_for_methods_while_any_of_their_filters_is_there() {
    let mut session = connected(&[]);
    let single = "$iothub/methods/POST/reboot/#";
    assert_eq!(
        on(&mut session, subscribe(1, &[(METHODS, 1), (single, 0)])),
        ["Alive", "Subscribe(Methods)", &format!("keep [\"{METHODS}\", \"{single}\"]"), "SUBACK 1 [1, 0]"]
    );
    assert_eq!(
        on(&mut session, unsubscribe(2, METHODS)),
        ["Alive", &format!("keep [\"{single}\"]"), "UnsubAck { packet_id: 2 }"]
    );
    assert_eq!(
        on(&mut session, unsubscribe(3, single)),
        ["Alive", "Unsubscribe(Methods)", "keep []", "UnsubAck { packet_id: 3 }"]
    );
}

#[test]
fn a_kept_subscription_is_restored_before_anything_is_read() {
    let mut session = Session::new();
    session.on_packet(Packet::Connect(Box::new(connect())), at());
    let actions = session.on_reply(Reply::Connected { saved: saved(&[METHODS]), is_resumed: true });
    assert_eq!(shown(&actions), ["ConnAck(Accepted { session_present: true })", "Subscribe(Methods)"]);
}

#[test]
fn an_answer_goes_to_the_core_and_is_acknowledged_when_it_was_taken() {
    for (packet_id, acknowledged) in [(Some(7), vec!["PubAck { packet_id: 7 }"]), (None, vec![])] {
        let mut session = connected(&[METHODS]);
        let answer = publish("$iothub/methods/res/-3/?$rid=2a", packet_id, "{\"a\": 1}");
        assert_eq!(
            on(&mut session, Packet::Publish(answer)),
            [format!("answer 42 with -3 {:?} {packet_id:?}", b"{\"a\": 1}".escape_ascii().to_string())]
        );
        let actions = session.on_reply(Reply::MethodAnswered { packet_id });
        assert_eq!(shown(&actions), acknowledged);
    }
}

#[test]
fn an_answer_to_what_cannot_be_a_call_is_acknowledged_and_ignored() {
    let answer = publish("$iothub/methods/res/200/?$rid=nonsense", Some(3), "{}");
    assert_eq!(on(&mut connected(&[]), Packet::Publish(answer)), ["Alive", "PubAck { packet_id: 3 }"]);
}

#[test]
fn a_malformed_answer_or_a_call_from_the_client_closes() {
    for topic in [
        "$iothub/methods/res/ok/?$rid=1",
        "$iothub/methods/res/200/",
        "$iothub/methods/res/200/?rid=1",
        "$iothub/methods/POST/reboot/?$rid=1",
    ] {
        let actions = on(&mut connected(&[METHODS]), Packet::Publish(publish(topic, None, "")));
        let [only] = actions.as_slice() else { panic!("{topic}: {actions:?}") };
        assert!(only.starts_with("close Broken(UnknownTopic"), "{topic}: {only}");
    }
}
