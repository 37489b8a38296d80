//! A hub on a clock that stands still, and a client that speaks MQTT with nothing of the server's codec.

use std::sync::Arc;
use std::time::Duration;

use auth::{Authenticator, CertificateAuthorities, PeerCertificates, SasToken};
use hub::access::{CredentialKind, Grant, Permissions, Scope, Subject, SymmetricKey, development_policies};
use hub::c2d::{Acknowledgement, CloudToDeviceMessage, Outcome, Settlement};
use hub::entropy::Entropy;
use hub::events::EventData;
use hub::gate::operations::{
    CreateDevice, CreateModule, DeleteDevice, GetTwin, PatchTwin, ReceiveFeedback, SendCloudToDevice,
    SettleFeedback, UpdateDevice, UpdateModule,
};
use hub::gate::{Admitted, Details, Operation, ProtocolLabel};
use hub::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec, DeviceStatus, ModuleSpec};
use hub::ids::{ConnectionId, HubName, IdentityId, IfMatch};
use hub::time::{Clock, ManualClock, Timestamp};
use hub::twin::{Arrays, TwinPatch};
use hub::{Hub, HubConfig};
use mqtt::{MqttHead, MqttOptions};
use net::{Carrier, Io, PeerInfo, StreamHead};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) const MESSAGES: &str = "devices/d/messages/devicebound/#";
pub(crate) const TOKEN_HOURS: Duration = Duration::from_secs(3600);
/// Bytes in flight in each direction, as a socket's buffers hold some.
const PIPE_BYTES: usize = 64 * 1024;

/// A hub with the device `d` and its module `d/m`, both with [`key`].
pub(crate) struct Bench {
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) drain: CancellationToken,
    head: Arc<MqttHead>,
    connections: std::cell::Cell<u64>,
}

