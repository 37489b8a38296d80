//! One value of a twin by its path, as enrichments name it: `$twin.tags.building`,
//! `$twin.properties.reported.battery.level`. No key of a twin has a dot, so a path says one thing only.

use std::fmt;

use serde_json::{Map, Value};

use crate::twin::document::Document;
use crate::twin::stored::StoredTwin;

/// A path into a twin.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TwinPath {
    text: Box<str>,
    section: TwinSection,
    keys: Box<[Box<str>]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TwinSection {
    Desired,
    Reported,
    Tags,
}

const SECTIONS: [(&str, TwinSection); 3] = [
    ("$twin.tags.", TwinSection::Tags),
    ("$twin.properties.desired.", TwinSection::Desired),
    ("$twin.properties.reported.", TwinSection::Reported),
];

impl TwinPath {
    /// Reads a path that goes on below one of the sections.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (keys, section) =
            SECTIONS.into_iter().find_map(|(prefix, section)| Some((text.strip_prefix(prefix)?, section)))?;
        let keys: Box<[Box<str>]> = keys.split('.').map(Into::into).collect();
        let is_path = keys.iter().all(|key| !key.is_empty());
        is_path.then(|| Self { text: text.into(), section, keys })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for TwinPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Looks several paths up in one twin; reads the text of its tags no more than once.
#[derive(Debug)]
pub(crate) struct TwinReader<'a> {
    document: &'a Document,
    tags: Option<Map<String, Value>>,
}

impl StoredTwin {
    /// For looking paths up.
    pub(crate) const fn reader(&self) -> TwinReader<'_> {
        TwinReader { document: self.document(), tags: None }
    }
}

impl TwinReader<'_> {
    /// The string, number or boolean at `path` as text; `None` when nothing is there, or something else.
    pub(crate) fn primitive(&mut self, path: &TwinPath) -> Option<Box<str>> {
        match path.section {
            TwinSection::Desired => of_leaf(self.document.desired().leaf(&path.keys)?),
            TwinSection::Reported => of_leaf(self.document.reported().leaf(&path.keys)?),
            TwinSection::Tags => {
                let tags = self.document.tags()?;
                let tags = self.tags.get_or_insert_with(|| {
                    serde_json::from_slice(tags).expect("stored tags are the JSON we wrote")
                });
                let (first, rest) = path.keys.split_first()?;
                let found = rest.iter().try_fold(tags.get(&**first)?, |value, key| value.get(&**key))?;
                text(found)
            }
        }
    }
}

fn of_leaf(json: &[u8]) -> Option<Box<str>> {
    text(&serde_json::from_slice(json).expect("a packed leaf is the JSON text we wrote"))
}

fn text(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::IfMatch;
    use crate::time::Timestamp;
    use crate::twin::patch::{Arrays, ReportedPatch, TwinPatch};
    use crate::twin::stored::{Change, Mode};

    fn twin() -> StoredTwin {
        let at = Timestamp::from_unix_secs(0);
        let mut twin = StoredTwin::new(at);
        let values =
            json!({"text": "a\"b", "n": {"whole": 3, "part": 0.5, "yes": true}, "list": [1], "none": {}});
        let patch = json!({"tags": values, "properties": {"desired": values}});
        let patch = TwinPatch::parse(patch, Arrays::Allowed).unwrap();
        let change = Change { patch: &patch, mode: Mode::Merge, if_match: &IfMatch::Any, at };
        twin.apply(change, false).unwrap();
        let reported = ReportedPatch::parse(values.to_string().as_bytes(), Arrays::Allowed).unwrap();
        twin.report(&reported, None, at).unwrap();
        twin
    }

    fn look_up(twin: &StoredTwin, path: &str) -> Option<String> {
        twin.reader().primitive(&TwinPath::parse(path).unwrap()).map(Into::into)
    }

    #[test]
    fn strings_numbers_and_booleans_are_found_in_every_section() {
        let twin = twin();
        for (prefix, _) in SECTIONS {
            for (path, value) in [("text", "a\"b"), ("n.whole", "3"), ("n.part", "0.5"), ("n.yes", "true")] {
                assert_eq!(
                    look_up(&twin, &format!("{prefix}{path}")).as_deref(),
                    Some(value),
                    "{prefix}{path}"
                );
            }
        }
    }

    #[test]
    fn objects_arrays_and_paths_that_lead_nowhere_have_no_value() {
        let (twin, untouched) = (twin(), StoredTwin::new(Timestamp::from_unix_secs(0)));
        for (prefix, _) in SECTIONS {
            for path in ["n", "none", "list", "list.0", "Text", "text.more", "n.other", "other"] {
                assert_eq!(look_up(&twin, &format!("{prefix}{path}")), None, "{prefix}{path}");
            }
            assert_eq!(look_up(&untouched, &format!("{prefix}text")), None);
        }
    }

    #[test]
    fn a_path_goes_on_below_a_section() {
        for bad in [
            "$twin",
            "$twin.tags",
            "$twin.tags.",
            "$twin.tags..a",
            "$twin.tags.a.",
            "$twin.properties.a",
            "$twin.deviceId",
            "tags.a",
        ] {
            assert_eq!(TwinPath::parse(bad), None, "{bad}");
        }
    }
}
