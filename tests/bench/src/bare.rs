//! The limit of `rest`: axum and hyper behind the emulator's own TLS set-up, answering a twin call with bytes that
//! never change. It reads a body to its end and does nothing with it.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
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
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::servers::ADDRESS_FILE;

/// Serves until it is killed.
pub(crate) fn run(state: &Path, body: &Path) -> anyhow::Result<()> {
    let body = Bytes::from(std::fs::read(body)?);
    let (folder, now) = (StateFolder::open(state)?, SystemClock.now());
    let root = RootAuthority::load_or_make(&folder, now)?;
    let certificate = root.server_certificate(&["localhost".to_owned()], &folder, now)?;
    let config = tls::server_config(&certificate, &[b"http/1.1"])?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(state, config, body))
}

async fn serve(state: &Path, config: Arc<ServerConfig>, body: Bytes) -> anyhow::Result<()> {
    let router = Router::new().route("/twins/{id}", get(read).patch(write)).with_state(body);
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
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body)
}

async fn write(State(body): State<Bytes>, _change: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body)
}
