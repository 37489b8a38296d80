//! Twins through their operations: versions, etags, metadata, notifications.

use serde_json::{Value, json};

use super::*;
use crate::device_session::DesiredChange;
use crate::error::ErrorCode;
use crate::gate::operations::{PatchTwin, ReadOwnTwin};
use crate::limits;
use crate::testing::{admit, admit_on, connect, hub, identity_grant, options, owner, register, written};
use crate::twin::Arrays;

fn patch(hub: &Hub, identity: &IdentityId, body: Value) -> Result<Twin, HubError> {
    let patch = TwinPatch::parse(body, Arrays::Allowed)?;
    hub.patch_twin(owner::<PatchTwin>(hub, identity.clone()), &patch, &IfMatch::Absent)
}

fn replace(hub: &Hub, identity: &IdentityId, body: Value) -> Result<Twin, HubError> {
    hub.replace_twin(
        owner(hub, identity.clone()),
        &TwinPatch::parse(body, Arrays::Allowed)?,
        &IfMatch::Absent,
    )
}

fn report(hub: &Hub, identity: &IdentityId, body: &Value) -> Result<u64, HubError> {
    report_expecting(hub, identity, body, None)
}

fn report_expecting(
    hub: &Hub,
    identity: &IdentityId,
    body: &Value,
    version: Option<u64>,
) -> Result<u64, HubError> {
    let by = admit(hub, &identity_grant(identity, None), identity.clone()).unwrap();
    let patch = ReportedPatch::parse(body.to_string().as_bytes(), Arrays::Allowed)?;
    hub.update_reported(by, &patch, version)
}

fn shown(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    serde_json::from_str(&written(write)).unwrap()
}

fn tags(twin: &Twin) -> Value {
    shown(|out| twin.write_tags(out))
}

fn desired(twin: &Twin) -> Value {
    shown(|out| twin.write_desired(out))
}

fn reported(twin: &Twin) -> Value {
    shown(|out| twin.write_reported(out))
}

fn values(mut value: Value) -> Value {
    value.as_object_mut().unwrap().retain(|key, _| key != "$metadata");
    value
}

#[test]
fn a_new_twin_is_the_captured_one() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", Some("m"));
    let twin = hub.twin(owner(&hub, identity)).unwrap();
    assert_eq!((twin.etag.as_str(), twin.version), ("AAAAAAAAAAE=", 2));
    let empty = json!({"$metadata": {"$lastUpdated": "2026-01-01T00:00:00.0000000Z"}, "$version": 1});
    assert_eq!((desired(&twin), reported(&twin)), (empty.clone(), empty));
    assert_eq!(tags(&twin), json!({}));
}

#[test]
fn a_patch_of_tags_leaves_the_desired_version_and_one_of_desired_moves_it() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let tagged = patch(&hub, &identity, json!({"tags": {"floor": 1}})).unwrap();
    assert_eq!((tagged.version, tagged.etag.as_str()), (3, "AAAAAAAAAAI="));
    assert_eq!(desired(&tagged)["$version"], 1);
    let twin = patch(&hub, &identity, json!({"properties": {"desired": {"a": 1}}})).unwrap();
    assert_eq!((twin.version, twin.etag.as_str()), (4, "AAAAAAAAAAM="));
    assert_eq!(values(desired(&twin)), json!({"a": 1, "$version": 2}));
    assert_eq!(tags(&twin), json!({"floor": 1}));
}

#[test]
fn null_clears_a_whole_section() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    patch(&hub, &identity, json!({"tags": {"t": 1}, "properties": {"desired": {"a": 1}}})).unwrap();
    let twin = patch(&hub, &identity, json!({"tags": null, "properties": {"desired": null}})).unwrap();
    assert_eq!(tags(&twin), json!({}));
    assert_eq!(values(desired(&twin)), json!({"$version": 3}));
}

#[test]
fn a_replace_drops_what_it_does_not_name_and_leaves_absent_sections() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    patch(&hub, &identity, json!({"tags": {"t": 1}, "properties": {"desired": {"a": 1, "b": 2}}})).unwrap();
    let twin = replace(&hub, &identity, json!({"properties": {"desired": {"b": 3, "c": null}}})).unwrap();
    assert_eq!(values(desired(&twin)), json!({"b": 3, "$version": 3}));
    assert_eq!(tags(&twin), json!({"t": 1}));
}

