//! The naive twin: whole documents, a whole metadata tree beside each, merged by plain recursion. Written from
//! contract/rest.md 1.7 and 3 alone, so that it shares no mistake with the core.

use hub::time::Timestamp;
use serde_json::{Map, Value, json};

/// A twin as services see it, nothing packed.
#[derive(Clone, Debug)]
pub(crate) struct NaiveTwin {
    /// How often tags or desired properties changed, from 1.
    pub(crate) etag: u64,
    pub(crate) version: u64,
    pub(crate) model_id: String,
    pub(crate) tags: Value,
    pub(crate) desired: NaiveSection,
    pub(crate) reported: NaiveSection,
}

/// Desired or reported properties.
#[derive(Clone, Debug)]
pub(crate) struct NaiveSection {
    pub(crate) values: Value,
    pub(crate) metadata: Value,
    pub(crate) version: u64,
}

/// What a service's patch does to a section.
#[derive(Clone, Debug)]
pub(crate) enum NaiveChange {
    Clear,
    Members(Value),
}

/// A service's patch, read.
#[derive(Clone, Debug)]
pub(crate) struct NaivePatch {
    pub(crate) tags: Option<NaiveChange>,
    pub(crate) desired: Option<NaiveChange>,
}

impl NaiveTwin {
    pub(crate) fn born(at: Timestamp) -> Self {
        let section =
            NaiveSection { values: json!({}), metadata: json!({"$lastUpdated": at.to_string()}), version: 1 };
        Self {
            etag: 1,
            version: 2,
            model_id: String::new(),
            tags: json!({}),
            desired: section.clone(),
            reported: section,
        }
    }

    /// Changes tags and desired properties whole or not at all. On success: what a subscribed owner is told.
    pub(crate) fn apply(
        &mut self,
        patch: &NaivePatch,
        replace: bool,
        at: Timestamp,
    ) -> Result<Option<Value>, ()> {
        let mut new = self.clone();
        match &patch.tags {
            None => {}
            Some(NaiveChange::Clear) => new.tags = json!({}),
            Some(NaiveChange::Members(members)) if replace => new.tags = merged(&json!({}), members),
            Some(NaiveChange::Members(members)) => new.tags = merged(&self.tags, members),
        }
        let told = patch.desired.as_ref().map(|change| new.desired.apply(change, replace, at));
        if size(&new.tags) > 8 * 1024 || size(&new.desired.values) > 32 * 1024 {
            return Err(());
        }
        if patch.tags.is_some() || patch.desired.is_some() {
            new.etag += 1;
            new.version += 1;
        }
        *self = new;
        Ok(told)
    }

    /// Merges what the owner reports; the new `$version`.
    pub(crate) fn report(&mut self, patch: &Value, at: Timestamp) -> Result<u64, ()> {
        let mut new = self.reported.clone();
        new.merge(patch, &json!({"$lastUpdated": at.to_string()}));
        if size(&new.values) > 32 * 1024 {
            return Err(());
        }
        self.reported = new;
        self.version += 1;
        Ok(self.reported.version)
    }

    /// What the owner reads.
    pub(crate) fn for_owner(&self) -> Value {
        json!({"desired": self.desired.for_owner(), "reported": self.reported.for_owner()})
    }
}

impl NaiveSection {
    /// Desired properties change; returns the notification.
    fn apply(&mut self, change: &NaiveChange, replace: bool, at: Timestamp) -> Value {
        let stamp = json!({"$lastUpdated": at.to_string(), "$lastUpdatedVersion": self.version + 1});
        let mut told = match change {
            NaiveChange::Members(members) => members.clone(),
            // Devices that merge what they are told must forget every property they knew.
            NaiveChange::Clear => keys(&self.values).map(|key| (key, Value::Null)).collect(),
        };
        if replace || matches!(change, NaiveChange::Clear) {
            (self.values, self.metadata) = (json!({}), json!({}));
        }
        match change {
            NaiveChange::Members(members) => self.merge(members, &stamp),
            NaiveChange::Clear => self.merge(&json!({}), &stamp),
        }
        if replace {
            told = self.values.clone();
        }
        told["$version"] = json!(self.version);
        told
    }

