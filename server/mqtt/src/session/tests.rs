//! Each test is a conversation: what the client or the core says, and the actions that follow, in short words.

use hub::device_session::{DesiredChange, DisconnectReason, SavedSubscription};
use hub::error::HubError;

use super::*;
use crate::packet::{FilterRequest, SubscribeCode};

const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
const TWIN_RESPONSES: &str = "$iothub/twin/res/#";

fn shown(actions: &Actions) -> Vec<String> {
    actions.iter().map(show).collect()
}

fn show(action: &Action) -> String {
    match action {
        Action::Ask(Question::AnswerMethod { packet_id, id, response }) => {
            let payload = response.payload.as_deref().map(|it| it.escape_ascii().to_string());
            format!(
                "answer {} with {} {:?} {packet_id:?}",
                id.0,
                response.status,
                payload.unwrap_or_default()
            )
        }
        Action::Ask(Question::ReadTwin(request)) => format!("read twin {:?}", request.rid),
        Action::Ask(Question::SendTelemetry { packet_id, message }) => {
            format!("telemetry {packet_id:?} {:?} {:?}", message.body, message.properties.application)
        }
        Action::Ask(Question::SettleMessage { token: _, how }) => format!("{how:?}"),
        Action::Ask(Question::TakeMessage) => "take a message".into(),
        Action::Ask(Question::UpdateReported { request, patch, version }) => {
            let version = version.map(|ExpectedVersion(number)| number);
            format!("report {:?} {patch:?} {version:?}", request.rid)
        }
        Action::Close(ending) => format!("close {ending:?}"),
        Action::Connect(login) => format!("connect {} at {}", login.identity, login.host),
        Action::Send(Outgoing::Publish { topic, payload, delivery }) => {
            let qos_one = delivery
                .map(|QosOne { dup, packet_id }| format!("{packet_id} {}", if dup { "DUP " } else { "" }));
            let payload = String::from_utf8_lossy(payload);
            format!("PUBLISH {}{topic} {payload}", qos_one.unwrap_or_default())
        }
        Action::Send(Outgoing::SubAck { packet_id, codes }) => {
            let codes: Vec<_> = codes
                .iter()
                .map(|code| match code {
                    SubscribeCode::Granted(qos) => qos.number(),
                    SubscribeCode::Refused => 0x80,
                })
                .collect();
            format!("SUBACK {packet_id} {codes:?}")
        }
        Action::Send(other) => format!("{other:?}"),
        Action::Tell(Notice::Keep(saved)) => {
            let filters: Vec<_> = saved.subscriptions.iter().map(|it| &*it.filter).collect();
            format!("keep {filters:?}")
        }
        Action::Tell(notice) => format!("{notice:?}"),
    }
}

fn at() -> Timestamp {
    Timestamp::from_unix_secs(1_800_000_000)
}

fn connect() -> Connect {
    Connect {
        clean_session: false,
        client_id: "d/m".into(),
        keep_alive_secs: 60,
        password: "secret".into(),
        username: "h/d/m/?api-version=2021-04-12".into(),
        will: None,
    }
}

fn publish(topic: &str, packet_id: Option<u16>, body: &'static str) -> Publish {
    Publish {
        dup: false,
        packet_id,
        payload: Bytes::from_static(body.as_bytes()),
        retain: false,
        topic: Bytes::copy_from_slice(topic.as_bytes()),
    }
}

fn subscribe(packet_id: u16, filters: &[(&str, u8)]) -> Packet {
    let filters = filters.iter().map(|(filter, qos)| FilterRequest { filter: (*filter).into(), qos: *qos });
    Packet::Subscribe { packet_id, filters: filters.collect() }
}

fn unsubscribe(packet_id: u16, filter: &str) -> Packet {
    Packet::Unsubscribe { packet_id, filters: vec![filter.into()] }
}

fn saved(filters: &[&str]) -> SavedSession {
    let saved = |filter: &&str| SavedSubscription { filter: (*filter).into(), qos: 0, created_at: at() };
    SavedSession { subscriptions: filters.iter().map(saved).collect() }
}

/// A module that is online and subscribed to these.
fn connected(filters: &[&str]) -> Session {
    let mut session = Session::new();
    session.on_packet(Packet::Connect(Box::new(connect())), at());
    session.on_reply(Reply::Connected { saved: saved(filters), is_resumed: !filters.is_empty() });
    session
}

fn on(session: &mut Session, packet: Packet) -> Vec<String> {
    shown(&session.on_packet(packet, at()))
}

fn desired(version: u64) -> Delivery {
    Delivery::DesiredChanged(DesiredChange { version, patch: Bytes::from_static(b"{\"a\":1}") })
}