#[test]
fn a_patch_that_changes_nothing_takes_a_version_all_the_same() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    patch(&hub, &identity, json!({"properties": {"desired": {"a": 1}}})).unwrap();
    let same = patch(&hub, &identity, json!({"properties": {"desired": {"a": 1}}})).unwrap();
    assert_eq!((same.version, values(desired(&same))), (4, json!({"a": 1, "$version": 3})));
    let nothing = patch(&hub, &identity, json!({"properties": {}})).unwrap();
    assert_eq!((nothing.version, nothing.etag), (same.version, same.etag), "no section was named");
}

#[test]
fn what_becomes_empty_stays_and_what_is_deleted_leaves_no_metadata() {
    let (hub, clock) = hub();
    let identity = register(&hub, "d", None);
    patch(
        &hub,
        &identity,
        json!({"tags": {"t": {"u": 1}}, "properties": {"desired": {"a": {"b": 1}, "c": 2}}}),
    )
    .unwrap();
    clock.advance(std::time::Duration::from_secs(1));
    let deleting = json!({"tags": {"t": {"u": null}}, "properties": {"desired": {"a": {"b": null}}}});
    let twin = patch(&hub, &identity, deleting).unwrap();
    assert_eq!(tags(&twin), json!({"t": {}}));
    let first = json!({"$lastUpdated": "2026-01-01T00:00:00.0000000Z", "$lastUpdatedVersion": 2});
    let second = json!({"$lastUpdated": "2026-01-01T00:00:01.0000000Z", "$lastUpdatedVersion": 3});
    let mut metadata = second.clone();
    metadata["a"] = second;
    metadata["c"] = first;
    assert_eq!(desired(&twin), json!({"a": {}, "c": 2, "$metadata": metadata, "$version": 3}));
}

#[test]
fn reports_move_version_but_not_etag_and_carry_no_last_updated_version() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", Some("m"));
    assert_eq!(report(&hub, &identity, &json!({"fw": "1.0", "old": null})).unwrap(), 2);
    let twin = hub.twin(owner(&hub, identity)).unwrap();
    assert_eq!((twin.version, twin.etag.as_str()), (3, "AAAAAAAAAAE="));
    let stamp = json!({"$lastUpdated": "2026-01-01T00:00:00.0000000Z"});
    let metadata = json!({"$lastUpdated": "2026-01-01T00:00:00.0000000Z", "fw": stamp});
    assert_eq!(reported(&twin), json!({"fw": "1.0", "$metadata": metadata, "$version": 2}));
}

#[test]
fn a_report_for_another_version_than_the_stored_one_changes_nothing() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    assert_eq!(report_expecting(&hub, &identity, &json!({"a": 1}), Some(1)).unwrap(), 2);
    for stale in [0, 1, 3, u64::MAX] {
        let refused = report_expecting(&hub, &identity, &json!({"a": 2}), Some(stale)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::PreconditionFailed, "{stale}");
    }
    let twin = hub.twin(owner(&hub, identity.clone())).unwrap();
    assert_eq!((values(reported(&twin)), twin.version), (json!({"a": 1, "$version": 2}), 3));
    assert_eq!(report_expecting(&hub, &identity, &json!({"a": 2}), Some(2)).unwrap(), 3);
}

#[test]
fn a_stale_etag_changes_nothing() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let change = TwinPatch::parse(json!({"tags": {"a": 1}}), Arrays::Allowed).unwrap();
    let stale = IfMatch::parse(Some("\"AAAAAAAAAAk=\""));
    let refused = hub.patch_twin(owner(&hub, identity.clone()), &change, &stale).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PreconditionFailed);
    assert_eq!(hub.twin(owner(&hub, identity.clone())).unwrap().version, 2);
    let current = IfMatch::parse(Some("\"AAAAAAAAAAE=\""));
    assert!(hub.patch_twin(owner(&hub, identity), &change, &current).is_ok());
}

#[test]
fn a_section_at_its_limit_is_kept_and_one_byte_more_refused_whole() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let full = |bytes: usize| {
        let mut members: serde_json::Map<String, Value> =
            (0..7).map(|n| (format!("k{n}"), Value::from("x".repeat(4096)))).collect();
        members.insert("k7".into(), "x".repeat(bytes - 7 * (4096 + 2) - 2).into());
        Value::Object(members)
    };
    patch(&hub, &identity, json!({"properties": {"desired": full(32 * 1024)}})).unwrap();
    let over =
        patch(&hub, &identity, json!({"tags": {"t": 1}, "properties": {"desired": {"k": ""}}})).unwrap_err();
    assert_eq!(over.code(), ErrorCode::ArgumentInvalid);
    assert_eq!(report(&hub, &identity, &full(32 * 1024)).unwrap(), 2);
    assert_eq!(report(&hub, &identity, &json!({"k": ""})).unwrap_err().code(), ErrorCode::ArgumentInvalid);
    let twin = hub.twin(owner(&hub, identity.clone())).unwrap();
    assert_eq!((twin.version, tags(&twin)), (4, json!({})));
    let full_tags =
        |bytes: usize| json!({"tags": {"a": "x".repeat(4095), "b": "x".repeat(bytes - 4096 - 1)}});
    patch(&hub, &identity, full_tags(8 * 1024)).unwrap();
    assert!(patch(&hub, &identity, json!({"tags": {"c": ""}})).is_err());
}

