//! Random twin documents and patches: mostly small and colliding, now and then at a limit or one past it
//! (contract/rest.md 3.4, 3.5).

use serde_json::{Map, Value, json};

use crate::dice::Dice;

/// So few that patches meet what earlier ones wrote.
const KEYS: &[&str] = &["a", "b", "c", "ü"];

/// An object to merge: nulls delete.
pub(crate) fn patch(dice: &mut Dice) -> Value {
    match dice.below(12) {
        0 => at_a_limit(dice),
        1 => json!({}),
        _ => object(dice, 3),
    }
}

/// The body of a PATCH or PUT of a twin: sections absent, null, objects, or rarely no objects at all.
pub(crate) fn twin_body(dice: &mut Dice) -> Value {
    if dice.one_in(60) {
        return dice.pick(&[json!([]), json!(1), json!({"tags": 1}), json!({"properties": {"desired": []}})]);
    }
    let mut body = Map::new();
    if dice.one_in(2) {
        body.insert("tags".to_owned(), section(dice));
    }
    if !dice.one_in(4) {
        let mut desired = section(dice);
        if let Some(members) = desired.as_object_mut().filter(|_| dice.one_in(4)) {
            // What SDKs read and send back.
            members.insert("$version".to_owned(), json!(7));
            members.insert("$metadata".to_owned(), json!({"$lastUpdated": "x"}));
        }
        let reported = json!({"ignored": true});
        body.insert("properties".to_owned(), json!({"desired": desired, "reported": reported}));
    }
    if dice.one_in(8) {
        body.insert("version".to_owned(), json!(99));
        body.insert("deviceId".to_owned(), Value::Null);
    }
    Value::Object(body)
}

fn section(dice: &mut Dice) -> Value {
    if dice.one_in(10) { Value::Null } else { patch(dice) }
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    let members = (0..dice.below(4)).map(|_| (dice.pick(KEYS).to_owned(), value(dice, depth))).collect();
    Value::Object(members)
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(10) {
        0 | 1 => Value::Null,
        2 | 3 => json!(dice.below(100)),
        4 => json!(dice.one_in(2)),
        5 => dice.pick(&[json!(-0.5), json!(1e300), json!("text"), json!(""), json!("tab\u{9}ü")]),
        6 => array(dice),
        _ if depth > 0 => object(dice, depth - 1),
        _ => json!({}),
    }
}

fn array(dice: &mut Dice) -> Value {
    dice.pick(&[
        json!([]),
        json!([1, "two", true]),
        json!([[1], {"a": {"b": 1}}]),
        json!([{"a": []}]),
        json!([null]),
        json!([1, [null]]),
        json!([{"a": null}]),
        json!([{"a": {"b": null}}]),
    ])
}

/// One value at a limit or just past it.
fn at_a_limit(dice: &mut Dice) -> Value {
    let past = dice.below(2);
    let one_past = i64::from(past == 1);
    match dice.below(8) {
        0 => json!({ "k".repeat(1024 + past): 1 }),
        1 => json!({ "a": "é".repeat(2048) + &"s".repeat(past) }),
        2 => (0..10 + past).fold(json!({"property": 1}), |inner, _| json!({ "level": inner })),
        3 => json!({ "a": (0..9 + past).fold(json!([1]), |inner, _| json!([inner])) }),
        4 => json!({ "a": 4_503_599_627_370_495_i64 + one_past }),
        5 => json!({ "a": -4_503_599_627_370_496_i64 - one_past }),
        6 => json!({ dice.pick(&["a.b", "a$", "$x", "a b", "", "a\u{1}", "a\u{85}", "a-b"]): 1 }),
        _ => filler(dice),
    }
}

/// A few large strings: sections fill up to their size limit over several patches.
fn filler(dice: &mut Dice) -> Value {
    let texts = (0..=dice.below(3)).map(|n| {
        let key = format!("{}{n}", dice.pick(&["f", "g", "h"]));
        (key, json!("x".repeat(dice.pick(&[1000, 4000, 4094]))))
    });
    Value::Object(texts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_documents() {
        let bodies = |seed| {
            let mut dice = Dice::of(seed);
            (0..100).map(|_| twin_body(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(bodies(3), bodies(3));
        assert_ne!(bodies(3), bodies(4));
    }
}
