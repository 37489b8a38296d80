//! What is added to events on the way to an endpoint, as application properties.
//!
//! The rules are those of the service's page on message enrichments: a value is any static text, `$iothubname`, or a
//! path below `$twin.tags`, `$twin.properties.desired` or `$twin.properties.reported` of the sender's own twin (a
//! module's is not its device's). A path that leads nowhere, or to an object, or a hub without twins (basic tier)
//! leaves the path itself as the value. Digital twin change events are not enriched. An event that grows past 256 KB is
//! dropped. Of a property the sender has set already the page says nothing: here the enrichment takes its place, since
//! "all messages going to that endpoint are stamped with the same" ones.

use std::sync::Arc;

use crate::events::{AddedProperty, Event};
use crate::ids::HubName;
use crate::limits;
use crate::routing::spec::Enrichment;
use crate::twin::{StoredTwin, TwinPath};

/// What an application property is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnrichmentValue {
    /// `$iothubname`.
    HubName,
    /// The same text for every event.
    Static(Box<str>),
    /// What the sender's twin says.
    Twin(TwinPath),
}

const HUB_NAME: &str = "$iothubname";
const TWIN: &str = "$twin";

impl EnrichmentValue {
    /// Reads what was written; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > limits::ENRICHMENT_VALUE_BYTES {
            return Err(format!("its value is longer than {} bytes.", limits::ENRICHMENT_VALUE_BYTES));
        }
        if text == HUB_NAME {
            return Ok(Self::HubName);
        }
        if text == TWIN || text.starts_with("$twin.") {
            return match TwinPath::parse(text) {
                Some(path) => Ok(Self::Twin(path)),
                None => Err(format!(
                    "'{}' is no path into a twin. Such a path goes on below $twin.tags, $twin.properties.desired or \
                     $twin.properties.reported, as in $twin.tags.building.",
                    crate::json::shown(text)
                )),
            };
        }
        Ok(Self::Static(text.into()))
    }

    /// The value as it was written.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::HubName => HUB_NAME,
            Self::Static(text) => text,
            Self::Twin(path) => path.as_str(),
        }
    }
}

/// The enrichments of one endpoint.
#[derive(Debug)]
pub(crate) enum Enrichments {
    /// The same for every event, so made once.
    Fixed(Arc<[AddedProperty]>),
    None,
    /// Some of them depend on the twin.
    OfTwin(Box<[(Box<str>, ValueOfTwin)]>),
}

#[derive(Debug)]
pub(crate) enum ValueOfTwin {
    Fixed(Box<str>),
    Twin(TwinPath),
}

impl Enrichments {
    /// Those of `all` that `endpoint` has.
    pub(crate) fn of_endpoint(endpoint: &str, all: &[Enrichment], hub_name: &HubName) -> Self {
        let own = all.iter().filter(|enrichment| enrichment.endpoints.iter().any(|name| **name == *endpoint));
        let own: Vec<_> = own
            .map(|Enrichment { key, value, .. }| {
                let value = match value {
                    EnrichmentValue::HubName => ValueOfTwin::Fixed(hub_name.as_str().into()),
                    EnrichmentValue::Static(text) => ValueOfTwin::Fixed(text.clone()),
                    EnrichmentValue::Twin(path) => ValueOfTwin::Twin(path.clone()),
                };
                (key.clone(), value)
            })
            .collect();
        if own.is_empty() {
            return Self::None;
        }
        let fixed = own.iter().map(|(name, value)| match value {
            ValueOfTwin::Fixed(text) => Some(AddedProperty { name: name.clone(), value: text.clone() }),
            ValueOfTwin::Twin(_) => None,
        });
        match fixed.collect::<Option<_>>() {
            Some(fixed) => Self::Fixed(fixed),
            None => Self::OfTwin(own.into()),
        }
    }

    /// What is added to an event of the identity whose twin this is.
    pub(crate) fn of_event(&self, twin: &StoredTwin) -> Option<Arc<[AddedProperty]>> {
        match self {
            Self::Fixed(fixed) => Some(Arc::clone(fixed)),
            Self::None => None,
            Self::OfTwin(own) => {
                let mut reader = twin.reader();
                let mut value = |value: &ValueOfTwin| match value {
                    ValueOfTwin::Fixed(text) => text.clone(),
                    ValueOfTwin::Twin(path) => reader.primitive(path).unwrap_or_else(|| path.as_str().into()),
                };
                let added =
                    own.iter().map(|(name, path)| AddedProperty { name: name.clone(), value: value(path) });
                Some(added.collect())
            }
        }
    }
}

impl Event {
    /// The application properties a reader of this event hub gets: the sender's own but those that an enrichment
    /// replaces, then the enrichments.
    pub fn application_properties(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let added = self.enrichments.as_deref().unwrap_or_default();
        let is_kept =
            |(name, _): &&(String, Option<String>)| !added.iter().any(|added| *added.name == **name);
        let own = self.data.properties.application.iter().filter(is_kept);
        let own = own.map(|(name, value)| (name.as_str(), value.as_deref()));
        own.chain(added.iter().map(|added| (&*added.name, Some(&*added.value))))
    }
}
