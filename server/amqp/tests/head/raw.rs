//! A client that shows every frame: it sends what a test tells it to, right or wrong.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use fe2o3_amqp_types::definitions::{Error, Handle, ReceiverSettleMode, Role, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target, TargetArchetype};
use fe2o3_amqp_types::performatives::{
    Attach, Begin, Close, Detach, Disposition, Flow, Open, Performative, Transfer,
};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use serde_amqp::serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

pub(crate) const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
pub(crate) const SASL_HEADER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

/// Longer than any answer takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Raw {
    pub(crate) io: DuplexStream,
    input: BytesMut,
    next_delivery_id: u32,
}

/// A frame as it came; without a performative it is a heartbeat.
pub(crate) struct Frame {
    pub(crate) performative: Option<Performative>,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(io: DuplexStream) -> Self {
        Self { io, input: BytesMut::new(), next_delivery_id: 0 }
    }

    /// Header, open and begin in one write, as clients pipeline them.
    pub(crate) async fn open(io: DuplexStream) -> Self {
        Self::open_with(io, open()).await
    }

    pub(crate) async fn open_with(io: DuplexStream, open: Open) -> Self {
        let mut client = Self::new(io);
        let mut bytes = AMQP_HEADER.to_vec();
        bytes.extend(frame(0, &open, &[]));
        bytes.extend(frame(0, &begin(), &[]));
        client.write(&bytes).await;
        client.expect_header(AMQP_HEADER).await;
        client.until(|frame| matches!(frame, Performative::Begin(_)).then_some(())).await;
        client
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, channel: u16, performative: &impl Serialize, payload: &[u8]) {
        self.write(&frame(channel, performative, payload)).await;
    }

    pub(crate) async fn expect_header(&mut self, expected: &[u8]) {
        assert!(self.fill(8).await, "the connection ended before a protocol header");
        let header = self.input.split_to(8);
        assert_eq!(&header[..], expected);
    }

