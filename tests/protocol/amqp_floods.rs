//! Much of everything on one AMQP connection: sessions, unfinished messages, claims, unread answers. Each has a limit
//! with a name, and nobody else notices that it was reached (contract/amqp.md 1.2, 2, 5).

use bytes::Bytes;
use fe2o3_amqp::frames::amqp::FrameBody;
use fe2o3_amqp::types::definitions::Role;
use fe2o3_amqp::types::performatives::Transfer;

use crate::harness::amqp::{Link, Reason, attach_frame};
use crate::harness::emulator::telemetry_address;
use crate::harness::watch::in_time;
use crate::harness::{Amqp, Emulator, Neighbours, Port, sas};

/// Highest channel of a connection.
const CHANNEL_MAX: u16 = 8191;
/// Highest handle of a session.
const HANDLE_MAX: u32 = 8191;
/// Tokens a connection keeps: twice the devices a C# pool puts on one.
const CLAIMS_PER_CONNECTION: usize = 1990;

/// A piece of a message of which more is said to come.
fn piece(link: Link, number: u32, payload: Bytes) -> FrameBody {
    let performative = Transfer {
        handle: link.0.into(),
        delivery_id: (number == 0).then_some(link.0),
        delivery_tag: (number == 0).then(|| link.0.to_be_bytes().to_vec().into()),
        message_format: (number == 0).then_some(0),
        settled: Some(false),
        more: true,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    };
    FrameBody::Transfer { performative, payload }
}

#[tokio::test]
async fn sessions_go_up_to_channel_max_and_no_further() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    for channel in 1..=CHANNEL_MAX {
        amqp.begin(channel).await;
    }
    neighbours.are_untouched().await;
    amqp.send_begin(CHANNEL_MAX + 1).await;
    let reason = amqp.closed().await.expect("a close before the end");
    assert_eq!(reason.condition, "amqp:connection:framing-error");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_handle_past_handle_max_closes_the_connection() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    for (handle, is_taken) in [(HANDLE_MAX, true), (HANDLE_MAX + 1, false), (u32::MAX, false)] {
        let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
        amqp.send(0, FrameBody::Attach(attach_frame("link", Link(handle), Role::Receiver, "$cbs"))).await;
        match amqp.next().await {
            Some(FrameBody::Attach(attach)) => assert!(is_taken && attach.source.is_some(), "{handle}"),
            Some(FrameBody::Close(close)) => {
                let condition = Reason::of(close.error.as_ref()).condition;
                assert_eq!(
                    (is_taken, condition.as_str()),
                    (false, "amqp:connection:framing-error"),
                    "{handle}"
                );
            }
            other => panic!("{handle}: {other:?}"),
        }
    }
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn a_message_that_never_ends_is_not_collected_for_ever() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let (mut amqp, link) = emulator.amqp("d1").await;
    let payload = Bytes::from(vec![b'x'; 32 * 1024]);
    // 64 MiB in pieces, if the hub lets it come to that.
    let flood = async {
        for number in 0..2048 {
            amqp.send(0, piece(link, number, payload.clone())).await;
        }
        // Whatever became of it, the hub still answers for other links, or has closed with a reason.
        amqp.sender("$cbs").await
    };
    let answered = in_time("an answer after the flood", flood).await;
    assert!(answered.is_ok(), "{answered:?}");
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn unfinished_messages_on_many_links_are_bounded_together() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    let mut detached = None;
    // 400 messages of 30 KiB, each of which lacks its end: 12 MiB without any credential.
    for _ in 0..400 {
        let link = amqp.sender("$cbs").await.expect("everybody may attach to $cbs");
        amqp.send(0, piece(link, 0, Bytes::from(vec![b'x'; 30 * 1024]))).await;
        amqp.ask_for_flow(link).await;
        if let Some(FrameBody::Detach(detach)) = amqp.next().await {
            detached = Some(Reason::of(detach.error.as_ref()).condition);
            break;
        }
    }
    assert_eq!(detached.as_deref(), Some("amqp:resource-limit-exceeded"));
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn tokens_past_the_limit_are_refused_with_403() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    let policies = emulator.app.hub.policies();
    let device = policies.iter().find(|policy| policy.name.as_str() == "device").expect("it is built in");
    let (key, expiry) = (device.keys.primary.to_base64(), emulator.now() + 3600);
    let mut amqp = Amqp::open(emulator.io(Port::Amqps).await).await;
    let requests = amqp.sender("$cbs").await.expect("everybody may attach to $cbs");
    amqp.receiver_with_credit("$cbs", 10_000).await.expect("everybody may attach to $cbs");
    for number in 0..=CLAIMS_PER_CONNECTION {
        let audience = format!("localhost/devices/d{number}");
        let token = sas::token(&audience, &key, expiry, Some("device"));
        let expected = if number < CLAIMS_PER_CONNECTION { 200 } else { 403 };
        assert_eq!(amqp.put_token_on(requests, &audience, &token).await, expected, "token {number}");
    }
    // A renewal of one it has is no further token.
    let token = sas::token("localhost/devices/d0", &key, expiry + 1, Some("device"));
    assert_eq!(amqp.put_token_on(requests, "localhost/devices/d0", &token).await, 200);
    neighbours.are_untouched().await;
}

#[tokio::test]
async fn transfers_without_credit_or_window_end_what_they_break() {
    let emulator = Emulator::start().await;
    let mut neighbours = Neighbours::move_in(&emulator).await;
    emulator.create_device("d1").await;
    let (mut amqp, _) = emulator.amqp("d1").await;
    // The link to the hub's replies is one the hub sends on.
    let replies = amqp.receiver("/devices/d1/twin").await.expect("the token is good");
    amqp.send(0, piece(replies, 0, Bytes::from_static(b"x"))).await;
    assert_eq!(amqp.detached(replies).await.condition, "amqp:not-allowed");
    assert!(amqp.sender(&telemetry_address("d1")).await.is_ok());
    neighbours.are_untouched().await;
}
