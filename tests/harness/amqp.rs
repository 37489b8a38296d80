//! AMQP 1.0 frame by frame, on the public codec of fe2o3-amqp: the opening without SASL of the Node and C# SDKs, a
//! session, links, and a view of everything the hub answers.

use bytes::Bytes;
use fe2o3_amqp::frames::amqp::{Frame, FrameBody};
use fe2o3_amqp::transport::Transport;
use fe2o3_amqp::types::definitions::{Error, Role};
use fe2o3_amqp::types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp::types::messaging::{
    AmqpValue, ApplicationProperties, Body, Data, DeliveryState, Message, MessageId, Properties, Source,
    Target, TargetArchetype,
};
use fe2o3_amqp::types::performatives::{Attach, Begin, Close, Flow, Open, Transfer};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use futures_util::{SinkExt as _, StreamExt as _};
use net::Io;
use serde_amqp::primitives::Binary;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::watch::in_time;

/// The opening without SASL.
pub(crate) const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
/// The opening with SASL.
pub(crate) const SASL_HEADER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";
/// Bytes of the largest frame either way.
const FRAME_BYTES: usize = 65_536;

/// A connection with one session on channel 0.
pub(crate) struct Amqp {
    transport: Transport<Io, Frame>,
    next_handle: u32,
    next_delivery: u32,
}

/// A link of channel 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u32);

/// How the hub ended a link, a session or the connection: the condition's name, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) condition: String,
    pub(crate) description: String,
}

impl Amqp {
    /// Opens a connection and begins a session.
    pub(crate) async fn open(mut io: Io) -> Self {
        io.write_all(AMQP_HEADER).await.expect("the connection takes bytes");
        io.flush().await.expect("the connection takes bytes");
        let mut header = [0; 8];
        in_time("the protocol header", io.read_exact(&mut header)).await.expect("a protocol header");
        assert_eq!(&header, AMQP_HEADER);
        let mut amqp =
            Self { transport: Transport::bind(io, FRAME_BYTES, None), next_handle: 0, next_delivery: 0 };
        amqp.send(0, FrameBody::Open(open_frame())).await;
        amqp.expect("an open", |body| matches!(body, FrameBody::Open(_)).then_some(())).await;
        amqp.begin(0).await;
        amqp
    }

    pub(crate) async fn begin(&mut self, channel: u16) {
        self.send_begin(channel).await;
        self.expect("a begin", |body| matches!(body, FrameBody::Begin(_)).then_some(())).await;
    }

