//! What differs between runs, by name: `<etag-1>`, `<key-2>`, `<generation-1>`, `<now>`, `<guid>`, `<tracking>`.
//!
//! Etags, keys and generations are learned from the member they first stand in, lock tokens from the header, and keep
//! their name through the conversation. Times and ids of requests are told by their shape alone, so one of another shape stays visible.

use serde_json::Value;

/// Members that hold something new each run, and what it is called.
const LEARNED: &[(&str, &str)] = &[
    ("deviceEtag", "etag"),
    ("etag", "etag"),
    ("generationId", "generation"),
    ("primaryKey", "key"),
    ("secondaryKey", "key"),
];
/// Twins count their etags (contract/rest.md 3.1), which is worth seeing.
const COUNTED: &str = "AAAAAAAAA";
/// `0` stands for a digit, `x` for a hexadecimal one, everything else for itself. The clock of a conversation stands
/// at a moment whose fraction has seven digits.
const SHAPES: &[(&str, &str)] = &[
    ("0000-00-00T00:00:00.1234567Z", "<now>"),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-G:0-TimeStamp:00/00/0000 00:00:00", "<tracking>"),
    ("timestamp:0000000000123", "timestamp:<now>"),
    (GUID, "<guid>"),
];
const GUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
/// What a lock token is called.
const LOCK: &str = "lock";
/// What the ids of a line of AMQP are called: those that are text or UUIDs, and the tags of deliveries, which are bytes.
const ID: &str = "id";
const TAG: &str = "tag";
const SIXTEEN_BYTES: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
/// Tags that are counted and stand for no lock, which is worth seeing too.
const COUNTED_TAG: &str = "0000000000000000";

pub(crate) struct Values {
    /// Everything the caller has said.
    said: String,
    /// Value and name, in the order learned.
    learned: Vec<(String, String)>,
}

impl Values {
    pub(crate) const fn new() -> Self {
        Self { said: String::new(), learned: Vec::new() }
    }

    /// Remembers what the caller sends: it needs no names.
    pub(crate) fn ask(&mut self, request: &str) {
        self.said.push_str(request);
    }

    /// Gives names to what an answer brings.
    pub(crate) fn learn(&mut self, answer: &Value) {
        match answer {
            Value::Object(members) => {
                for (name, member) in members {
                    let kind = LEARNED.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
                    match (kind, member) {
                        (Some(kind), Value::String(text)) => self.learn_text(kind, text),
                        _ => self.learn(member),
                    }
                }
            }
            Value::Array(elements) => elements.iter().for_each(|element| self.learn(element)),
            _ => {}
        }
    }

    /// Gives a name to the lock token that an `ETag` header brings.
    pub(crate) fn learn_etag(&mut self, quoted: &str) {
        let etag = quoted.trim_matches('"');
        if after_shape(etag, GUID) == Some("") {
            self.learn_text(LOCK, etag);
        }
    }

    /// Gives names to the ids in a line.
    pub(crate) fn learn_ids(&mut self, line: &str) {
        for (at, _) in line.char_indices() {
            let rest = &line[at..];
            if let Some(after) = after_shape(rest, GUID) {
                self.learn_text(ID, &rest[..rest.len() - after.len()]);
            }
            if let Some(hex) = rest.strip_prefix("0x")
                && let Some(after) = after_shape(hex, SIXTEEN_BYTES)
            {
                self.learn_text(TAG, &hex[..hex.len() - after.len()]);
            }
        }
    }

    fn learn_text(&mut self, kind: &str, text: &str) {
        let is_counted = text.starts_with(COUNTED) || text.starts_with(COUNTED_TAG);
        let is_plain = text.is_empty() || is_counted || self.said.contains(text);
        if is_plain || self.learned.iter().any(|(known, _)| known == text) {
            return;
        }
        let begin = format!("<{kind}-");
        let count = self.learned.iter().filter(|(_, name)| name.starts_with(&begin)).count();
        self.learned.push((text.to_owned(), format!("{begin}{}>", count + 1)));
    }

    /// The line with names for what differs.
    pub(crate) fn name(&self, line: &str) -> String {
        let named =
            self.learned.iter().fold(line.to_owned(), |line, (value, name)| line.replace(value, name));
        SHAPES.iter().fold(named, |line, (shape, name)| self.replace_shape(&line, shape, name))
    }

