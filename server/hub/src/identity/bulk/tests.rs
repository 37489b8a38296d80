//! Bulk requests, one test per rule of contract/rest.md 1.3.

use serde_json::json;

use super::*;
use crate::gate::Outcome;
use crate::gate::operations::{GetDevice, GetModule, GetTwin};
use crate::identity::{AuthenticationSpec, AuthenticationType, Device, DeviceStatus};
use crate::ids::{DeviceId, ModuleId};
use crate::testing::{hub, owner, register, written};
use crate::twin::{Arrays, Twin};

fn id(device: &str, module: Option<&str>) -> RowId {
    RowId { device: device.into(), module: module.map(Into::into) }
}

fn row(device: &str, mode: ImportMode) -> BulkRow {
    BulkRow { id: id(device, None), change: Ok(BulkChange { mode, ..BulkChange::default() }) }
}

fn with(mut row: BulkRow, change: impl FnOnce(&mut BulkChange)) -> BulkRow {
    change(row.change.as_mut().unwrap());
    row
}

fn disabling(device: &str, mode: ImportMode, etag: Option<&str>) -> BulkRow {
    with(row(device, mode), |change| {
        change.spec.status = Some(DeviceStatus::Disabled);
        change.etag = etag.map(Into::into);
    })
}

fn in_module(mut row: BulkRow, module: &str) -> BulkRow {
    row.id.module = Some(module.into());
    row
}

fn run(hub: &Hub, rows: Vec<BulkRow>) -> BulkResult {
    hub.bulk_registry(owner(hub, ()), rows).unwrap()
}

fn codes(result: &BulkResult) -> Vec<(&str, ErrorCode)> {
    result.errors.iter().map(|error| (error.id.device.as_str(), error.error.code())).collect()
}

fn device(hub: &Hub, id: &str) -> Result<Device, HubError> {
    hub.device(owner::<GetDevice>(hub, DeviceId::parse(id).unwrap()))
}

fn twin(hub: &Hub, id: &str) -> Twin {
    hub.twin(owner::<GetTwin>(hub, IdentityId::parse(id, None).unwrap())).unwrap()
}

fn twin_patch(body: serde_json::Value) -> TwinPatch {
    TwinPatch::parse(body, Arrays::Allowed).unwrap()
}

#[test]
fn a_row_that_fails_undoes_no_other_and_is_named() {
    let (hub, _) = hub();
    register(&hub, "b", None);
    let result = run(&hub, ["a", "b", "c"].map(|device| row(device, ImportMode::Create)).into());
    assert!(!result.is_successful());
    assert_eq!(codes(&result), [("b", ErrorCode::DeviceAlreadyExists)]);
    assert_eq!(result.errors[0].mode, Some(ImportMode::Create));
    assert!(device(&hub, "a").is_ok() && device(&hub, "c").is_ok());
}

#[test]
fn a_request_is_one_row_of_the_journal_and_says_whether_all_was_done() {
    let (hub, _) = hub();
    run(&hub, vec![row("a", ImportMode::Create), row("b", ImportMode::Create)]);
    run(&hub, vec![row("a", ImportMode::Create)]);
    let journal = hub.journal().recent(usize::MAX, None);
    let outcomes: Vec<_> = journal.iter().map(|entry| (entry.operation, entry.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("BulkRegistry", Outcome::Failed(ErrorCode::BulkRegistryOperationFailure)),
            ("BulkRegistry", Outcome::Succeeded)
        ]
    );
}

#[test]
fn a_hundred_rows_are_done_and_none_or_one_more_refused_whole() {
    let (hub, _) = hub();
    let rows = |count: usize| (0..count).map(|n| row(&format!("d{n}"), ImportMode::Create)).collect();
    let over = hub.bulk_registry(owner(&hub, ()), rows(limits::BULK_ROWS + 1)).unwrap_err();
    assert_eq!(over.code(), ErrorCode::TooManyDevices);
    let none = hub.bulk_registry(owner(&hub, ()), rows(0)).unwrap_err();
    assert_eq!(none.code(), ErrorCode::ArgumentInvalid);
    assert!(device(&hub, "d0").is_err());
    assert!(run(&hub, rows(limits::BULK_ROWS)).is_successful());
    assert!(device(&hub, "d99").is_ok());
}

