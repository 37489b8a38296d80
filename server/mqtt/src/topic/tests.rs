//! What topics parse to, and that they come back the same.

use proptest::prelude::*;

use super::*;

fn rid(text: &str) -> RequestId<'_> {
    RequestId::parse(text).expect("a request id")
}

fn telemetry<'a>(device: &'a str, module: Option<&'a str>, bag: &'a str) -> Option<Topic<'a>> {
    Some(Topic::Telemetry { device, module, bag })
}

#[test]
fn telemetry_topics_give_their_identity_and_their_bag() {
    let rows = [
        ("devices/d/messages/events", telemetry("d", None, "")),
        ("devices/d/messages/events/", telemetry("d", None, "")),
        ("devices/d/messages/events//", telemetry("d", None, "")),
        ("devices/d/messages/events/a=1&b=2", telemetry("d", None, "a=1&b=2")),
        ("devices/d/messages/events/a=1/", telemetry("d", None, "a=1")),
        ("devices/d/messages/events/?a=1", telemetry("d", None, "a=1")),
        (
            "devices/d/messages/events/%24.ct=application/json&x= y",
            telemetry("d", None, "%24.ct=application/json&x= y"),
        ),
        ("devices/d/modules/m/messages/events/%24.on=o/", telemetry("d", Some("m"), "%24.on=o")),
        ("devices/modules/messages/events/", telemetry("modules", None, "")),
    ];
    for (text, expected) in rows {
        assert_eq!(Topic::parse(text), expected, "{text}");
    }
}

#[test]
fn a_telemetry_topic_belongs_to_one_identity_only() {
    let device = IdentityId::parse("d", None).expect("a device id");
    let module = IdentityId::parse("d", Some("m")).expect("a module id");
    let rows = [
        ("devices/d/messages/events/", true, false),
        ("devices/d/modules/m/messages/events/", false, true),
        ("devices/D/messages/events/", false, false),
        ("devices/d/modules/M/messages/events/", false, false),
        ("devices/%64/messages/events/", false, false),
    ];
    for (text, of_device, of_module) in rows {
        let topic = Topic::parse(text).expect("a telemetry topic");
        assert_eq!(topic.is_telemetry_of(&device), of_device, "{text}");
        assert_eq!(topic.is_telemetry_of(&module), of_module, "{text}");
    }
}

#[test]
fn twin_topics_give_their_request_id_as_it_was_written() {
    let guid = "0fB5-%2e";
    assert_eq!(Topic::parse("$iothub/twin/GET/?$rid=0fB5-%2e"), Some(Topic::TwinGet { rid: rid(guid) }));
    assert_eq!(
        Topic::parse("$iothub/twin/GET/?x=y&$rid=1&$version=3"),
        Some(Topic::TwinGet { rid: rid("1") })
    );
    assert_eq!(
        Topic::parse("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=7"),
        Some(Topic::PatchReported { rid: Some(rid("1")), version: Version::parse("7") })
    );
    for unanswered in ["", "?", "?$rid="] {
        let text = format!("$iothub/twin/PATCH/properties/reported/{unanswered}");
        assert_eq!(Topic::parse(&text), Some(Topic::PatchReported { rid: None, version: None }), "{text}");
    }
}

#[test]
fn a_version_that_is_no_number_is_still_a_version() {
    let topic = Topic::parse("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=x");
    let Some(Topic::PatchReported { version: Some(version), .. }) = topic else { panic!("a reported patch") };
    assert_eq!(version.number(), None);
}

#[test]
fn method_responses_give_their_status() {
    for (text, status) in [("200", 200), ("0", 0), ("-1", -1), ("-2147483648", i32::MIN)] {
        let text = format!("$iothub/methods/res/{text}/?$rid=a");
        assert_eq!(Topic::parse(&text), Some(Topic::MethodResponse { rid: rid("a"), status }), "{text}");
    }
}

#[test]
fn a_method_response_names_its_call_in_hex_and_any_other_rid_names_none() {
    for (text, id) in [("0", Some(0)), ("1f", Some(0x1f)), ("ffffffffffffffff", Some(u64::MAX))] {
        assert_eq!(rid(text).of_method(), id.map(MethodRequestId), "{text}");
    }
    for text in ["g", "-1", "10000000000000000", "1/", "0fb5-2e", " 1"] {
        assert_eq!(rid(text).of_method(), None, "{text}");
    }
}