    /// The same without waiting for consent.
    pub(crate) async fn send_begin(&mut self, channel: u16) {
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 5000,
            outgoing_window: 5000,
            handle_max: 8191.into(),
            offered_capabilities: None,
            desired_capabilities: None,
            properties: None,
        };
        self.send(channel, FrameBody::Begin(begin)).await;
    }

    /// Sends a frame; a hub that has gone is no failure here but where its answer is missed.
    pub(crate) async fn send(&mut self, channel: u16, body: FrameBody) {
        let _ = in_time("sending", self.transport.send(Frame::new(channel, body))).await;
    }

    /// The next frame that is not just a sign of life; `None` once the connection is over.
    pub(crate) async fn next(&mut self) -> Option<FrameBody> {
        loop {
            match in_time("a frame or the end", self.transport.next()).await {
                Some(Ok(Frame { body: FrameBody::Empty, .. })) => {}
                Some(Ok(frame)) => return Some(frame.body),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Skips flows and other frames that answer nothing until `pick` finds what was asked for.
    async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&FrameBody) -> Option<T>) -> T {
        loop {
            let Some(body) = self.next().await else { panic!("the connection ended instead of {what}") };
            if let Some(found) = pick(&body) {
                return found;
            }
            if let FrameBody::Close(close) = &body {
                panic!("closed with {:?} instead of {what}", close.error);
            }
        }
    }

    /// Attaches a sender, whose credit is waited for.
    pub(crate) async fn sender(&mut self, address: &str) -> Result<Link, Reason> {
        self.attach(Role::Sender, address).await
    }

    /// Attaches a sender that takes the place of `older`, and why that one is detached.
    pub(crate) async fn replace_sender(&mut self, address: &str, older: Link) -> (Link, Reason) {
        let link = Link(self.next_handle);
        self.next_handle += 1;
        let attach = attach_frame(&format!("link-{}", link.0), link, Role::Sender, address);
        self.send(0, FrameBody::Attach(attach)).await;
        (link, self.detached(older).await)
    }

    /// Attaches a receiver and gives it some credit.
    pub(crate) async fn receiver(&mut self, address: &str) -> Result<Link, Reason> {
        self.receiver_with_credit(address, 100).await
    }

    /// The same for that many messages.
    pub(crate) async fn receiver_with_credit(&mut self, address: &str, credit: u32) -> Result<Link, Reason> {
        let link = self.attach(Role::Receiver, address).await?;
        self.flow(Flow { delivery_count: Some(0), link_credit: Some(credit), ..self.flow_of(link) }).await;
        Ok(link)
    }

    /// Asks the hub to say how a link stands, which it answers with a flow.
    pub(crate) async fn ask_for_flow(&mut self, link: Link) {
        self.flow(Flow { echo: true, ..self.flow_of(link) }).await;
    }

    async fn flow(&mut self, flow: Flow) {
        self.send(0, FrameBody::Flow(flow)).await;
    }

    fn flow_of(&self, link: Link) -> Flow {
        Flow {
            next_incoming_id: Some(0),
            incoming_window: 100_000,
            next_outgoing_id: self.next_delivery,
            outgoing_window: 5000,
            handle: Some(link.0.into()),
            delivery_count: None,
            link_credit: None,
            available: None,
            drain: false,
            echo: false,
            properties: None,
        }
    }

    async fn attach(&mut self, role: Role, address: &str) -> Result<Link, Reason> {
        let link = Link(self.next_handle);
        self.next_handle += 1;
        let is_sender = role == Role::Sender;
        self.send(0, FrameBody::Attach(attach_frame(&format!("link-{}", link.0), link, role, address))).await;
        let granted = self
            .expect("an attach", |body| match body {
                FrameBody::Attach(attach) if attach.handle.0 == link.0 => Some(match is_sender {
                    true => attach.target.is_some(),
                    false => attach.source.is_some(),
                }),
                _ => None,
            })
            .await;
        if !granted {
            return Err(self.detached(link).await);
        }
        if is_sender {
            self.expect("credit", |body| match body {
                FrameBody::Flow(flow) if flow.handle.as_ref().is_some_and(|handle| handle.0 == link.0) => {
                    flow.link_credit.filter(|credit| *credit > 0)
                }
                _ => None,
            })
            .await;
        }
        Ok(link)
    }

    /// The hub detaches this link; why. A detach without an error breaks the contract (amqp.md 5).
    pub(crate) async fn detached(&mut self, link: Link) -> Reason {
        self.expect("a detach", |body| match body {
            FrameBody::Detach(detach) if detach.handle.0 == link.0 => {
                assert!(detach.closed, "a detach by the hub closes the link");
                Some(Reason::of(detach.error.as_ref()))
            }
            _ => None,
        })
        .await
    }

    /// The hub closes the connection, which is answered; why. `None` for a connection that just ends.
    pub(crate) async fn closed(&mut self) -> Option<Reason> {
        loop {
            if let FrameBody::Close(close) = self.next().await? {
                self.send(0, FrameBody::Close(Close { error: None })).await;
                assert!(self.next().await.is_none(), "nothing follows a close");
                return Some(Reason::of(close.error.as_ref()));
            }
        }
    }

    /// Puts a token on `$cbs`; the status of the answer.
    pub(crate) async fn put_token(&mut self, audience: &str, token: &str) -> i32 {
        let requests = self.sender("$cbs").await.expect("everybody may attach to $cbs");
        self.receiver("$cbs").await.expect("everybody may attach to $cbs");
        self.put_token_on(requests, audience, token).await
    }

    /// The same on links that are there.
    pub(crate) async fn put_token_on(&mut self, requests: Link, audience: &str, token: &str) -> i32 {
        let properties = Properties::builder()
            .message_id(MessageId::String("put-1".to_owned()))
            .to("$cbs")
            .reply_to("cbs")
            .build();
        let application = ApplicationProperties::builder()
            .insert("operation", "put-token")
            .insert("type", "servicebus.windows.net:sastoken")
            .insert("name", audience)
            .build();
        let message: Message<AmqpValue<String>> = Message::builder()
            .properties(properties)
            .application_properties(application)
            .value(token.to_owned())
            .build();
        self.transfer(requests, serde_amqp::to_vec(&Serializable(message)).expect("the message encodes"))
            .await;
        self.expect("the answer to a put-token", |body| {
            let FrameBody::Transfer { payload, .. } = body else { return None };
            let answer: Deserializable<Message<Body<Value>>> =
                serde_amqp::from_slice(payload).expect("a message");
            match answer.0.application_properties?.0.get("status-code")? {
                SimpleValue::Int(status) => Some(*status),
                other => panic!("status-code is an int, not {other:?}"),
            }
        })
        .await
    }

    /// Sends a message and waits for its outcome.
    pub(crate) async fn deliver(&mut self, link: Link, body: &[u8]) -> Result<(), Reason> {
        let message: Message<Data> = Message::builder().data(Binary::from(body.to_vec())).build();
        let id = self
            .transfer(link, serde_amqp::to_vec(&Serializable(message)).expect("the message encodes"))
            .await;
        self.expect("an outcome", |body| {
            let FrameBody::Disposition(disposition) = body else { return None };
            if disposition.role != Role::Receiver || disposition.first != id {
                return None;
            }
            assert!(disposition.settled, "outcomes are settled at once");
            match disposition.state.as_ref()? {
                DeliveryState::Accepted(_) => Some(Ok(())),
                DeliveryState::Rejected(rejected) => Some(Err(Reason::of(rejected.error.as_ref()))),
                other => panic!("{other:?}"),
            }
        })
        .await
    }

    async fn transfer(&mut self, link: Link, message: Vec<u8>) -> u32 {
        let id = self.next_delivery;
        self.next_delivery += 1;
        let performative = Transfer {
            handle: link.0.into(),
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
        };
        self.send(0, FrameBody::Transfer { performative, payload: Bytes::from(message) }).await;
        id
    }
}