    /// The same for the texts of a body.
    pub(crate) fn name_all(&self, body: &mut Value) {
        match body {
            Value::String(text) => *text = self.name(text),
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.name_all(element)),
            Value::Object(members) => members.values_mut().for_each(|member| self.name_all(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What the caller sent itself stays.
    fn replace_shape(&self, line: &str, shape: &str, name: &str) -> String {
        let mut named = String::new();
        let mut rest = line;
        while let Some(next) = rest.chars().next() {
            match after_shape(rest, shape) {
                Some(after) if !self.said.contains(&rest[..rest.len() - after.len()]) => {
                    named.push_str(name);
                    rest = after;
                }
                _ => {
                    named.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        named
    }

    /// A line of a request with values for the names it uses.
    pub(crate) fn fill(&self, line: &str, token: impl Fn(&str) -> String) -> String {
        let mut filled =
            self.learned.iter().fold(line.to_owned(), |text, (value, name)| text.replace(name, value));
        while let Some((before, rest)) = filled.split_once("<token ") {
            let (policy, after) = rest.split_once('>').expect("a token's name ends with >");
            filled = format!("{before}{}{after}", token(policy));
        }
        for name in LEARNED.iter().map(|(_, name)| *name).chain([LOCK, ID, TAG]) {
            assert!(!filled.contains(&format!("<{name}-")), "nobody has given a value this name: {filled}");
        }
        filled
    }
}

/// What follows the shape at the beginning of the text.
fn after_shape<'a>(text: &'a str, shape: &str) -> Option<&'a str> {
    let head = text.get(..shape.len())?;
    let fits = |(c, s): (char, char)| match s {
        '0' => c.is_ascii_digit(),
        'x' => c.is_ascii_hexdigit() && !c.is_ascii_uppercase(),
        other => c == other,
    };
    head.chars().zip(shape.chars()).all(fits).then(|| &text[shape.len()..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_value_has_the_same_name_everywhere_and_goes_back_in() {
        let mut values = Values::new();
        values.learn(
            &json!([{ "etag": "Mw==", "authentication": { "primaryKey": "abc=" } }, { "etag": "NA==" }]),
        );
        values.learn(&json!({ "deviceEtag": "Mw==", "etag": "AAAAAAAAAAE=" }));
        assert_eq!(
            values.name("\"Mw==\" \"NA==\" abc= AAAAAAAAAAE="),
            "\"<etag-1>\" \"<etag-2>\" <key-1> AAAAAAAAAAE="
        );
        let filled =
            values.fill("If-Match: \"<etag-2>\"\nAuthorization: <token p>", |policy| format!("SAS {policy}"));
        assert_eq!(filled, "If-Match: \"NA==\"\nAuthorization: SAS p");
    }

    #[test]
    fn what_the_caller_sent_itself_has_no_name() {
        let mut values = Values::new();
        values.ask("{\"primaryKey\":\"mine\"}");
        values.learn(&json!({ "primaryKey": "mine" }));
        assert_eq!(values.name("mine"), "mine");
    }

    #[test]
    fn times_and_ids_are_told_by_their_shape_alone() {
        let values = Values::new();
        assert_eq!(values.name("at 2026-01-01T00:00:00.1234567Z"), "at <now>");
        for other in
            ["2026-01-01T00:00:00.1234567+00:00", "2026-01-01 00:00:00.1234567Z", "0001-01-01T00:00:00"]
        {
            assert_eq!(values.name(other), other);
        }
        assert_eq!(values.name("0f8fad5b-d9cb-469f-a165-70867728950e"), "<guid>");
    }

    #[test]
    fn a_lock_token_is_learned_from_its_header_and_an_etag_of_an_identity_is_not() {
        let mut values = Values::new();
        let token = "0a1b2c3d-0000-4000-8000-00000000000f";
        values.learn_etag(&format!("\"{token}\""));
        values.learn_etag("\"MTI=\"");
        assert_eq!(values.name(&format!("\"{token}\" \"MTI=\"")), "\"<lock-1>\" \"MTI=\"");
        assert_eq!(values.fill("/<lock-1>", |_| unreachable!("no token is asked for")), format!("/{token}"));
    }
}
