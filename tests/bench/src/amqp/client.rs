//! A connection with one session: opened by SASL PLAIN or without SASL, links attached, messages sent within the
//! credit that came.

use std::collections::HashMap;

use anyhow::{bail, ensure};

use crate::amqp::frame::{self, AMQP_HEADER, Frame, SASL_HEADER, code};
use crate::amqp::{Message, Value};
use crate::wire::Wire;

const FRAME_BYTES: u32 = 65_536;
const WINDOW: u32 = 5000;
const HANDLES: u32 = 63;
/// What a receiver lets come before it says more.
const CREDIT: u32 = 100;
/// How JavaScript and Go write the descriptor of a selector.
const SELECTOR: u64 = 0x0000_468c_0000_0004;
/// Fields of a source before its filter, the address among them.
const FIELDS_BEFORE_FILTER: usize = 7;
/// The mode of a sender whose messages are settled when they are sent.
const SETTLED: u8 = 1;

/// A connection with a session on channel 0.
pub(crate) struct Amqp {
    pub(crate) wire: Wire,
    next_handle: u32,
    next_delivery: u32,
    /// Transfers the hub's session takes: the first one that it does not.
    allowed: u32,
    /// Transfers of the hub that were read.
    incoming: u32,
    /// Of each sender, the first delivery for which there is no credit.
    credits: HashMap<Link, u32>,
}

/// A link by its handle; the hub uses the same number, since links are attached one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Link(pub(crate) u32);

impl Amqp {
    /// Opens with SASL PLAIN, everything in one write as clients pipeline it.
    pub(crate) async fn open_plain(mut wire: Wire, user: &str, password: &str) -> anyhow::Result<Self> {
        wire.out.extend_from_slice(SASL_HEADER);
        let response = Value::Binary(format!("\0{user}\0{password}").into_bytes());
        frame::put(&mut wire.out, code::SASL_INIT, vec![Value::symbol("PLAIN"), response], &[]);
        wire.flush().await?;
        frame::header(&mut wire, SASL_HEADER).await?;
        loop {
            let frame = frame::next(&mut wire).await?;
            if frame.code == code::SASL_OUTCOME {
                ensure!(frame.number(0) == Some(0), "SASL refused: {:?}", frame.fields);
                break;
            }
        }
        Self::open(wire).await
    }

    /// Opens without SASL, as the Node and C# SDKs do.
    pub(crate) async fn open(mut wire: Wire) -> anyhow::Result<Self> {
        wire.out.extend_from_slice(AMQP_HEADER);
        let open = vec![
            Value::string("bench"),
            Value::string("localhost"),
            Value::Uint(FRAME_BYTES),
            Value::Ushort(100),
            Value::Null,
        ];
        frame::put(&mut wire.out, code::OPEN, open, &[]);
        let begin =
            vec![Value::Null, Value::Uint(0), Value::Uint(WINDOW), Value::Uint(WINDOW), Value::Uint(HANDLES)];
        frame::put(&mut wire.out, code::BEGIN, begin, &[]);
        wire.flush().await?;
        frame::header(&mut wire, AMQP_HEADER).await?;
        let mut amqp =
            Self { wire, next_handle: 0, next_delivery: 0, allowed: 0, incoming: 0, credits: HashMap::new() };
        let begun = amqp.until(|frame| frame.code == code::BEGIN).await?;
        amqp.allowed = begun.number(2).unwrap_or(0);
        Ok(amqp)
    }

    /// Attaches a sender and waits for its credit.
    pub(crate) async fn sender(&mut self, address: &str) -> anyhow::Result<Link> {
        let link = self.attach(false, address).await?;
        self.until(|frame| {
            frame.code == code::FLOW
                && frame.number(4) == Some(link.0)
                && frame.number(6).is_some_and(|credit| credit > 0)
        })
        .await?;
        Ok(link)
    }

    /// Attaches a receiver and lets it receive.
    pub(crate) async fn receiver(&mut self, address: &str) -> anyhow::Result<Link> {
        let link = self.silent_receiver(address).await?;
        self.put_credit(link, 0);
        self.wire.flush().await?;
        Ok(link)
    }

    /// Attaches a receiver to which nothing comes yet.
    pub(crate) async fn silent_receiver(&mut self, address: &str) -> anyhow::Result<Link> {
        self.attach(true, address).await
    }

    /// Attaches a receiver of events to which nothing comes yet: only new ones, settled when they are sent.
    pub(crate) async fn event_receiver(&mut self, address: &str) -> anyhow::Result<Link> {
        let selector = Value::described(SELECTOR, Value::string("amqp.annotation.x-opt-offset > '@latest'"));
        let filter = Value::Map(vec![(Value::symbol("apache.org:selector-filter:string"), selector)]);
        let mut source = vec![Value::Null; FIELDS_BEFORE_FILTER - 1];
        source.insert(0, Value::string(address));
        source.push(filter);
        self.attach_to(true, address, source, Value::Ubyte(SETTLED)).await
    }

    /// Lets a receiver receive, after it received that many.
    pub(crate) fn put_credit(&mut self, link: Link, received: u32) {
        self.put_flow(link, received, CREDIT, WINDOW);
    }

    /// The same for the only link of a connection, whose transfers nobody notes.
    pub(crate) fn put_much_credit(&mut self, link: Link, received: u32, credit: u32) {
        self.incoming = received;
        self.put_flow(link, received, credit, i32::MAX as u32);
    }

