//! A section of a twin (desired or reported properties) unpacked for a change: a tree of values in which every
//! node carries the stamp of its last write. It borrows names and values from the packed section and the patch.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::limits;
use crate::time::Timestamp;
use crate::twin::validate::{text_size, value_size};

/// When a node was last written and, in desired properties, by which `$version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) at: Timestamp,
    pub(crate) version: Option<u64>,
}

/// The members of an object, in the order they were first written.
pub(crate) type Members<'a> = IndexMap<&'a str, Node<'a>>;

/// A value and the stamp of its last write. Arrays are leaves: they are replaced whole.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) content: Content<'a>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content<'a> {
    Leaf(Leaf<'a>),
    Object(Members<'a>),
}

/// A scalar or an array.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf<'a> {
    /// As it is stored: JSON text of ours.
    Stored(&'a [u8]),
    /// As a patch brings it.
    Written(&'a Value),
}

impl Leaf<'_> {
    /// What it counts of its section's size. Most stored values show that without being read.
    pub(crate) fn size_bytes(self) -> usize {
        match self {
            Self::Written(value) => value_size(value),
            Self::Stored(b"true" | b"false") => limits::TWIN_BOOLEAN_BYTES,
            Self::Stored([b'-' | b'0'..=b'9', ..]) => limits::TWIN_NUMBER_BYTES,
            Self::Stored([b'"', plain @ .., b'"']) if !plain.contains(&b'\\') => {
                text_size(std::str::from_utf8(plain).expect("packed texts are the UTF-8 we wrote"))
            }
            Self::Stored(text) => {
                value_size(&serde_json::from_slice(text).expect("a packed leaf is the JSON text we wrote"))
            }
        }
    }
}

/// Desired or reported properties.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) version: u64,
    pub(crate) stamp: Stamp,
    pub(crate) members: Members<'a>,
}

impl<'a> Section<'a> {
    /// As it is born: empty, version 1, no `$lastUpdatedVersion` (contract/rest.md 3.1, 3.2).
    pub(crate) fn new(at: Timestamp) -> Self {
        Self { version: 1, stamp: Stamp { at, version: None }, members: Members::new() }
    }

    /// Recursive merge: objects merge, everything else replaces, null deletes (contract/rest.md 1.7). Takes the
    /// next version whatever the patch holds.
    pub(crate) fn merge(&mut self, patch: &'a Map<String, Value>, stamp: Stamp) {
        self.version += 1;
        self.stamp = stamp;
        merge(&mut self.members, patch, stamp);
    }
}

fn merge<'a>(members: &mut Members<'a>, patch: &'a Map<String, Value>, stamp: Stamp) {
    // In one pass: removing one by one would move the rest each time.
    if patch.values().any(Value::is_null) {
        members.retain(|key, _| !patch.get(*key).is_some_and(Value::is_null));
    }
    for (key, value) in patch {
        match value {
            Value::Null => {}
            Value::Object(patch) => match members.get_mut(key.as_str()) {
                Some(Node { stamp: last, content: Content::Object(members) }) => {
                    *last = stamp;
                    merge(members, patch, stamp);
                }
                _ => {
                    let mut fresh = Members::new();
                    merge(&mut fresh, patch, stamp);
                    members.insert(key.as_str(), Node { stamp, content: Content::Object(fresh) });
                }
            },
            scalar_or_array => {
                let content = Content::Leaf(Leaf::Written(scalar_or_array));
                members.insert(key.as_str(), Node { stamp, content });
            }
        }
    }
}

