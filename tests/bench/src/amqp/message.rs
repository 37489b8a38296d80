//! Messages: properties, annotations, application properties, a body of data or one value.

use anyhow::Context as _;

use crate::amqp::Value;

mod code {
    pub(super) const ANNOTATIONS: u64 = 0x72;
    pub(super) const PROPERTIES: u64 = 0x73;
    pub(super) const APPLICATION: u64 = 0x74;
    pub(super) const DATA: u64 = 0x75;
    pub(super) const VALUE: u64 = 0x77;
}

/// What of a message a load writes or reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) message_id: Value,
    pub(crate) to: Option<String>,
    pub(crate) correlation_id: Value,
    /// A map of symbols, or null.
    pub(crate) annotations: Value,
    /// A map of strings, or null.
    pub(crate) application: Value,
    /// Data, or a string that is the value.
    pub(crate) body: Value,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            message_id: Value::Null,
            to: None,
            correlation_id: Value::Null,
            annotations: Value::Null,
            application: Value::Null,
            body: Value::Null,
        }
    }
}

impl Message {
    /// With a body of data.
    pub(crate) fn data(body: &[u8]) -> Self {
        Self { body: Value::Binary(body.to_vec()), ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.annotations != Value::Null {
            Value::described(code::ANNOTATIONS, self.annotations.clone()).put(&mut out);
        }
        let to = self.to.as_deref().map_or(Value::Null, Value::string);
        let properties =
            [&self.message_id, &Value::Null, &to, &Value::Null, &Value::Null, &self.correlation_id];
        if properties.iter().any(|value| **value != Value::Null) {
            let properties = properties.into_iter().cloned().collect();
            Value::described(code::PROPERTIES, Value::List(properties)).put(&mut out);
        }
        if self.application != Value::Null {
            Value::described(code::APPLICATION, self.application.clone()).put(&mut out);
        }
        match &self.body {
            Value::Null => {}
            body @ Value::Binary(_) => Value::described(code::DATA, body.clone()).put(&mut out),
            body => Value::described(code::VALUE, body.clone()).put(&mut out),
        }
        out
    }

    pub(crate) fn parse(mut bytes: &[u8]) -> anyhow::Result<Self> {
        let mut message = Self::default();
        while !bytes.is_empty() {
            let section = Value::take(&mut bytes)?;
            let (code, value) = section.split().context("a section is described")?;
            match (code, value) {
                (code::ANNOTATIONS, map) => message.annotations = map.clone(),
                (code::PROPERTIES, Value::List(fields)) => {
                    let field = |n| fields.get(n).cloned().unwrap_or(Value::Null);
                    message.message_id = field(0);
                    message.to = field(2).text().map(str::to_owned);
                    message.correlation_id = field(5);
                }
                (code::APPLICATION, map) => message.application = map.clone(),
                (code::DATA | code::VALUE, body) => message.body = body.clone(),
                _ => {}
            }
        }
        Ok(message)
    }

    pub(crate) fn body_bytes(&self) -> &[u8] {
        match &self.body {
            Value::Binary(bytes) => bytes,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back() {
        let message = Message {
            message_id: Value::string("m"),
            to: Some("t".into()),
            correlation_id: Value::Uuid([1; 16]),
            annotations: Value::Map(vec![(Value::symbol("operation"), Value::string("GET"))]),
            application: Value::Map(vec![(Value::string("k"), Value::string("v"))]),
            ..Message::data(b"body")
        };
        assert_eq!(Message::parse(&message.bytes()).unwrap(), message);
        assert_eq!(message.body_bytes(), b"body");
    }
}