#[test]
fn modes_that_need_an_identity_fail_without_one() {
    use ImportMode as M;
    let (hub, _) = hub();
    for mode in [M::Delete, M::DeleteIfMatchETag, M::Update, M::UpdateIfMatchETag] {
        let result = run(&hub, vec![with(row("d", mode), |change| change.etag = Some("*".into()))]);
        assert_eq!(codes(&result), [("d", ErrorCode::DeviceNotFound)], "{mode:?}");
    }
    register(&hub, "d", None);
    let result = run(&hub, vec![in_module(row("d", M::Update), "m")]);
    assert_eq!(codes(&result), [("d", ErrorCode::ModuleNotFound)]);
    assert_eq!(result.errors[0].id, id("d", Some("m")));
}

#[test]
fn the_modes_without_etag_ignore_one() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    for mode in [ImportMode::Update, ImportMode::CreateOrUpdate, ImportMode::Delete] {
        assert!(run(&hub, vec![disabling("d", mode, Some("stale"))]).is_successful(), "{mode:?}");
    }
    assert_eq!(device(&hub, "d").unwrap_err().code(), ErrorCode::DeviceNotFound);
}

#[test]
fn the_modes_with_etag_take_it_quoted_bare_or_as_a_star_and_refuse_a_stale_or_absent_one() {
    use ImportMode as M;
    for mode in [M::UpdateIfMatchETag, M::CreateOrUpdateIfMatchETag, M::DeleteIfMatchETag] {
        for spelling in ["{}", "\"{}\"", "*", "\"*\""] {
            let (hub, _) = hub();
            register(&hub, "d", None);
            let etag = spelling.replace("{}", device(&hub, "d").unwrap().etag.as_str());
            assert!(run(&hub, vec![disabling("d", mode, Some(&etag))]).is_successful(), "{mode:?} {etag}");
        }
        let (hub, _) = hub();
        register(&hub, "d", None);
        for (etag, code) in [
            (Some("c3RhbGU="), ErrorCode::PreconditionFailed),
            (Some(""), ErrorCode::ArgumentInvalid),
            (None, ErrorCode::ArgumentInvalid),
        ] {
            let result = run(&hub, vec![disabling("d", mode, etag)]);
            assert_eq!(codes(&result), [("d", code)], "{mode:?} {etag:?}");
        }
        assert_eq!(device(&hub, "d").unwrap().status, DeviceStatus::Enabled);
    }
}

#[test]
fn create_or_update_is_the_default_and_does_either() {
    let (hub, _) = hub();
    let default = BulkChange::default().mode;
    assert_eq!(default, ImportMode::CreateOrUpdate);
    assert!(run(&hub, vec![row("d", default)]).is_successful());
    let created = device(&hub, "d").unwrap();
    assert!(run(&hub, vec![disabling("d", default, None)]).is_successful());
    let updated = device(&hub, "d").unwrap();
    assert_eq!(updated.status, DeviceStatus::Disabled);
    assert_eq!(
        (updated.generation_id, updated.authentication),
        (created.generation_id, created.authentication)
    );
    let by_etag = disabling("new", ImportMode::CreateOrUpdateIfMatchETag, None);
    assert!(run(&hub, vec![by_etag]).is_successful(), "what does not exist has no etag to compare");
}

