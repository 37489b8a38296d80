//! Keeps web pages of other sites from using the admin API of whoever looks at them: a browser would send their
//! requests to the loopback, and nobody logs in there.
//!
//! Browsers say in `Sec-Fetch-Site` where a request comes from and no page can change that, but they say it only
//! to hosts they trust. A page whose name was made to resolve to the loopback (DNS rebinding) is told by its `Host`:
//! it carries a public name, which nobody calls this API by.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use hub::error::{ErrorCode, HubError};

use crate::error::Failure;
use crate::names;

/// Lets requests through that no foreign page made; `own` is the name the hub was configured with.
pub(crate) async fn check(
    State(own): State<Arc<str>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let site = request.headers().get(names::header::FETCH_SITE).map(|value| value.as_bytes());
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri().host().or(Some(names::LOCALHOST)),
    };
    let is_same_site = matches!(site, None | Some(b"same-origin" | b"none"));
    if is_same_site && host.is_some_and(|host| is_local_name(host, &own)) {
        return Ok(next.run(request).await);
    }
    let message = "The admin API answers to an address, to localhost, to a name without dots and to the hub's own name, \
                   and not to web pages of other sites.";
    Err(HubError::new(ErrorCode::GenericForbidden, message).into())
}

/// Addresses, `localhost` and below, names without a dot (of containers) and the hub's own name.
fn is_local_name(host: &str, own: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.split_once(':').map_or(host, |(name, _port)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below_localhost = name.strip_suffix(names::LOCALHOST).is_some_and(|rest| rest.ends_with('.'));
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || is_below_localhost
        || name == own.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_foreign_page_could_carry_are_refused_and_local_ones_are_not() {
        for local in
            ["localhost:8080", "127.0.0.1", "[::1]:8080", "iothub.localhost", "iothub:8080", "hub.example:1"]
        {
            assert!(is_local_name(local, "Hub.Example"), "{local}");
        }
        for foreign in
            ["evil.example:8080", "127.0.0.1.evil.example", "evillocalhost.example", "notlocalhost.x"]
        {
            assert!(!is_local_name(foreign, "localhost"), "{foreign}");
        }
    }
}
