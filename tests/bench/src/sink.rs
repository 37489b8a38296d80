//! The limit of the MQTT loads: TLS, the packet codec, acknowledgements and routing by exact topic. The least server
//! that answers them, since it does no work that a hub or broker could leave out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use crate::mqtt;
use crate::servers::ADDRESS_FILE;
use crate::wire::Wire;

type Inbox = UnboundedSender<Vec<u8>>;
type Routes = Arc<Mutex<HashMap<Vec<u8>, Inbox>>>;

/// Serves with this certificate until it is killed; says in `state` where.
pub(crate) fn run(state: &Path, certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(state, acceptor))
}

async fn serve(state: &Path, acceptor: TlsAcceptor) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let written = state.join("address.new");
    std::fs::write(&written, listener.local_addr()?.to_string())?;
    std::fs::rename(written, state.join(ADDRESS_FILE))?;
    let routes = Routes::default();
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (acceptor, routes) = (acceptor.clone(), Arc::clone(&routes));
        tokio::spawn(async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                // A client that leaves ends its connection; nobody else is concerned.
                let _ = answer(Wire::new(tls), &routes).await;
            }
        });
    }
}

async fn answer(mut wire: Wire, routes: &Routes) -> anyhow::Result<()> {
    let mut inbox: Option<(Inbox, UnboundedReceiver<Vec<u8>>)> = None;
    loop {
        let is_open = match &mut inbox {
            None => wire.fill().await?,
            Some((_, messages)) => tokio::select! {
                filled = wire.fill() => filled?,
                Some(message) = messages.recv() => {
                    wire.out.extend_from_slice(&message);
                    while let Ok(message) = messages.try_recv() {
                        wire.out.extend_from_slice(&message);
                    }
                    wire.flush().await?;
                    continue;
                }
            },
        };
        if !is_open {
            return Ok(());
        }
        let mut filters = Vec::new();
        mqtt::drain(&mut wire, |packet, out| {
            match packet.kind {
                mqtt::CONNECT => mqtt::connack(out, 0),
                mqtt::PUBLISH => {
                    let publish = packet.as_publish().context("a malformed PUBLISH")?;
                    if let Some(id) = publish.id {
                        mqtt::puback(out, id);
                    }
                    if let Some(to) = routes.lock().get(publish.topic) {
                        let mut message = Vec::with_capacity(publish.topic.len() + publish.payload.len() + 8);
                        mqtt::publish(&mut message, publish.topic, None, publish.payload);
                        // A subscriber that has gone gets nothing.
                        let _ = to.send(message);
                    }
                }
                mqtt::SUBSCRIBE => {
                    let id = packet.id().context("a SUBSCRIBE without its packet id")?;
                    let filter = packet.body.get(4..packet.body.len().saturating_sub(1));
                    filters.push(filter.context("a malformed SUBSCRIBE")?.to_vec());
                    mqtt::suback(out, id, 0);
                }
                mqtt::PINGREQ => mqtt::bare(out, mqtt::PINGRESP),
                _ => {}
            }
            Ok(())
        })?;
        for filter in filters {
            let (inbox, _) = inbox.get_or_insert_with(unbounded_channel);
            routes.lock().insert(filter, inbox.clone());
        }
        wire.flush().await?;
        wire.rest();
    }
}