    /// Reads until `length` bytes are there; `false` at the end of the stream.
    async fn fill(&mut self, length: usize) -> bool {
        while self.input.len() < length {
            let read = tokio::time::timeout(PATIENCE, self.io.read_buf(&mut self.input)).await;
            match read.expect("nothing came") {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    /// The next frame's body with its type; `None` when the connection is over.
    pub(crate) async fn next_body(&mut self) -> Option<(u8, u16, BytesMut)> {
        if !self.fill(8).await {
            assert!(self.input.is_empty(), "the connection ended inside a frame");
            return None;
        }
        let size = u32::from_be_bytes(self.input[..4].try_into().unwrap()) as usize;
        assert!(self.fill(size).await, "the connection ended inside a frame");
        let mut frame = self.input.split_to(size);
        let (kind, channel) = (frame[5], u16::from_be_bytes([frame[6], frame[7]]));
        frame.advance(8);
        Some((kind, channel, frame))
    }

    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let (_, _, body) = self.next_body().await?;
        let is_empty = body.is_empty();
        let mut rest = body.reader();
        let performative = if is_empty { None } else { Some(serde_amqp::from_reader(&mut rest).unwrap()) };
        Some(Frame { performative, payload: rest.into_inner().to_vec() })
    }

    /// Skips frames until one gives a value.
    pub(crate) async fn until<T>(&mut self, mut pick: impl FnMut(&Performative) -> Option<T>) -> T {
        loop {
            let frame = self.next().await.expect("the connection ended");
            if let Some(found) = frame.performative.as_ref().and_then(&mut pick) {
                return found;
            }
        }
    }

    /// Attaches and reads the answer; a refusal gives condition and description.
    pub(crate) async fn attach(&mut self, attach: Attach) -> Result<Attach, (String, String)> {
        let handle = attach.handle.0;
        self.send(0, &attach, &[]).await;
        let reply = self
            .until(|frame| match frame {
                Performative::Attach(reply) if reply.handle.0 == handle => Some(reply.clone()),
                _ => None,
            })
            .await;
        if reply.source.is_none() && reply.target.is_none() {
            return Err(self.detached(handle).await);
        }
        Ok(reply)
    }

    /// Attaches a pair to a node: the sender with `handle`, the receiver with the next one, and gives it credit.
    pub(crate) async fn attach_pair(&mut self, handle: u32, address: &str) {
        self.attach(sender(handle, address)).await.unwrap();
        self.attach(receiver(handle + 1, address)).await.unwrap();
        self.credit(handle + 1, 1000).await;
    }

    pub(crate) async fn credit(&mut self, handle: u32, credit: u32) {
        self.send(0, &flow(handle, credit), &[]).await;
    }

    /// Reads on until the server detaches that link.
    pub(crate) async fn detached(&mut self, handle: u32) -> (String, String) {
        let detach = self
            .until(|frame| match frame {
                Performative::Detach(detach) if detach.handle.0 == handle => Some(detach.clone()),
                _ => None,
            })
            .await;
        error(detach.error)
    }

    /// Reads on until the server closes the connection, answers, and sees the end of the stream.
    pub(crate) async fn closed(&mut self) -> (String, String) {
        let close = self
            .until(|frame| match frame {
                Performative::Close(close) => Some(close.clone()),
                _ => None,
            })
            .await;
        self.send(0, &Close { error: None }, &[]).await;
        assert!(self.next().await.is_none());
        error(close.error)
    }

    /// Sends a message in one frame, unsettled, and returns its delivery-id.
    pub(crate) async fn transfer(&mut self, handle: u32, payload: &[u8]) -> u32 {
        let transfer = self.next_transfer(handle);
        self.send(0, &transfer, payload).await;
        transfer.delivery_id.unwrap()
    }

    /// A transfer performative with the next delivery-id.
    pub(crate) fn next_transfer(&mut self, handle: u32) -> Transfer {
        let id = self.next_delivery_id;
        self.next_delivery_id += 1;
        Transfer {
            handle: Handle(handle),
            delivery_id: Some(id),
            delivery_tag: Some(id.to_be_bytes().to_vec().into()),
            message_format: Some(0),
            settled: Some(false),
            more: false,
            rcv_settle_mode: None,
            state: None,
            resume: false,
            aborted: false,
            batchable: false,
        }
    }

    /// Reads on until that delivery is settled; the state the server gave it.
    pub(crate) async fn outcome(&mut self, id: u32) -> fe2o3_amqp_types::messaging::DeliveryState {
        self.until(|frame| match frame {
            Performative::Disposition(Disposition { first, last, settled: true, state, .. })
                if *first <= id && last.unwrap_or(*first) >= id =>
            {
                state.clone()
            }
            _ => None,
        })
        .await
    }

    /// The next message on a receiving link, its frames joined.
    pub(crate) async fn message(&mut self, handle: u32) -> Received {
        let mut payload = Vec::new();
        let mut frames = 0;
        loop {
            let frame = self.next().await.expect("the connection ended");
            let Some(Performative::Transfer(transfer)) = frame.performative else { continue };
            if transfer.handle.0 != handle {
                continue;
            }
            frames += 1;
            payload.extend(frame.payload);
            if !transfer.more {
                return Received { message: Sections::read(&payload), transfer, frames };
            }
        }
    }

    /// Puts a token on a pair attached at `handle`; status and description of the reply.
    pub(crate) async fn put_token(&mut self, handle: u32, token: &str) -> (i32, String) {
        self.transfer(handle, &put_token("localhost", token, Value::String("1".into()))).await;
        let reply = self.message(handle + 1).await.message;
        let Some(Value::Int(status)) = reply.application("status-code") else { panic!("{reply:?}") };
        let Some(Value::String(description)) = reply.application("status-description") else {
            panic!("{reply:?}")
        };
        (status, description)
    }

    /// Opens, attaches the CBS pair at 0 and puts a token that must be good.
    pub(crate) async fn authenticated(io: DuplexStream, token: &str) -> Self {
        let mut client = Self::open(io).await;
        client.attach_pair(0, "$cbs").await;
        assert_eq!(client.put_token(0, token).await, (200, "OK".into()));
        client
    }
}

pub(crate) struct Received {
    pub(crate) message: Sections,
    pub(crate) transfer: Transfer,
    pub(crate) frames: usize,
}

/// Message sections by descriptor code.
#[derive(Debug)]
pub(crate) struct Sections(Vec<(u64, Value)>);

impl Sections {
    fn read(payload: &[u8]) -> Self {
        let mut rest = std::io::Cursor::new(payload);
        let mut sections = Vec::new();
        while (rest.position() as usize) < payload.len() {
            let Value::Described(section) = serde_amqp::from_reader(&mut rest).unwrap() else {
                panic!("no section")
            };
            let Value::Ulong(code) = descriptor(&section.descriptor) else { panic!("no code") };
            sections.push((code, section.value));
        }
        Self(sections)
    }

    pub(crate) fn section(&self, code: u64) -> Option<&Value> {
        self.0.iter().find(|(found, _)| *found == code).map(|(_, value)| value)
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<Value> {
        let Some(Value::Map(map)) = self.section(0x72) else { return None };
        map.get(&Value::Symbol(Symbol::from(name))).cloned()
    }

    pub(crate) fn application(&self, name: &str) -> Option<Value> {
        let Some(Value::Map(map)) = self.section(0x74) else { return None };
        map.get(&Value::String(name.into())).cloned()
    }

    /// A field of the properties by its place.
    pub(crate) fn property(&self, place: usize) -> Option<Value> {
        let Some(Value::List(fields)) = self.section(0x73) else { return None };
        fields.get(place).cloned()
    }

    pub(crate) fn correlation_id(&self) -> Option<Value> {
        self.property(5)
    }

    /// The data section as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let Some(Value::Binary(data)) = self.section(0x75) else { panic!("no data in {self:?}") };
        serde_json::from_slice(data).unwrap()
    }
}

fn descriptor(descriptor: &serde_amqp::descriptor::Descriptor) -> Value {
    match descriptor {
        serde_amqp::descriptor::Descriptor::Code(code) => Value::Ulong(*code),
        serde_amqp::descriptor::Descriptor::Name(name) => Value::Symbol(name.clone()),
    }
}

fn error(error: Option<Error>) -> (String, String) {
    let error = error.expect("server-initiated ends carry an error");
    let condition = match serde_amqp::to_value(&error.condition).unwrap() {
        Value::Symbol(symbol) => symbol.0,
        other => panic!("{other:?}"),
    };
    (condition, error.description.expect("an error carries a description"))
}

pub(crate) fn frame(channel: u16, performative: &impl Serialize, payload: &[u8]) -> Vec<u8> {
    framed(0, channel, &[&serde_amqp::to_vec(performative).unwrap(), payload].concat())
}

pub(crate) fn framed(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend([2, kind]);
    bytes.extend(channel.to_be_bytes());
    bytes.extend(body);
    bytes
}

pub(crate) fn open() -> Open {
    Open {
        container_id: "raw".into(),
        hostname: Some("localhost".into()),
        max_frame_size: u32::MAX.into(),
        channel_max: u16::MAX.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

pub(crate) fn begin() -> Begin {
    Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: 1_000_000,
        outgoing_window: 1_000_000,
        handle_max: Handle(u32::MAX),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

pub(crate) fn sender(handle: u32, address: &str) -> Attach {
    attach(handle, Role::Sender, address)
}

pub(crate) fn receiver(handle: u32, address: &str) -> Attach {
    attach(handle, Role::Receiver, address)
}

fn attach(handle: u32, role: Role, address: &str) -> Attach {
    let there = |role: &Role| (*role == Role::Receiver).then(|| address.to_owned());
    let source = Source { address: there(&role), ..Source::default() };
    let target = if role == Role::Sender { Target::from(address) } else { Target::default() };
    Attach {
        name: format!("link-{handle}"),
        handle: Handle(handle),
        initial_delivery_count: (role == Role::Sender).then_some(0),
        role,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: Some(Box::new(source)),
        target: Some(Box::new(TargetArchetype::Target(target))),
        unsettled: None,
        incomplete_unsettled: false,
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

pub(crate) fn flow(handle: u32, credit: u32) -> Flow {
    Flow {
        next_incoming_id: Some(0),
        incoming_window: 1_000_000,
        next_outgoing_id: 0,
        outgoing_window: 1_000_000,
        handle: Some(Handle(handle)),
        delivery_count: Some(0),
        link_credit: Some(credit),
        available: None,
        drain: false,
        echo: false,
        properties: None,
    }
}

pub(crate) fn detach(handle: u32) -> Detach {
    Detach { handle: Handle(handle), closed: true, error: None }
}

/// A described value by hand.
pub(crate) fn section(code: u8, value: &impl Serialize) -> Vec<u8> {
    [vec![0x00, 0x53, code], serde_amqp::to_vec(value).unwrap()].concat()
}

pub(crate) fn data(body: &[u8]) -> Vec<u8> {
    section(0x75, &Value::Binary(body.to_vec().into()))
}

/// Properties with a message-id at 0 or a correlation-id at 5.
pub(crate) fn ids(message_id: Value, correlation_id: Value) -> Vec<u8> {
    let mut fields = vec![Value::Null; 6];
    fields[0] = message_id;
    fields[5] = correlation_id;
    section(0x73, &Value::List(fields))
}

pub(crate) fn put_token(name: &str, token: &str, message_id: Value) -> Vec<u8> {
    let text = |text: &str| Value::String(text.into());
    let application: serde_amqp::primitives::OrderedMap<Value, Value> = [
        (text("operation"), text("put-token")),
        (text("type"), text("servicebus.windows.net:sastoken")),
        (text("name"), text(name)),
    ]
    .into_iter()
    .collect();
    [ids(message_id, Value::Null), section(0x74, &Value::Map(application)), section(0x77, &text(token))]
        .concat()
}

/// A twin request; an empty resource is left out.
pub(crate) fn twin_request(operation: &str, resource: &str, correlation_id: Value, body: &[u8]) -> Vec<u8> {
    let key = |name: &str| Value::Symbol(Symbol::from(name));
    let resource = if resource.is_empty() { Value::Null } else { Value::String(resource.into()) };
    let annotations: serde_amqp::primitives::OrderedMap<Value, Value> = [
        (key("operation"), Value::String(operation.into())),
        (key("resource"), resource),
        (key("version"), Value::Null),
    ]
    .into_iter()
    .collect();
    [section(0x72, &Value::Map(annotations)), ids(Value::Null, correlation_id), data(body)].concat()
}
