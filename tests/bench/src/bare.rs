//! The limits of `rest`: axum and hyper behind the emulator's own TLS set-up. One answers a twin call with bytes that
//! never change, and reads a body to its end and does nothing with it. The other is the handler that PERFORMANCE
//! section 6 measured: twins in a map, serialised for each answer, and a patch parsed and merged.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use hub::time::{Clock as _, SystemClock};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use iothub_emulator::certificates::RootAuthority;
use iothub_emulator::state_folder::StateFolder;
use iothub_emulator::tls;
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::servers::ADDRESS_FILE;

/// Serves until it is killed.
pub(crate) fn run(state: &Path, body: &Path, keeps_twins: bool) -> anyhow::Result<()> {
    let body = Bytes::from(std::fs::read(body)?);
    let router = if keeps_twins {
        let twins = Twins { first: serde_json::from_slice(&body)?, by_id: Mutex::default() };
        Router::new().route(PATH, get(read_kept).patch(write_kept)).with_state(Arc::new(twins))
    } else {
        Router::new().route(PATH, get(read).patch(write)).with_state(body)
    };
    let (folder, now) = (StateFolder::open(state)?, SystemClock.now());
    let root = RootAuthority::load_or_make(&folder, now)?;
    let certificate = root.server_certificate(&["localhost".to_owned()], &folder, now)?;
    let config = tls::server_config(&certificate, &[b"http/1.1"])?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(state, config, router))
}

async fn serve(state: &Path, config: Arc<ServerConfig>, router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let acceptor = TlsAcceptor::from(config);
    let written = state.join("address.new");
    std::fs::write(&written, listener.local_addr()?.to_string())?;
    std::fs::rename(written, state.join(ADDRESS_FILE))?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                // A client that leaves ends its connection; nobody else is concerned.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
            }
        });
    }
}

async fn read(State(body): State<Bytes>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], body)
}

async fn write(State(body): State<Bytes>, _change: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], body)
}

/// Twins by the device's id; one nobody wrote to is like the first.
struct Twins {
    first: Value,
    by_id: Mutex<HashMap<String, Value>>,
}

impl Twins {
    /// What `change` leaves of a twin, as text.
    fn text(&self, id: String, change: impl FnOnce(&mut Value)) -> String {
        let mut twins = self.by_id.lock();
        let twin = twins.entry(id).or_insert_with(|| self.first.clone());
        change(twin);
        twin.to_string()
    }
}

async fn read_kept(State(twins): State<Arc<Twins>>, Segment(id): Segment<String>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], twins.text(id, |_| {}))
}

async fn write_kept(
    State(twins): State<Arc<Twins>>,
    Segment(id): Segment<String>,
    Json(change): Json<Value>,
) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], twins.text(id, |twin| merge(twin, change)))
}

fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(members), Value::Object(change)) => {
            for (key, change) in change {
                if change.is_null() {
                    members.remove(&key);
                } else {
                    merge(members.entry(key).or_insert(Value::Null), change);
                }
            }
        }
        (value, change) => *value = change,
    }
}

const PATH: &str = "/twins/{id}";
const JSON: &str = "application/json; charset=utf-8";
