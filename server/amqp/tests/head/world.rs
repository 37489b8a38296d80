//! A hub with an AMQP head, and sockets that lead to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amqp::{AmqpHead, AmqpOptions, EventEndpoint};
use auth::{Authenticator, CertificateAuthorities, PeerCertificates, SasToken};
use hub::access::{CredentialKind, Grant, PolicyName, Scope, Subject, development_policies};
use hub::entropy::Entropy;
use hub::gate::operations::{CreateDevice, CreateModule};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::identity::{
    AuthenticationMechanism, AuthenticationSpec, AuthenticationType, DeviceSpec, ModuleSpec,
};
use hub::ids::{ConnectionId, HubName, IdentityId};
use hub::time::{Clock, Timestamp};
use hub::{Hub, HubConfig};
use net::{Carrier, Io, PeerInfo, StreamHead};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Everything a test talks to.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) authorities: Arc<CertificateAuthorities>,
    pub(crate) drain: CancellationToken,
    head: Arc<AmqpHead>,
    connections: AtomicU64,
}

impl World {
    pub(crate) fn new(clock: Arc<dyn Clock>, options: AmqpOptions) -> Self {
        Self::with(clock, options, |_| {})
    }

    /// The same with another configuration.
    pub(crate) fn with(
        clock: Arc<dyn Clock>,
        options: AmqpOptions,
        configure: impl FnOnce(&mut HubConfig),
    ) -> Self {
        let mut config = HubConfig::new(HubName::parse("test").unwrap(), development_policies(), 4);
        configure(&mut config);
        let hub = Hub::new(config, Arc::clone(&clock), Entropy::seeded(7));
        let authorities = Arc::new(CertificateAuthorities::new(clock, Entropy::seeded(8)));
        let authenticator =
            Authenticator::new(Arc::clone(&hub), vec!["localhost".into()], Arc::clone(&authorities));
        let head = AmqpHead::new(Arc::clone(&hub), Arc::new(authenticator), options, event_endpoint());
        Self {
            hub,
            authorities,
            drain: CancellationToken::new(),
            head: Arc::new(head),
            connections: AtomicU64::new(1),
        }
    }

    /// Serves `io` until its connection is over.
    pub(crate) fn serve(
        &self,
        io: Io,
        carrier: Carrier,
        certificates: Option<Arc<PeerCertificates>>,
    ) -> JoinHandle<()> {
        let peer = PeerInfo {
            connection: ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed)),
            address: ([127, 0, 0, 1], 1).into(),
            carrier,
            certificates,
        };
        let (head, drain) = (Arc::clone(&self.head), self.drain.clone());
        tokio::spawn(async move { head.serve(io, peer, drain).await })
    }

    /// A client's end of a new connection.
    pub(crate) fn connect(&self) -> DuplexStream {
        self.connect_with(None).0
    }

    /// The same with a client certificate; the task ends with the connection.
    pub(crate) fn connect_with(
        &self,
        certificates: Option<Arc<PeerCertificates>>,
    ) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        (client, self.serve(Io::new(server), Carrier::Tls, certificates))
    }

    pub(crate) async fn owner<O: Operation>(&self, target: O::Target) -> Admitted<O> {
        let owner = self.hub.policies().iter().find(|policy| policy.name.as_str() == "iothubowner").unwrap();
        let grant = Arc::new(Grant {
            subject: Subject::Policy(owner.name.clone()),
            scope: Scope::Hub,
            permissions: owner.permissions,
            expires_at: None,
            credential: CredentialKind::SasPolicy,
            revision: None,
        });
        let details = Details { protocol: ProtocolLabel("test"), connection: None };
        self.hub.gate().admit::<O>(&grant, target, details).await.unwrap()
    }

    /// Registers a device with keys the hub makes.
    pub(crate) async fn device(&self, device: &str) -> IdentityId {
        self.device_with(device, AuthenticationSpec::default()).await
    }

    pub(crate) async fn device_with(&self, device: &str, authentication: AuthenticationSpec) -> IdentityId {
        let identity = IdentityId::parse(device, None).unwrap();
        let spec = DeviceSpec { authentication: Some(authentication), ..DeviceSpec::default() };
        let by = self.owner::<CreateDevice>(identity.device.clone()).await;
        self.hub.create_device(by, &spec).unwrap();
        identity
    }

    /// Registers a module of a registered device.
    pub(crate) async fn module(&self, device: &str, module: &str) -> IdentityId {
        self.module_with(device, module, AuthenticationType::Sas).await
    }

    pub(crate) async fn module_with(
        &self,
        device: &str,
        module: &str,
        kind: AuthenticationType,
    ) -> IdentityId {
        let identity = IdentityId::parse(device, Some(module)).unwrap();
        let target = (identity.device.clone(), identity.module.clone().unwrap());
        let by = self.owner::<CreateModule>(target).await;
        let authentication = AuthenticationSpec { kind: Some(kind), ..AuthenticationSpec::default() };
        let spec = ModuleSpec { authentication: Some(authentication), ..ModuleSpec::default() };
        self.hub.create_module(by, &spec).unwrap();
        identity
    }

    /// The primary key of a registered identity.
    pub(crate) fn key(&self, identity: &IdentityId) -> hub::access::SymmetricKey {
        match self.hub.authentication(identity).unwrap().mechanism {
            AuthenticationMechanism::Sas(keys) => keys.primary,
            other => panic!("{identity} has no keys but {other:?}"),
        }
    }

    /// A token of an identity, good for `ttl` from now.
    pub(crate) fn token(&self, identity: &IdentityId, ttl: Duration) -> String {
        SasToken::sign(&resource(identity), &self.key(identity), self.in_future(ttl), None)
    }

    /// A token of a policy for the whole hub.
    pub(crate) fn policy_token(&self, policy: &str, ttl: Duration) -> String {
        let policy = self.hub.policies().iter().find(|held| held.name.as_str() == policy).unwrap();
        let name = PolicyName::parse(policy.name.as_str()).unwrap();
        SasToken::sign("localhost", &policy.keys.primary, self.in_future(ttl), Some(&name))
    }

    fn in_future(&self, ttl: Duration) -> Timestamp {
        self.hub.clock().now().plus(ttl)
    }
}

fn event_endpoint() -> EventEndpoint {
    EventEndpoint { host_name: None, default_host_name: "default.example".into(), port: 5671 }
}

/// `localhost/devices/d[/modules/m]`
pub(crate) fn resource(identity: &IdentityId) -> String {
    match &identity.module {
        None => format!("localhost/devices/{}", identity.device),
        Some(module) => format!("localhost/devices/{}/modules/{module}", identity.device),
    }
}
