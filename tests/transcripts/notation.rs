//! AMQP values as text and back, with every type that differs on the wire told apart: `7` is a uint, `int:7` an int,
//! `"a"` a string, `:a` a symbol, `b"a"` or `0x61` binary, `{:k=1}` a map, `[1 2]` a list, `array[:a]` an array, and
//! `accepted()` or `properties(to="x")` described types with the fields that are not null.

use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::{Array, Binary, OrderedMap, Symbol, Timestamp};
use uuid::Uuid;

use crate::schema::Kind;

pub(crate) fn write(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Ubyte(number) => format!("ubyte:{number}"),
        Value::Ushort(number) => format!("ushort:{number}"),
        Value::Ulong(number) => format!("ulong:{number}"),
        Value::Int(number) => format!("int:{number}"),
        Value::Long(number) => format!("long:{number}"),
        Value::Timestamp(time) => format!("timestamp:{}", time.milliseconds()),
        Value::Uuid(id) => format!("uuid:{}", Uuid::from_bytes(*id.as_inner())),
        Value::String(text) => quoted(text),
        Value::Symbol(Symbol(name)) => format!(":{name}"),
        Value::Binary(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control()) => format!("b{}", quoted(text)),
            _ => bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        },
        Value::List(values) => format!("[{}]", joined(values)),
        Value::Array(Array(values)) => format!("array[{}]", joined(values)),
        Value::Map(pairs) => {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{}={}", write(key), write(value))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        Value::Described(described) => {
            let (kind, fields) = parts(described);
            format!("{}({fields})", kind.name)
        }
        other => panic!("there is no notation for {other:?}"),
    }
}

/// The kind of a described value, and its fields as text.
pub(crate) fn parts(described: &Described<Value>) -> (&'static Kind, String) {
    let Descriptor::Code(code) = described.descriptor else {
        panic!("{:?} is no number", described.descriptor)
    };
    let kind = Kind::of(code);
    let text = match (kind.fields, &described.value) {
        (Some(names), Value::List(values)) => {
            assert!(values.len() <= names.len(), "{} has {} fields", kind.name, values.len());
            let set = names.iter().zip(values).filter(|(_, value)| **value != Value::Null);
            set.map(|(name, value)| format!("{name}={}", write(value))).collect::<Vec<_>>().join(" ")
        }
        (None, value) => write(value),
        (Some(_), other) => panic!("{} is a list, not {other:?}", kind.name),
    };
    (kind, text)
}

fn joined(values: &[Value]) -> String {
    values.iter().map(write).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

/// The value that a whole line says.
pub(crate) fn read(text: &str) -> Value {
    let mut reader = Reader(text);
    let value = reader.value();
    assert!(reader.0.trim().is_empty(), "left over: {}", reader.0);
    value
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn value(&mut self) -> Value {
        if self.peeks("\"") {
            return Value::String(self.quoted());
        }
        if self.peeks("b\"") {
            self.eat("b");
            return Value::Binary(Binary::from(self.quoted().into_bytes()));
        }
        if self.eat("{") {
            let mut pairs = OrderedMap::new();
            while !self.eat("}") {
                let key = self.value();
                assert!(self.eat("="), "a key has a value: {}", self.0);
                pairs.insert(key, self.value());
            }
            return Value::Map(pairs);
        }
        if self.eat("[") {
            return Value::List(self.values());
        }
        if self.eat("array[") {
            return Value::Array(Array(self.values()));
        }
        let word = self.word();
        if self.eat("(") { self.described(Kind::named(word)) } else { scalar(word) }
    }

    /// What stands up to the bracket that closes it.
    fn values(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        while !self.eat("]") {
            values.push(self.value());
        }
        values
    }

    /// Fields that are not named are null, or left out where none after them is named.
    fn described(&mut self, kind: &Kind) -> Value {
        let value = match kind.fields {
            None => self.value(),
            Some(names) => {
                let mut fields = Vec::new();
                while !self.peeks(")") {
                    let name = self.word();
                    let place = names.iter().position(|known| *known == name);
                    let place = place.unwrap_or_else(|| panic!("{} has no field '{name}'", kind.name));
                    assert!(self.eat("="), "a field has a value: {}", self.0);
                    let length = fields.len().max(place + 1);
                    fields.resize(length, Value::Null);
                    fields[place] = self.value();
                }
                Value::List(fields)
            }
        };
        assert!(self.eat(")"), "{} is not closed: {}", kind.name, self.0);
        Value::Described(Box::new(Described { descriptor: Descriptor::Code(kind.code), value }))
    }

    fn quoted(&mut self) -> String {
        let mut texts = serde_json::Deserializer::from_str(self.0).into_iter::<String>();
        let text = texts.next().expect("a string").expect("a string as in JSON");
        self.0 = &self.0[texts.byte_offset()..];
        text
    }

    fn word(&mut self) -> &'a str {
        let text = self.0.trim_start();
        let end = text.find([' ', '(', ')', '[', ']', '{', '}', '=']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        assert!(!word.is_empty(), "nothing to read: {text}");
        self.0 = rest;
        word
    }

    fn peeks(&self, mark: &str) -> bool {
        self.0.trim_start().starts_with(mark)
    }

    fn eat(&mut self, mark: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

fn scalar(word: &str) -> Value {
    if let Some(name) = word.strip_prefix(':') {
        return Value::Symbol(Symbol::from(name));
    }
    if let Some(hex) = word.strip_prefix("0x") {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hexadecimal digits");
        return Value::Binary(Binary::from((0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>()));
    }
    let (name, digits) = word.split_once(':').unwrap_or(("uint", word));
    match (word, name) {
        ("null", _) => Value::Null,
        ("true", _) => Value::Bool(true),
        ("false", _) => Value::Bool(false),
        (_, "uint") => Value::Uint(number(digits)),
        (_, "ubyte") => Value::Ubyte(number(digits)),
        (_, "ushort") => Value::Ushort(number(digits)),
        (_, "ulong") => Value::Ulong(number(digits)),
        (_, "int") => Value::Int(number(digits)),
        (_, "long") => Value::Long(number(digits)),
        (_, "timestamp") => Value::Timestamp(Timestamp::from_milliseconds(number(digits))),
        (_, "uuid") => Value::Uuid(digits.parse::<Uuid>().expect("a UUID").into_bytes().into()),
        _ => panic!("no notation: {word}"),
    }
}

fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(digits: &str) -> N {
    digits.parse().expect("a number of its type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_as_it_is_written_and_survives_the_wire() {
        for text in [
            "null",
            "true",
            "7",
            "ubyte:7",
            "ushort:7",
            "ulong:7",
            "int:-7",
            "long:-7",
            "timestamp:1700000000000",
            "uuid:936da01f-9abd-4d9d-80c7-02af85c822a8",
            "\"a \\\"b\\\" = {c}\"",
            ":amqp:accepted:list",
            "b\"text\"",
            "0x00ff",
            "[1 \"a\" null]",
            "array[:a :b]",
            "{:status=int:200 :version=long:3}",
            "accepted()",
            "rejected(error=error(condition=:amqp:not-found description=\"none\"))",
            "attach(name=\"a\" handle=0 is-receiver=false target=target(address=\"$cbs\"))",
            "data(b\"x\")",
        ] {
            let value = read(text);
            assert_eq!(write(&value), text);
            let bytes = serde_amqp::to_vec(&value).unwrap();
            assert_eq!(serde_amqp::from_slice::<Value>(&bytes).unwrap(), value, "{text}");
        }
    }
}
