//! The spelling of a path: literal segments in any case, a trailing slash or none (contract/rest.md 0.1).
//!
//! The path is rewritten to the spelling of its template before the router sees it. Ids are passed on exactly as
//! they came, still percent-encoded: a `%2F` inside an id never becomes a separator, and case counts.

use std::borrow::Cow;
use std::sync::LazyLock;

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
    let path = match canonical(uri.path())? {
        Cow::Borrowed(spelled_right) if spelled_right.len() == uri.path().len() => return None,
        path => path,
    };
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

/// `path` as its route spells it; `None` for a path of no route.
fn canonical(path: &str) -> Option<Cow<'_, str>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (mut segments, mut count) = ([""; SEGMENTS_MAX], 0);
    for segment in path.split('/') {
        *segments.get_mut(count)? = segment;
        count += 1;
    }
    let segments = segments.get(..count)?;
    let template = TEMPLATES.iter().find(|template| is_of_shape(segments, template))?;
    let pairs = || segments.iter().copied().zip(template.iter().copied());
    if pairs().all(|(segment, expected)| is_id(expected) || segment == expected) {
        return Some(Cow::Borrowed(path));
    }
    let spell = |(segment, expected)| if is_id(expected) { segment } else { expected };
    Some(Cow::Owned(pairs().map(spell).collect::<Vec<_>>().join("/")))
}

fn is_of_shape(segments: &[&str], template: &[&str]) -> bool {
    let fits = |(segment, expected): (&&str, &&str)| match is_id(expected) {
        true => !segment.is_empty(),
        false => expected.eq_ignore_ascii_case(segment),
    };
    segments.len() == template.len() && segments.iter().zip(template).all(fits)
}

fn is_id(expected: &str) -> bool {
    expected.starts_with('{')
}

/// The templates, split once for all requests.
static TEMPLATES: LazyLock<Vec<Vec<&str>>> =
    LazyLock::new(|| names::path::TEMPLATES.iter().map(|template| template.split('/').collect()).collect());
/// Segments of the longest template, the empty one before the first slash included.
const SEGMENTS_MAX: usize = 7;

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
    fn a_path_spelled_right_is_not_rewritten() {
        assert_eq!(canonical_uri(&Uri::from_static("/devices/D1/modules?top=5")), None);
        assert_eq!(canonical_uri(&Uri::from_static("/devices/D1/modules/")).unwrap(), "/devices/D1/modules");
    }

    #[test]
    fn every_template_is_found_by_its_own_spelling() {
        for template in names::path::TEMPLATES {
            assert_eq!(canonical(template).as_deref(), Some(*template));
        }
    }

    #[test]
    fn a_path_of_no_route_stays_as_it_is() {
        for path in ["/", "/nonsense", "/devices/d/modules/m/x", "/$iothub"] {
            assert_eq!(canonical(path), None, "{path}");
        }
    }
}