pub(crate) fn key() -> SymmetricKey {
    SymmetricKey::from_base64("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap()
}

pub(crate) fn identity(text: &str) -> IdentityId {
    let (device, module) = text.split_once('/').map_or((text, None), |(d, m)| (d, Some(m)));
    IdentityId::parse(device, module).unwrap()
}

pub(crate) fn sas(keys: &SymmetricKey) -> AuthenticationSpec {
    AuthenticationSpec {
        kind: Some(AuthenticationType::Sas),
        primary_key: Some(keys.to_base64()),
        secondary_key: Some(keys.to_base64()),
        ..AuthenticationSpec::default()
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_secs(1_800_000_000)));
        let config = HubConfig::new(HubName::parse("test").unwrap(), development_policies(), 4);
        let hub = Hub::new(config, Arc::clone(&clock) as _, Entropy::seeded(1));
        let authorities = Arc::new(CertificateAuthorities::new(Arc::clone(&clock) as _, Entropy::seeded(2)));
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&hub), Vec::new(), authorities));
        let head = Arc::new(MqttHead::new(Arc::clone(&hub), authenticator, MqttOptions::default()));
        let bench =
            Self { hub, clock, drain: CancellationToken::new(), head, connections: std::cell::Cell::new(0) };
        let spec = DeviceSpec { authentication: Some(sas(&key())), ..DeviceSpec::default() };
        let device = identity("d").device;
        bench.hub.create_device(bench.owner::<CreateDevice>(device.clone()).await, &spec).unwrap();
        let by = bench.owner::<CreateModule>((device, identity("d/m").module.unwrap())).await;
        let spec = ModuleSpec { authentication: Some(sas(&key())), ..ModuleSpec::default() };
        bench.hub.create_module(by, &spec).unwrap();
        bench
    }

    /// Makes `d` an edge device, whose system modules have [`key`] as its runtime would have given them.
    pub(crate) async fn become_edge(&self) {
        let device = identity("d").device;
        let spec = DeviceSpec { iot_edge: Some(true), ..DeviceSpec::default() };
        let by = self.owner::<UpdateDevice>(device.clone()).await;
        self.hub.update_device(by, &spec, &IfMatch::Any).unwrap();
        for module in ["d/$edgeAgent", "d/$edgeHub"] {
            let by = self.owner::<UpdateModule>((device.clone(), identity(module).module.unwrap())).await;
            let spec = ModuleSpec { authentication: Some(sas(&key())), ..ModuleSpec::default() };
            self.hub.update_module(by, &spec, &IfMatch::Any).unwrap();
        }
    }

    /// A new connection, CONNECT not yet sent.
    pub(crate) fn accept(&self) -> Client {
        self.accept_with(None)
    }

    pub(crate) fn accept_with(&self, certificates: Option<Arc<PeerCertificates>>) -> Client {
        self.accept_over(PIPE_BYTES, certificates)
    }

    /// The same with so many bytes in flight.
    pub(crate) fn accept_over(&self, bytes: usize, certificates: Option<Arc<PeerCertificates>>) -> Client {
        let number = self.connections.get() + 1;
        self.connections.set(number);
        let (io, served) = tokio::io::duplex(bytes);
        let peer = PeerInfo {
            connection: ConnectionId(number),
            address: ([127, 0, 0, 1], 5000).into(),
            carrier: Carrier::Tls,
            certificates,
        };
        let (head, drain) = (Arc::clone(&self.head), self.drain.clone());
        let task = tokio::spawn(async move { head.serve(Io::new(served), peer, drain).await });
        Client { io, task }
    }

    /// A client that is online as `d` or `d/m`, with a kept session.
    pub(crate) async fn online(&self, id: &str) -> Client {
        let mut client = self.accept();
        client.send(&self.connect(id)).await;
        let answer = client.next().await;
        assert!(answer.starts_with("CONNACK 0"), "{answer}");
        client
    }

    /// What an SDK would send as `id`, with a token good for an hour.
    pub(crate) fn connect(&self, id: &str) -> Connect {
        Connect {
            client_id: id.into(),
            username: format!("localhost/{id}/?api-version=2021-04-12&DeviceClientType=test"),
            password: self.token(id, &key(), TOKEN_HOURS),
            clean_session: false,
            keep_alive: 60,
            will: None,
            level: 4,
        }
    }

    pub(crate) fn token(&self, id: &str, key: &SymmetricKey, life: Duration) -> String {
        let id = identity(id);
        let resource = match &id.module {
            Some(module) => format!("localhost/devices/{}/modules/{module}", id.device),
            None => format!("localhost/devices/{}", id.device),
        };
        self.token_for(&resource, key, life)
    }

    pub(crate) fn token_for(&self, resource: &str, key: &SymmetricKey, life: Duration) -> String {
        SasToken::sign(resource, key, self.clock.now().plus(life), None)
    }

    pub(crate) async fn patch_desired(&self, id: &str, desired: Value) {
        let patch =
            TwinPatch::parse(serde_json::json!({ "properties": { "desired": desired } }), Arrays::Allowed)
                .unwrap();
        let by = self.owner::<PatchTwin>(identity(id)).await;
        self.hub.patch_twin(by, &patch, &IfMatch::Absent).unwrap();
    }

    pub(crate) async fn reported(&self, id: &str) -> Value {
        let twin = self.hub.twin(self.owner::<GetTwin>(identity(id)).await).unwrap();
        let mut reported = Vec::new();
        twin.write_reported(&mut reported);
        serde_json::from_slice(&reported).unwrap()
    }

    pub(crate) async fn disable(&self) {
        let spec = DeviceSpec { status: Some(DeviceStatus::Disabled), ..DeviceSpec::default() };
        let by = self.owner::<UpdateDevice>(identity("d").device).await;
        self.hub.update_device(by, &spec, &IfMatch::Any).unwrap();
    }

    pub(crate) async fn delete(&self) {
        let by = self.owner::<DeleteDevice>(identity("d").device).await;
        self.hub.delete_device(by, &IfMatch::Any).unwrap();
    }

    /// Queues a message for `d`; feedback names it by its body.
    pub(crate) async fn send_message(&self, body: &str) {
        let message = CloudToDeviceMessage {
            message_id: Some(body.to_owned()),
            acknowledgement: Some(Acknowledgement::Full),
            body: body.to_owned().into(),
            ..CloudToDeviceMessage::default()
        };
        self.send(message).await;
    }

    pub(crate) async fn send(&self, message: CloudToDeviceMessage) {
        let by = self.owner::<SendCloudToDevice>(identity("d").device).await;
        self.hub.send_cloud_to_device(by, message).unwrap();
    }

    /// What became of messages since the last time, by their bodies.
    pub(crate) async fn feedback(&self) -> Vec<(String, Outcome)> {
        let Some(batch) = self.hub.lock_next_feedback(self.owner::<ReceiveFeedback>(()).await).unwrap()
        else {
            return Vec::new();
        };
        let by = self.owner::<SettleFeedback>(()).await;
        self.hub.settle_feedback(by, batch.token, Settlement::Complete).unwrap();
        batch
            .records
            .iter()
            .map(|record| (record.original_message_id.clone().unwrap(), record.outcome))
            .collect()
    }

    /// Events of `d` and its module, oldest first.
    pub(crate) fn events(&self) -> Vec<Arc<EventData>> {
        let newest = self.hub.events().newest(usize::MAX, Some(&identity("d").device));
        newest.into_iter().rev().map(|(_, event)| event.data).collect()
    }

    pub(crate) async fn owner<O: Operation>(&self, target: O::Target) -> Admitted<O> {
        let all = [Permissions::REGISTRY_READ, Permissions::REGISTRY_WRITE, Permissions::SERVICE_CONNECT];
        let grant = Arc::new(Grant {
            subject: Subject::Policy(self.hub.policies()[0].name.clone()),
            scope: Scope::Hub,
            permissions: all.into_iter().fold(Permissions::DEVICE_CONNECT, Permissions::union),
            expires_at: None,
            credential: CredentialKind::SasPolicy,
            revision: None,
        });
        let details = Details { protocol: ProtocolLabel("test"), connection: None };
        self.hub.gate().admit(&grant, target, details).await.unwrap()
    }
}

