//! The identities in the scope of an edge device: all of them page by page, or one. The calls with a body ask for an
//! edge device further down and say by which chain it hangs below the caller.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use hub::Hub;
use hub::error::HubError;
use hub::gate::operations::ReadEdgeScope;
use hub::identity::ScopePage;
use hub::ids::{DeviceId, IdentityId, ModuleId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::edge::{chain, required};
use crate::error::Answer;
use crate::extract::{IdentityCaller, JsonBody, ModulePath};
use crate::json::{self, Members};
use crate::names::{member, query as parameter};
use crate::query;
use crate::registry::render;

pub(super) async fn own(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    uri: Uri,
) -> Answer {
    let by = caller.admit::<ReadEdgeScope>(&hub, (device.clone(), module.clone())).await?;
    // As with `top`, what is no number counts as the most.
    let size = query::parameter(&uri, parameter::DEVICE_COUNT).and_then(|count| count.parse().ok());
    let after = query::parameter(&uri, parameter::CONTINUATION_TOKEN);
    let after = last_device(after.as_deref())?;
    let page = hub.edge_scope(by, None, size.unwrap_or(0), after.as_ref())?;
    let link = page.next_after.as_ref().map(|last| next_link(&uri, last, size.unwrap_or(0)));
    Ok(render::scope(&page, link))
}

pub(super) async fn of_target(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ReadEdgeScope>(&hub, (device, module)).await?;
    let body = json::object(&bytes)?;
    let body = Members::of(&body);
    let size = body.whole_number(member::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok());
    let after = last_device(body.text(member::CONTINUATION_LINK)?)?;
    let page = hub.edge_scope(by, Some(&chain(body)?), size.unwrap_or(0), after.as_ref())?;
    Ok(render::scope(&page, page.next_after.as_ref().map(ToString::to_string)))
}

pub(super) async fn identity_in_own(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    uri: Uri,
) -> Answer {
    let by = caller.admit::<ReadEdgeScope>(&hub, (device, module)).await?;
    let wanted = query::parameter(&uri, parameter::TARGET_DEVICE).unwrap_or_default();
    let module = query::parameter(&uri, parameter::TARGET_MODULE);
    let found = hub.identity_in_edge_scope(by, None, &identity(&wanted, module.as_deref())?)?;
    Ok(one(&found))
}

pub(super) async fn identity_of_target(
    State(hub): State<Arc<Hub>>,
    IdentityCaller(caller): IdentityCaller,
    ModulePath(device, module): ModulePath,
    JsonBody(bytes): JsonBody,
) -> Answer {
    let by = caller.admit::<ReadEdgeScope>(&hub, (device, module)).await?;
    let body = json::object(&bytes)?;
    let body = Members::of(&body);
    let chain = chain(body)?;
    let wanted = identity(required(body, member::TARGET_DEVICE)?, body.text(member::TARGET_MODULE)?)?;
    Ok(one(&hub.identity_in_edge_scope(by, Some(&chain), &wanted)?))
}

fn one(found: &ScopePage) -> axum::response::Response {
    render::scope(found, None)
}

/// An empty module means none, which is how edgeHub asks for a device.
fn identity(device: &str, module: Option<&str>) -> Result<IdentityId, HubError> {
    let module = module.filter(|module| !module.is_empty());
    Ok(IdentityId { device: DeviceId::parse(device)?, module: module.map(ModuleId::parse).transpose()? })
}

/// What a continuation says: the last device of the page before.
fn last_device(given: Option<&str>) -> Result<Option<DeviceId>, HubError> {
    given.filter(|given| !given.is_empty()).map(DeviceId::parse).transpose()
}

/// Where the next page is: the path of the request with a token, requested by edgeHub as it is.
fn next_link(uri: &Uri, last: &DeviceId, size: usize) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let version = query::parameter(uri, parameter::API_VERSION).unwrap_or_default();
    format!(
        "{}?{}={size}&{}={}&{}={}",
        uri.path(),
        parameter::DEVICE_COUNT,
        parameter::CONTINUATION_TOKEN,
        encoded(last.as_str()),
        parameter::API_VERSION,
        encoded(&version)
    )
}
