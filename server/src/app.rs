//! The whole program on one page: configuration in, hub, heads and listeners out, running until told to stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amqp::{AmqpHead, AmqpOptions, EventEndpoint};
use auth::{Authenticator, CertificateAuthorities};
use http_head::{AdminState, HttpState, ListenerState, Readiness};
use hub::entropy::Entropy;
use hub::error::HubError;
use hub::time::{Clock, SystemClock};
use hub::{Hub, HubConfig};
use mqtt::{MqttHead, MqttOptions};
use net::StreamHead;
use tokio::sync::watch;

use crate::certificates::{CertificateError, RootAuthority};
use crate::config::Config;
use crate::endpoints::Endpoints;
use crate::listen::bind::{BindErrors, Bound, Plan, bind_all};
use crate::listen::{AcceptLimits, Lifecycle, Listener, Service};
use crate::state_folder::{FolderLock, StateFolder, StateFolderError};
use crate::tls::{TlsError, server_config};
use crate::{drain, ticker};

/// A running emulator.
#[derive(Debug)]
pub struct App {
    /// The core.
    pub hub: Arc<Hub>,
    /// The registered certificate authorities; the own root is among them.
    pub authorities: Arc<CertificateAuthorities>,
    /// The root certificate clients have to trust, PEM.
    pub root_certificate: String,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Where it keeps certificates.
    pub state: StateFolder,
    _occupied: FolderLock,
    readiness: watch::Sender<Readiness>,
    lifecycle: Lifecycle,
}

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Ports.
    #[error(transparent)]
    Bind(#[from] BindErrors),
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// A configured certificate authority.
    #[error("certificate authority '{name}' from {file}: {problem}", file = file.display())]
    CertificateAuthority {
        /// The name it was to have.
        name: String,
        /// Where it was to come from.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Randomness.
    #[error("this system gives no randomness: {0}")]
    Entropy(std::io::Error),
    /// Routes that fit no event hub; the configuration has checked them.
    #[error("{}", .0.message())]
    Routing(HubError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateFolderError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What no user configures, but a test may: where hub time comes from, and how long clients may take.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Hub time.
    pub clock: Arc<dyn Clock>,
    /// Before a head knows the connection.
    pub accept: AcceptLimits,
    /// From a connection to its CONNECT.
    pub mqtt_connect_timeout: Duration,
    /// From a connection to its open, and to its credential.
    pub amqp: AmqpOptions,
}

impl Default for Surroundings {
    /// The machine's clock, and the limits of each head.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            accept: AcceptLimits::default(),
            mqtt_connect_timeout: MqttOptions::default().connect_timeout,
            amqp: AmqpOptions::default(),
        }
    }
}

impl App {
    /// Starts everything; when this returns, every listener accepts.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_in(config, Surroundings::default()).await
    }

    /// The same in other surroundings.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start_in(config: &Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings { clock, accept, mqtt_connect_timeout, amqp: amqp_options } = surroundings;
        let state = StateFolder::open(&config.state_dir)?;
        let occupied = state.occupy()?;
        let bound = bind_all(&plans(config))?;
        let endpoints = endpoints(config, &bound);

        let root = RootAuthority::load_or_make(&state, clock.now())?;
        if root.is_new {
            tracing::info!(folder = %state.path().display(), "made a root certificate; clients have to trust it");
        }
        let server = root.server_certificate(&config.all_host_names(), &state, clock.now())?;
        let (https_tls, stream_tls) = (server_config(&server, &[b"http/1.1"])?, server_config(&server, &[])?);

        let hub = Hub::new(
            HubConfig {
                name: config.hub_name.value.clone(),
                policies: config.policies.value.clone(),
                partitions: *config.events.partitions,
                consumer_groups: config.events.consumer_groups.value.clone(),
                event_hubs: config.events.event_hubs.value.clone(),
                create_consumer_groups: *config.events.create_consumer_groups,
                event_retention: config.events.retention(),
                tier: *config.scale.tier,
                throttles: config.scale.enforced_rates(),
                messages_per_day: config.scale.enforced_messages_per_day(),
            },
            Arc::clone(&clock),
            Entropy::from_system().map_err(StartError::Entropy)?,
        );
        hub.set_routing(&config.events.routing.spec, &[]).map_err(StartError::Routing)?;
        let authorities = Arc::new(certificate_authorities(config, &root, clock)?);
        let authenticator =
            Arc::new(Authenticator::new(Arc::clone(&hub), config.all_host_names(), Arc::clone(&authorities)));

        let mqtt: Arc<dyn StreamHead> = Arc::new(MqttHead::new(
            Arc::clone(&hub),
            Arc::clone(&authenticator),
            MqttOptions {
                token_expiry_grace: config.mqtt_expiry_grace(),
                connect_timeout: mqtt_connect_timeout,
            },
        ));
        let amqp: Arc<dyn StreamHead> = Arc::new(AmqpHead::new(
            Arc::clone(&hub),
            Arc::clone(&authenticator),
            amqp_options,
            event_endpoint(config, &endpoints),
        ));
        let lifecycle = Lifecycle::default();
        let hub_api = http_head::hub_api(HttpState {
            hub: Arc::clone(&hub),
            authenticator,
            heads: Arc::new(HashMap::from([
                ("AMQPWSB10", Arc::clone(&amqp)),
                ("amqp", Arc::clone(&amqp)),
                ("mqtt", Arc::clone(&mqtt)),
            ])),
            upgraded: lifecycle.tasks.clone(),
            cut: lifecycle.cut.clone(),
        });
        let (readiness, ready) = watch::channel(readiness(&bound, ListenerState::Starting));
        let admin_api = http_head::admin_api(AdminState {
            hub: Arc::clone(&hub),
            authorities: Arc::clone(&authorities),
            root_certificate: root.certificate().into(),
            host_name: config.host_name().into(),
            readiness: ready,
        });

        lifecycle.tasks.spawn(ticker::run(Arc::clone(&hub), lifecycle.drain.clone()));
        let accepting = self::readiness(&bound, ListenerState::Accepting);
        for Bound { name, sockets } in bound {
            let (tls, service) = match name {
                HTTPS => (Some(Arc::clone(&https_tls)), Service::Http(hub_api.clone())),
                MQTTS => (Some(Arc::clone(&stream_tls)), Service::Stream(Arc::clone(&mqtt))),
                AMQPS => (Some(Arc::clone(&stream_tls)), Service::Stream(Arc::clone(&amqp))),
                AMQP => (None, Service::Stream(Arc::clone(&amqp))),
                _ => (None, Service::Http(admin_api.clone())),
            };
            let listener =
                Listener::new(name, tls, service, *config.max_connections, accept, lifecycle.clone());
            for socket in sockets {
                listener.serve(socket);
            }
        }
        let app = Self {
            hub,
            authorities,
            root_certificate: root.certificate().to_owned(),
            endpoints,
            state,
            _occupied: occupied,
            readiness,
            lifecycle,
        };
        if let Err(error) = app.endpoints.write(&app.state) {
            app.stop(Duration::ZERO).await;
            return Err(error.into());
        }
        app.readiness.send_replace(accepting);
        Ok(app)
    }

    /// Stops: no new connections, goodbye to those there are, and after `patience` the line is cut.
    pub async fn stop(self, patience: Duration) {
        self.readiness.send_modify(|readiness| {
            for listener in &mut readiness.listeners {
                listener.state = ListenerState::Draining;
            }
        });
        drain::run(&self.hub, &self.lifecycle, patience).await;
        if let Err(error) = Endpoints::remove(&self.state) {
            tracing::warn!(%error, "the file with the endpoints stays behind");
        }
    }
}

