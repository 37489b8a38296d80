//! What the hub of an edge device asks for and does for the devices below it: contract/rest.md 1.15. The path names the
//! module that calls, `$edgeHub` of the device; what it may see is for the core to say.
//!
//! [`scope`] holds the reading calls, [`modules`] those on the modules of nested edge devices.

mod modules;
mod scope;

use axum::http::Method;
use hub::error::{ErrorCode, HubError};
use hub::identity::AuthChain;

use crate::json::Members;
use crate::names::{member, path};
use crate::routes::Routes;
use crate::state::HttpState;

pub(crate) fn routes() -> Routes<HttpState> {
    Routes::new()
        .with(Method::GET, path::SCOPE, scope::own)
        .with(Method::GET, path::SCOPE_IDENTITY, scope::identity_in_own)
        .with(Method::POST, path::TARGET_SCOPE, scope::of_target)
        .with(Method::POST, path::TARGET_IDENTITY, scope::identity_of_target)
        // The contract has PUT; edgeHub's client posts.
        .with(Method::PUT, path::PUT_ON_BEHALF, modules::put)
        .with(Method::POST, path::PUT_ON_BEHALF, modules::put)
        .with(Method::POST, path::GET_ON_BEHALF, modules::get)
        .with(Method::POST, path::LIST_ON_BEHALF, modules::list)
        .with(Method::POST, path::DELETE_ON_BEHALF, modules::delete)
}

fn chain(body: Members<'_>) -> Result<AuthChain, HubError> {
    AuthChain::parse(required(body, member::AUTH_CHAIN)?)
}

fn required<'a>(body: Members<'a>, name: &str) -> Result<&'a str, HubError> {
    body.text(name)?
        .ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, format!("The member '{name}' is missing.")))
}