/// The fields of a CONNECT, to be changed by tests.
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(String, String)>,
    pub(crate) level: u8,
}

/// Something to put on the wire.
pub(crate) trait Packet {
    fn bytes(&self) -> Vec<u8>;
}

impl Packet for Connect {
    fn bytes(&self) -> Vec<u8> {
        let has = |bit: u8, text: &str| if text.is_empty() { 0 } else { bit };
        let mut flags = has(0x80, &self.username) | has(0x40, &self.password);
        flags |= if self.clean_session { 2 } else { 0 };
        flags |= if self.will.is_some() { 4 } else { 0 };
        let mut body = string("MQTT");
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(string(&self.client_id));
        if let Some((topic, message)) = &self.will {
            body.extend(string(topic));
            body.extend(string(message));
        }
        for text in [&self.username, &self.password] {
            if !text.is_empty() {
                body.extend(string(text));
            }
        }
        frame(0x10, &body)
    }
}

/// PUBLISH: packet id 0 is QoS 0.
pub(crate) struct Publish<'a>(pub(crate) u16, pub(crate) &'a str, pub(crate) &'a str);

impl Packet for Publish<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut body = string(self.1);
        let first = if self.0 == 0 {
            0x30
        } else {
            body.extend(self.0.to_be_bytes());
            0x32
        };
        body.extend(self.2.as_bytes());
        frame(first, &body)
    }
}

pub(crate) struct Subscribe<'a>(pub(crate) u16, pub(crate) &'a [(&'a str, u8)]);

impl Packet for Subscribe<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut body = self.0.to_be_bytes().to_vec();
        for (filter, qos) in self.1 {
            body.extend(string(filter));
            body.push(*qos);
        }
        frame(0x82, &body)
    }
}

pub(crate) struct Unsubscribe<'a>(pub(crate) u16, pub(crate) &'a str);

impl Packet for Unsubscribe<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut body = self.0.to_be_bytes().to_vec();
        body.extend(string(self.1));
        frame(0xa2, &body)
    }
}

pub(crate) struct PubAck(pub(crate) u16);

impl Packet for PubAck {
    fn bytes(&self) -> Vec<u8> {
        frame(0x40, &self.0.to_be_bytes())
    }
}

