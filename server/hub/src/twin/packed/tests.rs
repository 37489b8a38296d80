//! What was packed comes back, and is shown as services and devices know it.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn section(patches: &[Value]) -> Section<'_> {
    let mut section = Section::new(Timestamp::from_unix_secs(1_767_225_600));
    for (n, patch) in (2..).zip(patches) {
        let stamp =
            Stamp { at: Timestamp::from_unix_secs(1_767_225_600 + i64::from(n)), version: Some(n as u64) };
        section.merge(patch.as_object().unwrap(), stamp);
    }
    section
}

fn values(members: &Members<'_>) -> Value {
    let value = |node: &Node<'_>| match &node.content {
        Content::Leaf(Leaf::Written(value)) => (*value).clone(),
        Content::Leaf(Leaf::Stored(text)) => serde_json::from_slice(text).unwrap(),
        Content::Object(members) => values(members),
    };
    Value::Object(members.iter().map(|(key, node)| ((*key).to_owned(), value(node))).collect())
}

fn read(bytes: &[u8]) -> PackedSection<'_> {
    PackedSection::read(bytes, Timestamp::from_unix_secs(0))
}

fn shown_to_service(section: &Section<'_>) -> Value {
    let (mut bytes, mut text) = (Vec::new(), Vec::new());
    pack(section, &mut bytes);
    read(&bytes).write_for_service(&mut text);
    serde_json::from_slice(&text).unwrap()
}

fn shown_to_device(section: &Section<'_>) -> Value {
    let (mut bytes, mut text) = (Vec::new(), Vec::new());
    pack(section, &mut bytes);
    read(&bytes).write_for_device(&mut text);
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn an_untouched_section_shows_only_when_it_was_made() {
    let shown = shown_to_service(&section(&[]));
    assert_eq!(shown, json!({"$metadata": {"$lastUpdated": "2026-01-01T00:00:00.0000000Z"}, "$version": 1}));
}

#[test]
fn metadata_mirrors_the_values_and_an_array_has_one_node() {
    let patches = [json!({"a": {"b": 1}, "list": [1, {"x": 2}]}), json!({"a": {"b": 2}})];
    let section = section(&patches);
    let second = json!({"$lastUpdated": "2026-01-01T00:00:02.0000000Z", "$lastUpdatedVersion": 2});
    let third = json!({"$lastUpdated": "2026-01-01T00:00:03.0000000Z", "$lastUpdatedVersion": 3});
    let mut root = third.clone();
    let mut a = third.clone();
    a["b"] = third;
    root["a"] = a;
    root["list"] = second;
    let expected = json!({"a": {"b": 2}, "list": [1, {"x": 2}], "$metadata": root, "$version": 3});
    assert_eq!(shown_to_service(&section), expected);
}

#[test]
fn devices_see_values_and_version_only() {
    let patches = [json!({"a\"\n": "ü", "e": {}})];
    let section = section(&patches);
    let expected = json!({"a\"\n": "ü", "e": {}, "$version": 2});
    assert_eq!(shown_to_device(&section), expected);
    assert_eq!(shown_to_device(&self::section(&[])), json!({"$version": 1}));
}

#[test]
fn the_keys_of_a_section_are_its_own_members_only() {
    let mut bytes = Vec::new();
    pack(&section(&[json!({"a": {"b": {"c": 1}, "d": 2}, "e": [{"f": 3}], "g": {}})]), &mut bytes);
    assert_eq!(read(&bytes).keys(), ["a", "e", "g"]);
}

#[test]
fn what_a_run_of_bytes_takes_is_known_before_it_is_written() {
    for len in [0, 1, 127, 128, 16_383, 16_384] {
        let mut out = Vec::new();
        put_bytes(&vec![0; len], &mut out);
        assert_eq!(packed_len(&vec![0; len]), out.len());
    }
}

#[test]
fn a_small_twin_takes_little_more_than_its_text() {
    let document = json!({"telemetryInterval": 30, "location": {"building": "43", "floor": 1}, "on": true});
    let mut bytes = Vec::new();
    pack(&section(std::slice::from_ref(&document)), &mut bytes);
    assert!(bytes.len() < document.to_string().len() + 20, "{} bytes", bytes.len());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Bool(true)),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |f| f.is_finite()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!([1, "two", {"three": []}])),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop::collection::hash_map("\\PC{1,4}", inner, 0..6)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn packing_loses_nothing(members in prop::collection::hash_map("[a-e]{1,2}", value(), 0..6), again in value()) {
        let first = Value::Object(members.into_iter().collect());
        let patches = [first, json!({"a": again})];
        let section = section(&patches);
        let (mut bytes, mut repacked) = (Vec::new(), Vec::new());
        pack(&section, &mut bytes);
        pack(&read(&bytes).unpack(), &mut repacked);
        prop_assert_eq!(&repacked, &bytes);
        let mut shown = Vec::new();
        read(&bytes).write_for_device(&mut shown);
        let mut shown: Value = serde_json::from_slice(&shown).unwrap();
        prop_assert_eq!(shown.as_object_mut().unwrap().remove("$version"), Some(json!(3)));
        prop_assert_eq!(shown, values(&section.members));
    }
}
