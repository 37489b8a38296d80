//! The query part of a URI: parameters by name, decoded once.
//!
//! A literal `+` stays a plus: ids may contain it and never a space (contract/rest.md 0.1).

use std::borrow::Cow;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

/// The first value of the parameter, names compared without regard to case; empty when it came without `=`.
/// What is not UTF-8 becomes U+FFFD, which no value here may hold: a parameter that was given is never overlooked.
pub(crate) fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(key, _)| decoded(key).eq_ignore_ascii_case(name))?;
    Some(decoded(value))
}

/// Most texts hold no escape and are what they say.
fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('%') { percent_decode_str(text).decode_utf8_lossy() } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(query: &str, name: &str) -> Option<String> {
        let uri: Uri = format!("/x{query}").parse().unwrap();
        parameter(&uri, name).map(Cow::into_owned)
    }

    #[test]
    fn parameters_are_found_in_any_order_and_decoded() {
        assert_eq!(value("?top=5&api-version=2021-04-12", "api-version").as_deref(), Some("2021-04-12"));
        assert_eq!(value("?API-Version=a%2Db", "api-version").as_deref(), Some("a-b"));
        assert_eq!(value("?reject", "reject").as_deref(), Some(""));
        assert_eq!(value("?api-version=1&%3Freject=true", "?reject").as_deref(), Some("true"));
        assert_eq!(value("?device=a+b%2B", "device").as_deref(), Some("a+b+"));
    }

    #[test]
    fn an_absent_parameter_is_none_and_an_undecodable_one_is_not() {
        assert_eq!(value("", "top"), None);
        assert_eq!(value("?atop=1", "top"), None);
        assert_eq!(value("?device=a%ff", "device").as_deref(), Some("a\u{fffd}"));
    }
}