fn request(packet_id: Option<u16>, rid: &str) -> TwinRequest {
    TwinRequest { packet_id, rid: Some(rid.into()) }
}

fn failure(code: ErrorCode) -> Failure {
    let error = HubError::new(code, "no");
    Failure { body: Bytes::from_static(b"{error}"), code, ending: Ending::Failed(error) }
}

mod messages;
mod methods;

mod connecting {
    use super::*;

    fn refused(change: impl FnOnce(&mut Connect)) -> Vec<String> {
        let mut connect = connect();
        change(&mut connect);
        on(&mut Session::new(), Packet::Connect(Box::new(connect)))
    }

    #[test]
    fn a_connect_goes_to_the_core_and_is_answered_by_its_word() {
        let mut session = Session::new();
        assert_eq!(on(&mut session, Packet::Connect(Box::new(connect()))), ["connect d/m at h"]);
        let accepted = session.on_reply(Reply::Connected { saved: saved(&[]), is_resumed: false });
        assert_eq!(shown(&accepted), ["ConnAck(Accepted { session_present: false })"]);
    }

    #[test]
    fn a_connect_the_core_refuses_is_answered_with_5_and_the_connection_closed() {
        let mut session = Session::new();
        session.on_packet(Packet::Connect(Box::new(connect())), at());
        let actions = session.on_failed(Ending::Refused);
        assert_eq!(shown(&actions), ["ConnAck(NotAuthorized)", "close Refused"]);
        assert!(on(&mut session, Packet::PingReq).is_empty());
    }

    #[test]
    fn a_kept_session_brings_its_subscriptions_back_without_a_subscribe() {
        let mut session = Session::new();
        session.on_packet(Packet::Connect(Box::new(connect())), at());
        let reply = Reply::Connected { saved: saved(&[DESIRED, TWIN_RESPONSES]), is_resumed: true };
        assert_eq!(
            shown(&session.on_reply(reply)),
            ["ConnAck(Accepted { session_present: true })", "Subscribe(DesiredProperties)"]
        );
        assert_eq!(
            shown(&session.on_delivery(desired(3), at())),
            ["PUBLISH $iothub/twin/PATCH/properties/desired/?$version=3 {\"a\":1}"]
        );
    }

    #[test]
    fn what_this_head_refuses_is_answered_with_5_too() {
        type Change = fn(&mut Connect);
        let rows: [(&str, Change); 8] = [
            ("client id of another", |it| it.client_id = "d/other".into()),
            ("client id in another case", |it| it.client_id = "D/m".into()),
            ("client id of the device", |it| it.client_id = "d".into()),
            ("no username", |it| it.username.clear()),
            ("username outside the grammar", |it| it.username = "d/m".into()),
            ("id with a character that none has", |it| {
                it.username = "h/d/m /?api-version=1".replace("m ", "m\"")
            }),
            ("Will on another topic", |it| it.will = Some(publish("devices/d/messages/events/", None, "x"))),
            ("Will on no topic of the hub", |it| it.will = Some(publish("will", None, "x"))),
        ];
        for (name, change) in rows {
            let actions = refused(change);
            let [answer, close] = actions.as_slice() else { panic!("{name}: {actions:?}") };
            assert_eq!(answer, "ConnAck(NotAuthorized)", "{name}");
            assert!(close.starts_with("close RefusedHere"), "{name}: {close}");
        }
    }

    #[test]
    fn another_protocol_is_refused_with_5_and_garbage_without_an_answer() {
        for error in [WireError::UnsupportedProtocol, WireError::WillQosTwo] {
            let actions = shown(&Session::new().on_wire_error(error));
            assert_eq!(actions.first().map(String::as_str), Some("ConnAck(NotAuthorized)"), "{error}");
        }
        let actions = shown(&Session::new().on_wire_error(WireError::NotConnect));
        assert_eq!(actions, ["close Broken(Wire(NotConnect))"]);
        assert_eq!(on(&mut Session::new(), Packet::PingReq), ["close Broken(Wire(NotConnect))"]);
    }