fn plans(config: &Config) -> [Plan; 5] {
    let plan = |name, purpose, port_flag, bind_flag, bind, port| Plan {
        name,
        purpose,
        port_flag,
        bind_flag,
        bind,
        port,
    };
    [
        plan(HTTPS, "HTTPS and WebSockets", "--https-port", "--bind", *config.bind, *config.https_port),
        plan(MQTTS, "MQTT over TLS", "--mqtts-port", "--bind", *config.bind, *config.mqtts_port),
        plan(AMQPS, "AMQP over TLS", "--amqps-port", "--bind", *config.bind, *config.amqps_port),
        plan(AMQP, "plain AMQP", "--amqp-port", "--amqp-bind", *config.amqp_bind, *config.amqp_port),
        plan(ADMIN, "the admin API", "--admin-port", "--admin-bind", *config.admin_bind, *config.admin_port),
    ]
}

fn endpoints(config: &Config, bound: &[Bound]) -> Endpoints {
    let of = |name| bound.iter().find(|bound| bound.name == name).map(Bound::addresses).unwrap_or_default();
    Endpoints {
        pid: std::process::id(),
        host_name: config.host_name(),
        https: of(HTTPS),
        mqtts: of(MQTTS),
        amqps: of(AMQPS),
        amqp: of(AMQP),
        admin: of(ADMIN),
    }
}

/// Where those are sent who look for events at the hub's own address.
fn event_endpoint(config: &Config, endpoints: &Endpoints) -> EventEndpoint {
    EventEndpoint {
        host_name: config.redirect_host_name.value.clone(),
        default_host_name: config.host_name(),
        port: endpoints.amqps.first().map_or(*config.amqps_port, SocketAddr::port),
    }
}

fn readiness(bound: &[Bound], state: ListenerState) -> Readiness {
    let sockets = bound
        .iter()
        .flat_map(|bound| bound.addresses().into_iter().map(move |address| (bound.name, address)));
    let listeners =
        sockets.map(|(name, address)| http_head::Listener { name, address: Some(address), state }).collect();
    Readiness { listeners }
}

/// The own root, so that `cert issue` certificates log in, and those of the configuration.
fn certificate_authorities(
    config: &Config,
    root: &RootAuthority,
    clock: Arc<dyn Clock>,
) -> Result<CertificateAuthorities, StartError> {
    let entropy = Entropy::from_system().map_err(StartError::Entropy)?;
    let authorities = CertificateAuthorities::new(clock, entropy);
    let add = |name: &str, file: PathBuf, pem: &str| {
        authorities.add(name, pem, true).map(drop).map_err(|error: HubError| {
            StartError::CertificateAuthority {
                name: name.to_owned(),
                file,
                problem: error.message().to_owned(),
            }
        })
    };
    add(OWN_ROOT, PathBuf::from(crate::certificates::ROOT_CERTIFICATE), root.certificate())?;
    for (name, file) in &config.certificate_authorities.value {
        let pem = std::fs::read_to_string(file).map_err(|error| StartError::CertificateAuthority {
            name: name.clone(),
            file: file.clone(),
            problem: error.to_string(),
        })?;
        add(name, file.clone(), &pem)?;
    }
    Ok(authorities)
}

const HTTPS: &str = "https";
const MQTTS: &str = "mqtts";
const AMQPS: &str = "amqps";
const AMQP: &str = "amqp";
const ADMIN: &str = "admin";
/// The name under which the own root is registered.
const OWN_ROOT: &str = "iothub-emulator";