impl Reason {
    #[track_caller]
    pub(crate) fn of(error: Option<&Error>) -> Self {
        let error = error.expect("the hub never ends anything without an error");
        let condition = match serde_amqp::to_value(&error.condition) {
            Ok(Value::Symbol(name)) => name.0,
            other => panic!("a condition is a symbol: {other:?}"),
        };
        Self { condition, description: error.description.clone().unwrap_or_default() }
    }
}

pub(crate) fn open_frame() -> Open {
    Open {
        container_id: "test".to_owned(),
        hostname: Some("localhost".to_owned()),
        max_frame_size: 65_536.into(),
        channel_max: 8191.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

pub(crate) fn attach_frame(name: &str, link: Link, role: Role, address: &str) -> Attach {
    let is_sender = role == Role::Sender;
    let (source, target) = match is_sender {
        true => (Source::default(), Target::from(address)),
        false => (Source::builder().address(address).build(), Target::default()),
    };
    Attach {
        name: name.to_owned(),
        handle: link.0.into(),
        role,
        snd_settle_mode: Default::default(),
        rcv_settle_mode: Default::default(),
        source: Some(Box::new(source)),
        target: Some(Box::new(TargetArchetype::Target(target))),
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: is_sender.then_some(0),
        max_message_size: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

/// A frame's bytes with any size, data offset and type, true or not.
pub(crate) fn raw_frame(size: u32, data_offset: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    [&size.to_be_bytes()[..], &[data_offset, kind, 0, 0], body].concat()
}