    #[test]
    fn a_will_becomes_a_message_of_its_identity() {
        let mut connect = connect();
        let mut will = publish("devices/d/modules/m/messages/events/a=1", None, "gone");
        will.retain = true;
        connect.will = Some(will);
        let mut actions = Session::new().on_packet(Packet::Connect(Box::new(connect)), at());
        let Some(Action::Connect(login)) = actions.pop() else { panic!("a CONNECT to carry out") };
        let will = login.will.expect("a Will");
        assert_eq!(will.body, "gone");
        let names: Vec<_> = will.properties.application.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "mqtt-retain"]);
    }

    #[test]
    fn the_client_may_be_silent_for_one_and_a_half_keep_alives_up_to_the_cap() {
        for (keep_alive_secs, expected) in [(1, 1.5), (60, 90.0), (1178, 1767.0), (1179, 1767.0), (0, 1767.0)]
        {
            let mut session = Session::new();
            session.on_packet(Packet::Connect(Box::new(Connect { keep_alive_secs, ..connect() })), at());
            assert_eq!(session.silence_limit().as_secs_f64(), expected, "{keep_alive_secs} s");
        }
    }

    #[test]
    fn a_second_connect_closes() {
        let actions = on(&mut connected(&[]), Packet::Connect(Box::new(connect())));
        assert_eq!(actions, ["close Broken(SecondConnect)"]);
    }
}

mod subscribing {
    use super::*;

    #[test]
    fn the_core_knows_before_the_client_is_answered() {
        let mut session = connected(&[]);
        let filters =
            [(TWIN_RESPONSES, 0), (DESIRED, 2), ("devices/d/modules/m/#", 1), ("$iothub/nothing/#", 0)];
        assert_eq!(
            on(&mut session, subscribe(7, &filters)),
            [
                "Alive",
                "Subscribe(DesiredProperties)",
                &format!("keep [\"{TWIN_RESPONSES}\", \"{DESIRED}\", \"devices/d/modules/m/#\"]"),
                "SUBACK 7 [0, 1, 1, 128]",
            ]
        );
    }

    #[test]
    fn a_subscription_that_changes_nothing_is_not_kept_again() {
        let mut session = connected(&[DESIRED]);
        assert_eq!(on(&mut session, subscribe(8, &[(DESIRED, 0)])), ["Alive", "SUBACK 8 [0]"]);
    }

    #[test]
    fn nothing_is_kept_of_a_clean_session() {
        let mut session = Session::new();
        let clean = Connect { clean_session: true, ..connect() };
        session.on_packet(Packet::Connect(Box::new(clean)), at());
        session.on_reply(Reply::Connected { saved: SavedSession::default(), is_resumed: false });
        assert_eq!(
            on(&mut session, subscribe(1, &[(DESIRED, 0)])),
            ["Alive", "Subscribe(DesiredProperties)", "SUBACK 1 [0]"]
        );
    }

    #[test]
    fn unsubscribe_is_always_acknowledged_and_ends_the_notifications() {
        let mut session = connected(&[DESIRED]);
        assert_eq!(
            on(&mut session, unsubscribe(1, "never/subscribed")),
            ["Alive", "UnsubAck { packet_id: 1 }"]
        );
        assert_eq!(
            on(&mut session, unsubscribe(2, DESIRED)),
            ["Alive", "Unsubscribe(DesiredProperties)", "keep []", "UnsubAck { packet_id: 2 }"]
        );
        assert!(session.on_delivery(desired(4), at()).is_empty());
    }
}

mod publishing {
    use super::*;

    #[test]
    fn telemetry_is_acknowledged_when_the_core_has_it() {
        let mut session = connected(&[]);
        let mut message = publish("devices/d/modules/m/messages/events/a=1/", Some(9), "hi");
        message.dup = true;
        message.retain = true;
        assert_eq!(
            on(&mut session, Packet::Publish(message)),
            [
                "telemetry Some(9) b\"hi\" [(\"a\", Some(\"1\")), (\"mqtt-retain\", Some(\"true\")), (\"mqtt-dup\", Some(\"true\"))]"
            ]
        );
        let accepted = session.on_reply(Reply::TelemetryAccepted { packet_id: Some(9) });
        assert_eq!(shown(&accepted), ["PubAck { packet_id: 9 }"]);
        assert!(session.on_reply(Reply::TelemetryAccepted { packet_id: None }).is_empty());
    }

    #[test]
    fn telemetry_the_core_declines_closes_without_an_acknowledgement() {
        let mut session = connected(&[]);
        let error = HubError::new(ErrorCode::MessageTooLarge, "too large");
        let actions = shown(&session.on_failed(Ending::Failed(error)));
        assert!(matches!(actions.as_slice(), [only] if only.starts_with("close Failed")), "{actions:?}");
    }