#[test]
fn the_owner_reads_desired_and_reported_without_metadata_or_tags() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    patch(&hub, &identity, json!({"tags": {"t": 1}, "properties": {"desired": {"a": {"b": 1}}}})).unwrap();
    report(&hub, &identity, &json!({"r": true})).unwrap();
    let grant = identity_grant(&identity, None);
    let text = hub.read_own_twin(admit::<ReadOwnTwin>(&hub, &grant, identity).unwrap()).unwrap();
    let expected = json!({"desired": {"a": {"b": 1}, "$version": 2}, "reported": {"r": true, "$version": 2}});
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
}

#[tokio::test]
async fn a_subscribed_owner_is_told_patches_and_replacements_in_order() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", Some("m"));
    let session = connect(&hub, &identity, options(1)).unwrap();
    patch(&hub, &identity, json!({"properties": {"desired": {"before": 1}}})).unwrap();
    session.subscribe(Interest::DesiredProperties);
    patch(&hub, &identity, json!({"tags": {"unseen": 1}})).unwrap();
    patch(&hub, &identity, json!({"properties": {"desired": {"a": 1, "before": null}}})).unwrap();
    replace(&hub, &identity, json!({"properties": {"desired": {"b": 2}}})).unwrap();
    patch(&hub, &identity, json!({"properties": {"desired": null}})).unwrap();
    replace(&hub, &identity, json!({"properties": {"desired": null}})).unwrap();
    session.unsubscribe(Interest::DesiredProperties);
    patch(&hub, &identity, json!({"properties": {"desired": {"after": 1}}})).unwrap();
    session.subscribe(Interest::DesiredProperties);
    patch(&hub, &identity, json!({"properties": {"desired": {"a\"b": {"c": null}}}})).unwrap();
    for (version, document) in [
        (3, json!({"a": 1, "before": null, "$version": 3})),
        (4, json!({"b": 2, "$version": 4})),
        (5, json!({"b": null, "$version": 5})),
        (6, json!({"$version": 6})),
        (8, json!({"a\"b": {"c": null}, "$version": 8})),
    ] {
        let Delivery::DesiredChanged(DesiredChange { version: told, patch }) = session.next().await else {
            panic!("the session was closed")
        };
        assert_eq!((told, serde_json::from_slice::<Value>(&patch).unwrap()), (version, document));
    }
}

#[test]
fn values_that_count_for_nothing_cannot_grow_a_twin_without_end() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let empty = |strings: usize| json!({"k": vec![""; strings]});
    assert_eq!(report(&hub, &identity, &empty(1000)).unwrap(), 2);
    let over = report(&hub, &identity, &empty(limits::TWIN_SECTION_STORED_BYTES / 3 + 1)).unwrap_err();
    assert_eq!(over.code(), ErrorCode::ArgumentInvalid);
    let over = json!({"tags": empty(limits::TWIN_SECTION_STORED_BYTES / 3 + 1)});
    assert_eq!(patch(&hub, &identity, over).unwrap_err().code(), ErrorCode::ArgumentInvalid);
}

#[test]
fn a_connection_that_was_taken_over_changes_nothing_any_more() {
    let (hub, _) = hub();
    let identity = register(&hub, "d", None);
    let _old = connect(&hub, &identity, options(1)).unwrap();
    let _new = connect(&hub, &identity, options(2)).unwrap();
    let report_on = |connection| {
        let by = admit_on(&hub, &identity_grant(&identity, None), identity.clone(), connection).unwrap();
        hub.update_reported(by, &ReportedPatch::parse(b"{}", Arrays::Allowed).unwrap(), None)
    };
    assert_eq!(report_on(1).unwrap_err().code(), ErrorCode::IotHubUnauthorizedAccess);
    assert_eq!(report_on(2).unwrap(), 2);
}