    fn merge(&mut self, patch: &Value, stamp: &Value) {
        self.metadata = restamped(&self.metadata, &self.values, patch, stamp);
        self.values = merged(&self.values, patch);
        self.version += 1;
    }

    pub(crate) fn for_owner(&self) -> Value {
        let mut shown = self.values.clone();
        shown["$version"] = json!(self.version);
        shown
    }

    pub(crate) fn for_service(&self) -> Value {
        let mut shown = self.for_owner();
        shown["$metadata"] = self.metadata.clone();
        shown
    }
}

fn keys(object: &Value) -> impl Iterator<Item = String> {
    object.as_object().cloned().unwrap_or_default().into_iter().map(|(key, _)| key)
}

/// RFC 7396, as its pseudocode has it.
pub(crate) fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut result: Map<String, Value> = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            result.shift_remove(key);
        } else {
            let before = result.get(key).cloned().unwrap_or(Value::Null);
            result.insert(key.clone(), merged(&before, value));
        }
    }
    Value::Object(result)
}

/// The metadata after `patch`: every written node and all its ancestors carry `stamp`, the rest keeps its own.
pub(crate) fn restamped(metadata: &Value, values: &Value, patch: &Value, stamp: &Value) -> Value {
    let mut result = stamp.clone();
    let Value::Object(patch) = patch else { return result };
    let none = Value::Null;
    if values.is_object() {
        for key in keys(values).filter(|key| !patch.contains_key(key)) {
            result[&key] = metadata[&key].clone();
        }
    }
    for (key, value) in patch.iter().filter(|(_, value)| !value.is_null()) {
        let old_values = values.get(key).unwrap_or(&none);
        let old_metadata = metadata.get(key).unwrap_or(&none);
        result[key] = restamped(old_metadata, old_values, value, stamp);
    }
    result
}

/// The documented size: keys and values without control characters, numbers 8, booleans 4.
fn size(value: &Value) -> usize {
    let text = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>().len();
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| text(key) + size(value)).sum(),
    }
}

impl NaivePatch {
    /// The body of a PATCH or PUT of a twin; `None` when it breaks a rule.
    pub(crate) fn read(body: &Value, arrays: bool) -> Option<Self> {
        let body = body.as_object()?;
        let properties = body.get("properties").cloned().unwrap_or(Value::Null);
        if !properties.is_object() && !properties.is_null() {
            return None;
        }
        let desired = properties.get("desired").map(without_dollars);
        let read = |section: Option<&Value>| match section {
            None => Some(None),
            Some(Value::Null) => Some(Some(NaiveChange::Clear)),
            Some(members) => is_legal(members, arrays).then(|| Some(NaiveChange::Members(members.clone()))),
        };
        Some(Self { tags: read(body.get("tags"))?, desired: read(desired.as_ref())? })
    }
}

/// Desired properties as a service means them: `$version` and `$metadata` come along unread.
fn without_dollars(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| !key.starts_with('$'));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_dollars(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_dollars).collect(),
        other => other.clone(),
    }
}

/// Whether a section as sent keeps the rules for keys, values and depth; old versions have no `arrays`.
pub(crate) fn is_legal(section: &Value, arrays: bool) -> bool {
    let fits = arrays || !has_array(section);
    section.is_object() && fits && depth(section) <= 11 && keeps_rules(section, false)
}

fn has_array(value: &Value) -> bool {
    value.is_array() || value.as_object().is_some_and(|members| members.values().any(has_array))
}

/// Containers inside each other, the outermost included.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn keeps_rules(value: &Value, is_in_array: bool) -> bool {
    match value {
        Value::Null => !is_in_array,
        Value::Bool(_) => true,
        Value::Number(number) if number.is_f64() => true,
        Value::Number(number) => {
            number.as_i64().is_some_and(|n| (-4_503_599_627_370_496..=4_503_599_627_370_495).contains(&n))
        }
        Value::String(text) => text.len() <= 4096,
        Value::Array(items) => items.iter().all(|item| keeps_rules(item, true)),
        Value::Object(members) => members.iter().all(|(key, value)| {
            let is_banned = |c: char| c.is_control() || ['.', '$', ' '].contains(&c);
            (1..=1024).contains(&key.len()) && !key.contains(is_banned) && keeps_rules(value, is_in_array)
        }),
    }
}