    #[test]
    fn a_topic_that_is_not_the_clients_closes() {
        let rows = [
            ("devices/d/messages/events/", "TopicOfAnother"),
            ("devices/d/modules/other/messages/events/", "TopicOfAnother"),
            ("devices/d/modules/m/messages/events/+", "UnknownTopic"),
            ("devices/d/modules/m/inputs/i/", "UnknownTopic"),
            ("$iothub/twin/GET/", "UnknownTopic"),
            ("$iothub/twin/res/200/?$rid=1", "UnknownTopic"),
            ("$iothub/twin/PATCH/properties/desired/?$version=1", "UnknownTopic"),
            ("anything", "UnknownTopic"),
        ];
        for (topic, expected) in rows {
            let actions = on(&mut connected(&[]), Packet::Publish(publish(topic, Some(1), "")));
            let expected = format!("close Broken({expected}");
            assert!(
                matches!(actions.as_slice(), [close] if close.starts_with(&expected)),
                "{topic}: {actions:?}"
            );
        }
        let mut not_text = publish("", None, "");
        not_text.topic = Bytes::from_static(b"devices/\xff");
        assert_eq!(on(&mut connected(&[]), Packet::Publish(not_text)), ["close Broken(TopicNotText)"]);
    }

    #[test]
    fn a_ping_is_answered_and_an_acknowledgement_of_nothing_is_not() {
        let mut session = connected(&[]);
        assert_eq!(on(&mut session, Packet::PingReq), ["Alive", "PingResp"]);
        assert_eq!(on(&mut session, Packet::PubAck { packet_id: 1 }), ["Alive"]);
        assert_eq!(on(&mut session, Packet::Disconnect), ["close Goodbye"]);
    }
}

mod twins {
    use super::*;

    #[test]
    fn a_twin_is_read_acknowledged_and_then_answered_with_the_rid_as_it_was_written() {
        let mut session = connected(&[TWIN_RESPONSES]);
        let get = Packet::Publish(publish("$iothub/twin/GET/?$rid=0fA%2e", Some(5), " "));
        assert_eq!(on(&mut session, get), ["read twin Some(\"0fA%2e\")"]);
        let twin = Bytes::from_static(b"{\"desired\":{}}");
        let reply = Reply::Twin { request: request(Some(5), "0fA%2e"), result: Ok(twin) };
        assert_eq!(
            shown(&session.on_reply(reply)),
            ["PubAck { packet_id: 5 }", "PUBLISH $iothub/twin/res/200/?$rid=0fA%2e {\"desired\":{}}"]
        );
    }

    #[test]
    fn a_reported_patch_is_answered_with_its_new_version_and_no_body() {
        let mut session = connected(&[TWIN_RESPONSES]);
        let patch = publish("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=6", None, "{\"a\":1}");
        assert_eq!(
            on(&mut session, Packet::Publish(patch)),
            ["report Some(\"1\") b\"{\\\"a\\\":1}\" Some(Some(6))"]
        );
        let reply = Reply::Reported { request: request(None, "1"), result: Ok(7) };
        assert_eq!(shown(&session.on_reply(reply)), ["PUBLISH $iothub/twin/res/204/?$rid=1&$version=7 "]);
    }

    #[test]
    fn without_a_rid_or_a_subscription_the_request_is_done_and_not_answered() {
        let mut subscribed = connected(&[TWIN_RESPONSES]);
        let nameless = TwinRequest { packet_id: Some(5), rid: None };
        let actions = subscribed.on_reply(Reply::Reported { request: nameless, result: Ok(7) });
        assert_eq!(shown(&actions), ["PubAck { packet_id: 5 }"]);

        let mut silent = connected(&[]);
        let actions = silent.on_reply(Reply::Reported { request: request(Some(5), "1"), result: Ok(7) });
        assert_eq!(shown(&actions), ["PubAck { packet_id: 5 }"]);
    }

    #[test]
    fn a_declined_request_is_acknowledged_and_answered_with_the_error_as_json() {
        let mut session = connected(&[TWIN_RESPONSES]);
        let reply = Reply::Reported {
            request: request(Some(5), "1"),
            result: Err(failure(ErrorCode::IotHubFormatError)),
        };
        assert_eq!(
            shown(&session.on_reply(reply)),
            ["PubAck { packet_id: 5 }", "PUBLISH $iothub/twin/res/400/?$rid=1 {error}"]
        );
    }

    #[test]
    fn a_request_of_an_identity_that_is_gone_closes() {
        let mut session = connected(&[TWIN_RESPONSES]);
        let reply =
            Reply::Twin { request: request(Some(5), "1"), result: Err(failure(ErrorCode::ModuleNotFound)) };
        let actions = shown(&session.on_reply(reply));
        assert!(matches!(actions.as_slice(), [close] if close.starts_with("close Failed")), "{actions:?}");
    }

    #[test]
    fn a_session_the_core_ends_says_nothing_more() {
        let mut session = connected(&[DESIRED]);
        let actions = session.on_delivery(Delivery::Closed(DisconnectReason::TakenOver), at());
        assert_eq!(shown(&actions), ["close Kicked(TakenOver)"]);
        assert!(session.on_delivery(desired(9), at()).is_empty());
    }
}