/// The same merge on a document without stamps, for tags.
pub(crate) fn merge_document(document: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if patch.values().any(Value::is_null) {
        document.retain(|key, _| !patch.get(key).is_some_and(Value::is_null));
    }
    for (key, value) in patch {
        match value {
            Value::Null => {}
            Value::Object(patch) => {
                let target = document.entry(key.as_str()).or_insert(Value::Null);
                if !target.is_object() {
                    *target = Value::Object(Map::new());
                }
                if let Value::Object(target) = target {
                    merge_document(target, patch);
                }
            }
            scalar_or_array => {
                document.insert(key.clone(), scalar_or_array.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn stamp(version: u64) -> Stamp {
        Stamp { at: Timestamp::from_unix_secs(i64::try_from(version).unwrap()), version: Some(version) }
    }

    /// Sections borrow from patches; those of a test stay until its end.
    fn object(value: Value) -> &'static Map<String, Value> {
        match value {
            Value::Object(object) => Box::leak(Box::new(object)),
            other => panic!("{other} is no object"),
        }
    }

    fn values(members: &Members<'_>) -> Value {
        let value = |node: &Node<'_>| match &node.content {
            Content::Leaf(Leaf::Written(value)) => (*value).clone(),
            Content::Leaf(Leaf::Stored(text)) => serde_json::from_slice(text).unwrap(),
            Content::Object(members) => values(members),
        };
        Value::Object(members.iter().map(|(key, node)| (key.to_string(), value(node))).collect())
    }

    fn section(document: Value) -> Section<'static> {
        let mut section = Section::new(Timestamp::from_unix_secs(0));
        section.merge(object(document), stamp(2));
        section
    }

    #[test]
    fn null_in_a_patch_deletes_the_property_and_deleting_a_missing_one_is_no_error() {
        let mut section = section(json!({"a": 1, "b": {"c": 2}}));
        section.merge(object(json!({"a": null, "b": {"c": null}, "x": null})), stamp(3));
        assert_eq!(values(&section.members), json!({"b": {}}));
    }

    #[test]
    fn objects_merge_and_scalars_and_arrays_replace() {
        let mut section = section(json!({"a": {"b": 1, "c": [1, 2]}, "d": 5}));
        section.merge(object(json!({"a": {"c": [3]}, "d": {"e": 1}})), stamp(3));
        assert_eq!(values(&section.members), json!({"a": {"b": 1, "c": [3]}, "d": {"e": 1}}));
    }

    #[test]
    fn a_write_stamps_the_node_and_its_ancestors_and_nothing_else() {
        let mut section = section(json!({"a": {"b": 1, "c": 2}, "d": 5}));
        section.merge(object(json!({"a": {"b": 9}})), stamp(3));
        let Content::Object(a) = &section.members["a"].content else { panic!("a is an object") };
        assert_eq!(section.stamp, stamp(3));
        assert_eq!(section.members["a"].stamp, stamp(3));
        assert_eq!(a["b"].stamp, stamp(3));
        assert_eq!(a["c"].stamp, stamp(2));
        assert_eq!(section.members["d"].stamp, stamp(2));
    }

    #[test]
    fn a_stored_leaf_counts_what_its_value_does() {
        for value in [
            json!(true),
            json!(-1.5),
            json!(7),
            json!("a\"ü\n"),
            json!("plain ü"),
            json!(""),
            json!([1, "two", [false, {"three": 3}]]),
        ] {
            let text = value.to_string();
            let stored = Leaf::Stored(text.as_bytes()).size_bytes();
            assert_eq!(stored, Leaf::Written(&value).size_bytes(), "{text}");
        }
    }

    #[test]
    fn a_removal_stamps_the_parents() {
        let mut section = section(json!({"a": {"b": 1}}));
        section.merge(object(json!({"a": {"b": null}})), stamp(3));
        assert_eq!(section.members["a"].stamp, stamp(3));
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from)
        ];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::hash_map("[abc]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        });
        prop::collection::hash_map("[abc]", value, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    fn with_nulls() -> impl Strategy<Value = Value> {
        (document(), "[abc]").prop_map(|(mut document, key)| {
            document.as_object_mut().unwrap().insert(key, Value::Null);
            document
        })
    }

    proptest! {
        #[test]
        fn merging_twice_changes_nothing_more(start in document(), patch in with_nulls()) {
            let mut once = section(start);
            once.merge(object(patch.clone()), stamp(3));
            let mut twice = once.clone();
            twice.merge(object(patch), stamp(3));
            prop_assert_eq!(values(&twice.members), values(&once.members));
        }

        #[test]
        fn tags_and_properties_merge_by_the_same_law(start in document(), patch in with_nulls()) {
            let mut stamped = section(start.clone());
            stamped.merge(object(patch.clone()), stamp(3));
            let mut plain = object(start).clone();
            merge_document(&mut plain, object(patch));
            prop_assert_eq!(values(&stamped.members), Value::Object(plain));
        }

        #[test]
        fn a_merge_takes_exactly_one_version(start in document(), patch in with_nulls()) {
            let mut section = section(start);
            let before = section.version;
            section.merge(object(patch), stamp(3));
            prop_assert_eq!(section.version, before + 1);
        }
    }
}
