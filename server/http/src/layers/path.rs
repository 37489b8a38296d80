//! The spelling of a path: literal segments in any case, a trailing slash or none (contract/rest.md 0.1).
//!
//! The path is rewritten to the spelling of its template before the router sees it. Ids are passed on exactly as
//! they came, still percent-encoded: a `%2F` inside an id never becomes a separator, and case counts.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

use crate::names;

/// Gives the request the path its route is registered under; a path of no route stays as it is, as does one that is
/// spelled right.
pub(crate) fn canonicalize(mut request: Request) -> Request {
    if let Some(uri) = canonical_uri(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn canonical_uri(uri: &Uri) -> Option<Uri> {
    let path = canonical(uri.path()).filter(|path| path != uri.path())?;
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

fn canonical(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    names::path::TEMPLATES.iter().find_map(|template| spell(template, path))
}

/// `path` in the spelling of `template`, if it is of that shape.
fn spell(template: &str, path: &str) -> Option<String> {
    let mut spelled = String::with_capacity(path.len());
    let mut segments = path.split('/');
    for (index, expected) in template.split('/').enumerate() {
        let segment = segments.next()?;
        let is_id = expected.starts_with('{');
        if is_id && segment.is_empty() || !is_id && !expected.eq_ignore_ascii_case(segment) {
            return None;
        }
        if index > 0 {
            spelled.push('/');
        }
        spelled.push_str(if is_id { segment } else { expected });
    }
    segments.next().is_none().then_some(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_segments_match_in_any_case_and_ids_keep_theirs() {
        assert_eq!(canonical("/Devices/D1/MODULES/M1").as_deref(), Some("/devices/D1/modules/M1"));
        assert_eq!(canonical("/$IOTHUB/WebSocket/").as_deref(), Some("/$iothub/websocket"));
    }

    #[test]
    fn one_trailing_slash_is_forgiven_and_an_empty_id_is_not() {
        assert_eq!(canonical("/devices/").as_deref(), Some("/devices"));
        assert_eq!(canonical("/devices/d1/modules/").as_deref(), Some("/devices/d1/modules"));
        assert_eq!(canonical("/devices//"), None);
        assert_eq!(canonical("/devices//modules"), None);
    }

    #[test]
    fn ids_stay_encoded_and_a_plus_stays_a_plus() {
        assert_eq!(canonical("/twins/a%2Fb+c%23/").as_deref(), Some("/twins/a%2Fb+c%23"));
    }

    #[test]
    fn ids_that_look_like_literals_are_ids() {
        assert_eq!(canonical("/devices/Modules").as_deref(), Some("/devices/Modules"));
        assert_eq!(
            canonical("/devices/Devices/modules/Modules").as_deref(),
            Some("/devices/Devices/modules/Modules")
        );
    }

    #[test]
    fn the_query_survives_a_rewrite() {
        let uri = Uri::from_static("/DEVICES/?top=5&api-version=2021-04-12");
        assert_eq!(canonical_uri(&uri).unwrap(), "/devices?top=5&api-version=2021-04-12");
    }

    #[test]
    fn a_path_of_no_route_stays_as_it_is() {
        for path in ["/", "/nonsense", "/devices/d/modules/m/x", "/$iothub"] {
            assert_eq!(canonical(path), None, "{path}");
        }
    }
}
