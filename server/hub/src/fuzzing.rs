//! What `tests/fuzz` calls: JSON that changes a twin, with the laws that hold whatever comes. Compiled for the
//! fuzzer and for the tests, which replay its corpus; no part of the crate.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::ids::IfMatch;
use crate::json;
use crate::time::Timestamp;
use crate::twin::{Arrays, Change, Mode, ReportedPatch, StoredTwin, TwinPatch};

/// One text as a device's patch, as a service's, and as any body.
pub fn twin_patch(bytes: &[u8]) {
    let whole = json::object(bytes).ok();
    if let Some(whole) = whole {
        let (mut members, raw) =
            json::object_with_raw(&Bytes::copy_from_slice(bytes), "desired").expect("it was read before");
        assert_eq!(members.remove("desired"), None);
        assert_eq!(raw.is_some(), whole.contains_key("desired"));
        service_patch(whole);
    }
    let patch = ReportedPatch::parse(bytes, Arrays::Allowed).ok();
    if let Ok(strict) = ReportedPatch::parse(bytes, Arrays::Refused) {
        assert_eq!(patch.as_ref(), Some(&strict), "what is allowed without arrays is with them");
    }
    let Some(patch) = patch else { return };
    let at = Timestamp::from_unix_secs(1_767_225_600);
    let mut twin = StoredTwin::new(at);
    let Ok(version) = twin.report(&patch, None, at) else { return };
    let once = shown(&twin);
    assert_eq!(once["reported"]["$version"], version);
    assert_eq!(twin.report(&patch, Some(version), at).ok(), Some(version + 1));
    let twice = shown(&twin);
    assert_eq!(
        without_version(&once["reported"]),
        without_version(&twice["reported"]),
        "merging twice is merging once"
    );
    assert!(twin.report(&patch, Some(version), at).is_err(), "the version has moved on");
}

fn service_patch(body: Map<String, Value>) {
    let Ok(patch) = TwinPatch::parse(Value::Object(body), Arrays::Allowed) else { return };
    let at = Timestamp::from_unix_secs(1_767_225_600);
    let (mut merged, mut replaced) = (StoredTwin::new(at), StoredTwin::new(at));
    let change = |mode| Change { patch: &patch, mode, if_match: &IfMatch::Any, at };
    let told = merged.apply(change(Mode::Merge), true);
    assert_eq!(told.is_ok(), replaced.apply(change(Mode::Replace), true).is_ok());
    // On an empty twin both are the same.
    assert_eq!(shown(&merged), shown(&replaced));
    if let Ok(Some(told)) = told {
        let said = json::object(&told.patch).expect("what a device is told is an object");
        assert_eq!(said["$version"], told.version);
    }
}

/// A twin as its owner reads it, which is JSON without a member twice.
fn shown(twin: &StoredTwin) -> Map<String, Value> {
    json::object(&twin.for_device()).expect("a twin is shown as an object")
}

fn without_version(section: &Value) -> Option<Map<String, Value>> {
    let mut members = section.as_object()?.clone();
    members.remove("$version");
    Some(members)
}

#[cfg(test)]
#[path = "../../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpus_of_twin_patches_holds_the_laws() {
        replay("twin_patch", twin_patch);
    }
}