#[test]
fn a_created_twin_begins_with_what_the_row_gives_and_an_update_leaves_it_alone() {
    let (hub, _) = hub();
    let given = json!({"tags": {"a": 1}, "properties": {"desired": {"b": 2}, "reported": {"c": 3}}});
    let create = with(row("d", ImportMode::Create), |change| change.twin = Some(twin_patch(given)));
    assert!(run(&hub, vec![create]).is_successful());
    let created = twin(&hub, "d");
    assert_eq!(written(|out| created.write_tags(out)), r#"{"a":1}"#);
    assert!(written(|out| created.write_desired(out)).contains(r#""b":2"#));
    assert!(!written(|out| created.write_reported(out)).contains("\"c\""));
    let other = twin_patch(json!({"tags": {"a": 9}}));
    let update = with(row("d", ImportMode::CreateOrUpdate), |change| change.twin = Some(other));
    assert!(run(&hub, vec![update]).is_successful());
    assert_eq!(written(|out| twin(&hub, "d").write_tags(out)), r#"{"a":1}"#);
}

#[test]
fn a_device_whose_twin_is_too_large_is_not_created() {
    let (hub, _) = hub();
    let tags: serde_json::Map<_, _> =
        (0..3).map(|n| (n.to_string(), json!("x".repeat(limits::TAGS_BYTES / 2)))).collect();
    let large = twin_patch(json!({ "tags": tags }));
    let result = run(&hub, vec![with(row("d", ImportMode::Create), |change| change.twin = Some(large))]);
    assert_eq!(codes(&result), [("d", ErrorCode::ArgumentInvalid)]);
    assert!(device(&hub, "d").is_err());
}

#[test]
fn the_twin_modes_merge_and_compare_the_twins_etag_only() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    let patch = |mode, tags, twin_etag: Option<&str>| {
        with(row("d", mode), |change| {
            change.twin = Some(twin_patch(json!({ "tags": tags })));
            change.etag = Some("not looked at".into());
            change.twin_etag = twin_etag.map(Into::into);
        })
    };
    let first = twin(&hub, "d").etag;
    let by_etag = ImportMode::UpdateTwinIfMatchETag;
    assert!(run(&hub, vec![patch(by_etag, json!({"a": 1}), Some(first.as_str()))]).is_successful());
    let stale = run(&hub, vec![patch(by_etag, json!({"a": 2}), Some(first.as_str()))]);
    assert_eq!(codes(&stale), [("d", ErrorCode::PreconditionFailed)]);
    let absent = run(&hub, vec![patch(by_etag, json!({"a": 3}), None)]);
    assert_eq!(codes(&absent), [("d", ErrorCode::ArgumentInvalid)]);
    assert!(run(&hub, vec![patch(ImportMode::UpdateTwin, json!({"b": 4}), None)]).is_successful());
    assert_eq!(written(|out| twin(&hub, "d").write_tags(out)), r#"{"a":1,"b":4}"#);
    let nothing = run(&hub, vec![row("d", ImportMode::UpdateTwin)]);
    assert_eq!(codes(&nothing), [("d", ErrorCode::ArgumentInvalid)]);
}

#[test]
fn an_id_that_occurs_again_fails_there_and_modules_are_other_ids() {
    let (hub, _) = hub();
    let rows = vec![
        row("d", ImportMode::Create),
        in_module(row("d", ImportMode::Create), "m"),
        disabling("d", ImportMode::Update, None),
        row("D", ImportMode::Create),
    ];
    let result = run(&hub, rows);
    assert_eq!(codes(&result), [("d", ErrorCode::DeviceDefinedMultipleTimes)]);
    assert_eq!(result.errors[0].id, id("d", None));
    assert_eq!(device(&hub, "d").unwrap().status, DeviceStatus::Enabled);
    assert!(device(&hub, "D").is_ok());
}

#[test]
fn a_row_with_a_bad_id_bad_fields_or_a_bad_key_fails_alone() {
    let (hub, _) = hub();
    let unread = HubError::new(ErrorCode::ArgumentInvalid, "The member 'status' must be a string.");
    let short = AuthenticationSpec {
        kind: Some(AuthenticationType::Sas),
        primary_key: Some("c2hvcnQ=".into()),
        secondary_key: Some("c2hvcnQ=".into()),
        ..AuthenticationSpec::default()
    };
    let rows = vec![
        row("a b", ImportMode::Create),
        row("", ImportMode::Create),
        BulkRow { id: id("unread", None), change: Err(unread.clone()) },
        with(row("key", ImportMode::Create), |change| change.spec.authentication = Some(short)),
        row("good", ImportMode::Create),
    ];
    let result = run(&hub, rows);
    let invalid = ErrorCode::ArgumentInvalid;
    assert_eq!(codes(&result), [("a b", invalid), ("", invalid), ("unread", invalid), ("key", invalid)]);
    assert_eq!((result.errors[2].mode, &result.errors[2].error), (None, &unread));
    assert!(device(&hub, "good").is_ok());
}

#[test]
fn module_rows_follow_the_rules_of_modules() {
    let (hub, _) = hub();
    let managed = with(row("d", ImportMode::Create), |change| change.managed_by = Some("me".into()));
    let rows = vec![
        in_module(row("nowhere", ImportMode::Create), "m"),
        row("d", ImportMode::Create),
        in_module(managed, "m"),
        in_module(row("d", ImportMode::Create), "$edgeHub"),
    ];
    let result = run(&hub, rows);
    assert_eq!(
        codes(&result),
        [("nowhere", ErrorCode::DeviceNotFound), ("d", ErrorCode::SystemModuleModifyUnauthorizedAccess)]
    );
    let target = (DeviceId::parse("d").unwrap(), ModuleId::parse("m").unwrap());
    let module = hub.module(owner::<GetModule>(&hub, target)).unwrap();
    assert_eq!(module.managed_by.as_deref(), Some("me"));
    let again = run(&hub, vec![in_module(row("d", ImportMode::Create), "m")]);
    assert_eq!(codes(&again), [("d", ErrorCode::ModuleAlreadyExistsOnDevice)]);
    assert!(run(&hub, vec![in_module(row("d", ImportMode::Delete), "m")]).is_successful());
}