#[test]
fn any_other_topic_is_none() {
    let rows = [
        "",
        "a",
        "devices/d",
        "devices/d/messages/eventsx",
        "devices/d/messages/devicebound/",
        "devices/d/modules/m",
        "devices/d/modules/m/inputs/i/",
        "devices/+/messages/events/",
        "devices/d/messages/events/a#",
        "devices/d/messages/events/\0",
        "DEVICES/d/messages/events/",
        "$iothub/twin/GET/",
        "$iothub/twin/GET/?$rid=",
        "$iothub/twin/GET/?%24rid=1",
        "$iothub/twin/GET?$rid=1",
        "$iothub/methods/res/ok/?$rid=1",
        "$iothub/methods/res/200/",
        "$iothub/methods/res/200",
        "$iothub/methods/res/2147483648/?$rid=1",
        "$iothub/methods/res//?$rid=1",
        "$iothub/methods/res/200/?$rid=",
        "$iothub/methods/res/200/extra/?$rid=1",
        "$iothub/methods/res/?$rid=1",
        "$iothub/methods/POST/m",
        "$iothub/methods/POST/m/",
        "$iothub/methods/POST/?$rid=1",
        "$iothub/methods/PUT/m/?$rid=1",
        "$iothub/telemetry",
    ];
    for text in rows {
        assert_eq!(Topic::parse(text), None, "{text:?}");
    }
}

#[test]
fn answers_and_notifications_are_spelled_as_sdks_expect() {
    let answer = Topic::TwinResponse { rid: rid("1%2e"), status: 200, version: None };
    assert_eq!(answer.to_string(), "$iothub/twin/res/200/?$rid=1%2e");
    let answer = Topic::TwinResponse { rid: rid("1"), status: 204, version: Some(7) };
    assert_eq!(answer.to_string(), "$iothub/twin/res/204/?$rid=1&$version=7");
    let notification = Topic::DesiredChanged { version: 9 };
    assert_eq!(notification.to_string(), "$iothub/twin/PATCH/properties/desired/?$version=9");
    let request = Topic::MethodRequest { name: "thermostat1*getMaxMinReport", rid: MethodRequestId(0x1af) };
    assert_eq!(request.to_string(), "$iothub/methods/POST/thermostat1*getMaxMinReport/?$rid=1af");
}

#[test]
fn an_answer_to_the_longest_request_id_is_still_a_topic() {
    let longest = "r".repeat(MAX_REQUEST_ID_BYTES);
    let answer = Topic::TwinResponse { rid: rid(&longest), status: 204, version: Some(u64::MAX) };
    assert!(answer.to_string().len() <= MAX_TEXT_BYTES);
    assert_eq!(RequestId::parse(&format!("{longest}r")), None);
}

proptest! {
    #[test]
    fn what_is_formatted_parses_to_the_same(
        which in 0..7,
        device in "[A-Za-z0-9:.%_*?!(),=@;$'-]{1,128}",
        module in proptest::option::of("[A-Za-z0-9:.%_*?!(),=@;$'-]{1,128}"),
        bag in "([a-zA-Z0-9%&=./ ]*[a-z])?",
        rid in "[^&+#\0]{1,40}",
        number in any::<u64>(),
        status in any::<i32>(),
        has_version in any::<bool>(),
    ) {
        let rid = RequestId::parse(&rid).expect("the pattern makes request ids");
        let digits = number.to_string();
        let version = has_version.then_some(number);
        let topic = match which {
            0 => Topic::DesiredChanged { version: number },
            1 => Topic::MethodResponse { rid, status },
            2 => Topic::PatchReported { rid: Some(rid), version: Version::parse(&digits).filter(|_| has_version) },
            3 => Topic::Telemetry { device: &device, module: module.as_deref(), bag: &bag },
            4 => Topic::TwinGet { rid },
            5 => Topic::MethodRequest { name: &device, rid: MethodRequestId(number) },
            _ => Topic::TwinResponse { rid, status: 100 + (status.unsigned_abs() % 900) as u16, version },
        };
        let text = topic.to_string();
        prop_assert_eq!(Topic::parse(&text), Some(topic), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = Topic::parse(&text);
    }
}