    fn put_flow(&mut self, link: Link, received: u32, credit: u32, window: u32) {
        let flow = vec![
            Value::Uint(self.incoming),
            Value::Uint(window),
            Value::Uint(self.next_delivery),
            Value::Uint(WINDOW),
            Value::Uint(link.0),
            Value::Uint(received),
            Value::Uint(credit),
        ];
        frame::put(&mut self.wire.out, code::FLOW, flow, &[]);
    }

    async fn attach(&mut self, is_receiver: bool, address: &str) -> anyhow::Result<Link> {
        self.attach_to(is_receiver, address, vec![Value::string(address)], Value::Null).await
    }

    async fn attach_to(
        &mut self,
        is_receiver: bool,
        address: &str,
        source: Vec<Value>,
        sender_settles: Value,
    ) -> anyhow::Result<Link> {
        let link = Link(self.next_handle);
        self.next_handle += 1;
        let attach = vec![
            Value::string(&format!("link-{}", link.0)),
            Value::Uint(link.0),
            Value::Bool(is_receiver),
            sender_settles,
            Value::Null,
            Value::described(code::SOURCE, Value::List(source)),
            Value::described(code::TARGET, Value::List(vec![Value::string(address)])),
            Value::Null,
            Value::Null,
            if is_receiver { Value::Null } else { Value::Uint(0) },
        ];
        frame::put(&mut self.wire.out, code::ATTACH, attach, &[]);
        self.wire.flush().await?;
        let reply = self.until(|frame| frame.code == code::ATTACH && frame.number(1) == Some(link.0)).await?;
        let granted = if is_receiver { reply.field(5) } else { reply.field(6) };
        if *granted == Value::Null {
            let detach = self.until(|frame| frame.code == code::DETACH).await?;
            bail!("{address} was refused: {:?}", detach.field(2));
        }
        Ok(link)
    }

    /// Reads until this frame comes; an end that comes instead is an error.
    async fn until(&mut self, is_it: impl Fn(&Frame) -> bool) -> anyhow::Result<Frame> {
        loop {
            let frame = frame::next(&mut self.wire).await?;
            self.note(&frame);
            if is_it(&frame) {
                return Ok(frame);
            }
            if matches!(frame.code, code::CLOSE | code::END | code::DETACH) {
                bail!("the hub ended it with {:?}", frame.fields);
            }
        }
    }

    /// Keeps count of what a frame says of the session.
    pub(crate) fn note(&mut self, frame: &Frame) {
        if frame.code == code::TRANSFER {
            self.incoming = self.incoming.wrapping_add(1);
        }
        if let (code::FLOW, Some(window)) = (frame.code, frame.number(1)) {
            self.allowed = frame.number(0).unwrap_or(0).wrapping_add(window);
        }
        if let (code::FLOW, Some(link), Some(credit)) = (frame.code, frame.number(4), frame.number(6)) {
            self.credits.insert(Link(link), frame.number(5).unwrap_or(0).wrapping_add(credit));
        }
    }

    /// Whether the hub takes a transfer on the only sender of a connection now.
    pub(crate) fn may_transfer(&self, link: Link) -> bool {
        let credit_end = self.credits.get(&link).copied().unwrap_or(0);
        self.next_delivery < self.allowed.min(credit_end)
    }

    /// Sends a message without flushing; its delivery id.
    pub(crate) fn transfer(&mut self, link: Link, message: &[u8]) -> u32 {
        let id = self.next_delivery;
        self.next_delivery += 1;
        let transfer = vec![
            Value::Uint(link.0),
            Value::Uint(id),
            Value::Binary(id.to_be_bytes().to_vec()),
            Value::Uint(0),
            Value::Bool(false),
            Value::Bool(false),
        ];
        frame::put(&mut self.wire.out, code::TRANSFER, transfer, message);
        id
    }

    /// Settles a delivery of the hub without flushing.
    pub(crate) fn settle(&mut self, delivery: u32, outcome: u64) {
        let disposition = vec![
            Value::Bool(true),
            Value::Uint(delivery),
            Value::Uint(delivery),
            Value::Bool(true),
            Value::described(outcome, Value::List(Vec::new())),
        ];
        frame::put(&mut self.wire.out, code::DISPOSITION, disposition, &[]);
    }

    /// Attaches the pair of `$cbs`.
    pub(crate) async fn cbs(&mut self) -> anyhow::Result<Link> {
        let requests = self.sender("$cbs").await?;
        self.receiver("$cbs").await?;
        Ok(requests)
    }

    /// Sends a token without waiting for the answer, whose correlation id is `id`.
    pub(crate) fn put_token(&mut self, requests: Link, audience: &str, token: &str, id: &str) -> u32 {
        let application =
            [("operation", "put-token"), ("type", "servicebus.windows.net:sastoken"), ("name", audience)];
        let message = Message {
            message_id: Value::string(id),
            to: Some("$cbs".to_owned()),
            application: Value::Map(
                application.map(|(name, value)| (Value::string(name), Value::string(value))).to_vec(),
            ),
            body: Value::string(token),
            ..Message::default()
        };
        self.transfer(requests, &message.bytes())
    }

    /// Puts the first token of a connection and waits until it is accepted.
    pub(crate) async fn authorize(
        &mut self,
        requests: Link,
        audience: &str,
        token: &str,
    ) -> anyhow::Result<()> {
        self.put_token(requests, audience, token, "first");
        self.wire.flush().await?;
        let answer = self.until(|frame| frame.code == code::TRANSFER).await?;
        let answer = Message::parse(&answer.payload)?;
        let status = answer.application.get("status-code").and_then(Value::number);
        ensure!(status == Some(200), "the token was refused: {:?}", answer.application);
        Ok(())
    }
}