/// Bytes as they are, well-formed or not.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Packet for Raw<'_> {
    fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

pub(crate) const PINGREQ: Raw<'static> = Raw(&[0xc0, 0]);
pub(crate) const DISCONNECT: Raw<'static> = Raw(&[0xe0, 0]);

pub(crate) struct Client {
    io: DuplexStream,
    task: JoinHandle<()>,
}

impl Client {
    pub(crate) async fn send(&mut self, packet: &impl Packet) {
        // A server that hung up is seen when reading.
        let _ = self.io.write_all(&packet.bytes()).await;
    }

    /// Subscribes to cloud-to-device messages, which this test is about.
    pub(crate) async fn subscribe_to_messages(&mut self, qos: u8) {
        self.send(&Subscribe(1, &[(MESSAGES, qos)])).await;
        assert_eq!(self.next().await, format!("SUBACK 1 [{qos}]"));
    }

    /// Sends pings and reads nothing until the server does not read either; how many it took.
    pub(crate) async fn ping_until_unread(&mut self) -> usize {
        let mut taken = 0;
        // The clock stands still while anybody can go on, so the second is over once nobody can.
        while timeout(Duration::from_secs(1), self.io.write_all(&PINGREQ.bytes())).await.is_ok() {
            taken += 1;
        }
        taken
    }

    /// Whatever was on its way has come: all that does is the answer to a ping.
    pub(crate) async fn assert_nothing_came(&mut self) {
        self.send(&PINGREQ).await;
        assert_eq!(self.next().await, "PINGRESP");
    }

    /// Takes what has come so far, or waits for something; how many bytes.
    pub(crate) async fn arrived(&mut self) -> usize {
        let mut bytes = Vec::with_capacity(16 * 1024 * 1024);
        self.io.read_buf(&mut bytes).await.unwrap()
    }

    /// The next packet in words; "closed" at the end.
    pub(crate) async fn next(&mut self) -> String {
        let Ok(first) = self.io.read_u8().await else { return "closed".into() };
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.io.read_u8().await.unwrap();
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await.unwrap();
        match (first, body.as_slice()) {
            (0x20, [present, code]) => format!("CONNACK {code} session present {present}"),
            (0x40, [high, low]) => format!("PUBACK {}", u16::from_be_bytes([*high, *low])),
            (0x90, [high, low, codes @ ..]) => {
                format!("SUBACK {} {codes:?}", u16::from_be_bytes([*high, *low]))
            }
            (0xb0, [high, low]) => format!("UNSUBACK {}", u16::from_be_bytes([*high, *low])),
            (0xd0, []) => "PINGRESP".into(),
            (0x30 | 0x32 | 0x3a, [high, low, rest @ ..]) => {
                let (topic, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                let (delivery, body) = match (first, rest) {
                    (0x30, body) => (String::new(), body),
                    (_, [high, low, body @ ..]) => {
                        let dup = if first == 0x3a { "DUP " } else { "" };
                        (format!("{} {dup}", u16::from_be_bytes([*high, *low])), body)
                    }
                    other => panic!("a PUBLISH with QoS 1 and no packet id: {other:?}"),
                };
                let (topic, body) = (String::from_utf8_lossy(topic), String::from_utf8_lossy(body));
                format!("PUBLISH {delivery}{topic} {body}").trim_end().into()
            }
            other => panic!("not a packet of this hub: {other:?}"),
        }
    }

    /// Waits until the server has ended the connection on its own.
    pub(crate) async fn assert_closed(mut self) {
        assert_eq!(self.next().await, "closed");
        drop(self.io);
        self.task.await.unwrap();
    }

    /// Waits until the server has let go of the connection, which this client keeps open and does not read.
    pub(crate) async fn gone(self) {
        self.task.await.unwrap();
    }

    /// The socket breaks: no DISCONNECT.
    pub(crate) async fn vanish(self) {
        drop(self.io);
        self.task.await.unwrap();
    }

    /// DISCONNECT and hang up.
    pub(crate) async fn leave(mut self) {
        self.send(&DISCONNECT).await;
        self.assert_closed().await;
    }
}

pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
