//! `GET /$iothub/websocket`: the upgrade by which MQTT and AMQP share port 443 with REST (contract/rest.md 1.1 row 45,
//! contract/mqtt.md 2, contract/amqp.md 1); for Event Hubs clients also at their own path (contract/eventhubs.md 1).
//!
//! The first sub-protocol the client offers that some head speaks is chosen, compared without regard to case and
//! echoed in the client's own spelling. From then on the socket is a [`net::Io`] like any other and the head serves
//! it to its end. Neither a token nor an api-version belongs here: the protocol inside decides who is connected.

mod byte_stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::ExtensionRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::routing::get;
use hub::error::{ErrorCode, HubError};
use net::{Carrier, Io, PeerInfo, StreamHead};

use self::byte_stream::{ByteStream, MESSAGE_BYTES};
use crate::error::Answer;
use crate::names;
use crate::state::{Connection, HttpState};

/// Read buffer of one WebSocket; ours, so that an idle one stays small.
const READ_BUFFER_BYTES: usize = 4 * 1024;

pub(crate) fn routes() -> Router<HttpState> {
    Router::new()
        .route(names::path::WEBSOCKET, get(upgrade))
        .route(names::path::EVENT_HUBS_WEBSOCKET, get(upgrade))
}

async fn upgrade(
    State(state): State<HttpState>,
    headers: HeaderMap,
    connection: Result<Extension<Arc<Connection>>, ExtensionRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer {
    let mut upgrade =
        upgrade.map_err(|rejection| bad_request(format!("This is no WebSocket upgrade: {rejection}.")))?;
    let Ok(Extension(connection)) = connection else {
        return Err(HubError::new(ErrorCode::ServerError, "The connection cannot be upgraded.")
            .with_reason("the accept loop attached no Connection")
            .into());
    };
    let Connection { peer, drain, permit } = Connection::clone(&connection);
    let (head, spelling) = choose(&state, &headers)?;
    upgrade.set_selected_protocol(spelling);
    let (tracked, cut) = (state.upgraded.token(), state.cut);
    let peer = PeerInfo { carrier: Carrier::WebSocket, ..peer };
    Ok(upgrade
        .max_message_size(MESSAGE_BYTES)
        .max_frame_size(MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .on_failed_upgrade(|error| tracing::debug!(%error, "websocket upgrade failed"))
        .on_upgrade(async move |socket| {
            tokio::select! {
                () = head.serve(Io::new(ByteStream::new(socket)), peer, drain) => {}
                () = cut.cancelled() => tracing::debug!("cut off"),
            }
            drop((permit, tracked));
        }))
}

/// The head for the first offer anybody speaks, and that offer as the client spelled it.
fn choose(state: &HttpState, headers: &HeaderMap) -> Result<(Arc<dyn StreamHead>, HeaderValue), HubError> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offers =
        offers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim);
    offers
        .find_map(|offer| {
            let (_, head) = state.heads.iter().find(|(name, _)| name.eq_ignore_ascii_case(offer))?;
            Some((Arc::clone(head), HeaderValue::from_str(offer).ok()?))
        })
        .ok_or_else(|| {
            let mut spoken: Vec<_> = state.heads.keys().copied().collect();
            spoken.sort_unstable();
            bad_request(format!(
                "None of the offered WebSocket sub-protocols is spoken here: {}.",
                spoken.join(", ")
            ))
        })
}

fn bad_request(message: String) -> HubError {
    HubError::new(ErrorCode::GenericBadRequest, message)
}
