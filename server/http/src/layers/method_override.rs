//! `X-HTTP-Method-Override: PATCH` on a POST (contract/rest.md 0.1): Java's HTTP client cannot send PATCH.
//!
//! Only this one pair is honoured; any other override is left alone, so a POST stays a POST.

use axum::extract::Request;
use axum::http::Method;

use crate::names;

/// Makes the meant verb the request's own.
pub(crate) fn apply(mut request: Request) -> Request {
    let meant = request.headers().get(names::header::METHOD_OVERRIDE);
    let means_patch =
        meant.is_some_and(|verb| verb.as_bytes().eq_ignore_ascii_case(Method::PATCH.as_str().as_bytes()));
    if means_patch && request.method() == Method::POST {
        *request.method_mut() = Method::PATCH;
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn becomes(method: Method, meant: &str) -> Method {
        let request = Request::builder().method(method).header(names::header::METHOD_OVERRIDE, meant);
        apply(request.body(Body::empty()).unwrap()).method().clone()
    }

    #[test]
    fn a_post_that_means_patch_becomes_patch() {
        assert_eq!(becomes(Method::POST, "PATCH"), Method::PATCH);
        assert_eq!(becomes(Method::POST, "patch"), Method::PATCH);
    }

    #[test]
    fn no_other_verb_is_overridden() {
        assert_eq!(becomes(Method::GET, "PATCH"), Method::GET);
        assert_eq!(becomes(Method::POST, "DELETE"), Method::POST);
    }
}
