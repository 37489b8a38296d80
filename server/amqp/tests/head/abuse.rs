//! What a hostile or broken client gets: a refusal within limits, while others go on.

use std::time::Duration;

use fe2o3_amqp_types::performatives::{Open, Performative};
use fe2o3_amqp_types::primitives::{Binary, Symbol, Value};
use fe2o3_amqp_types::sasl::SaslInit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cloud_to_device::is_quiet;
use crate::device::{device_client, patch_desired};
use crate::raw::{
    AMQP_HEADER, Raw, SASL_HEADER, begin, data, frame, framed, open, receiver, sender, twin_request,
};
use crate::{HOUR, world};

/// Everything the server says before it ends the connection.
async fn answer_to(bytes: &[u8]) -> Vec<u8> {
    let (world, _) = world();
    let (mut io, task) = world.connect_with(None);
    io.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), io.read_to_end(&mut answer)).await;
    read.expect("the connection stays").unwrap();
    task.await.expect("the head panicked");
    answer
}

#[tokio::test(start_paused = true)]
async fn garbage_is_answered_with_the_supported_header_and_a_closed_socket() {
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\x02\x01\x00\x00", b"AMQP\x00\x00\x09\x01", &[0xFF; 64]]
    {
        assert_eq!(answer_to(garbage).await, AMQP_HEADER);
    }
}

#[tokio::test(start_paused = true)]
async fn broken_frames_close_the_connection_with_a_framing_error() {
    let opened = [&AMQP_HEADER[..], &frame(0, &open(), &[])].concat();
    let begun = [&opened[..], &frame(0, &begin(), &[])].concat();
    let nested: Vec<u8> = [0xD0, 0, 0, 0xFF, 0, 0, 0, 0, 1].repeat(7000);
    for (what, before, bytes) in [
        ("an absurd length before the open", &AMQP_HEADER[..], vec![0x7F, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0]),
        ("an absurd length", &opened[..], vec![0x7F, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0]),
        ("a frame shorter than its header", &opened[..], vec![0, 0, 0, 4, 2, 0, 0, 0]),
        ("an impossible data offset", &opened[..], vec![0, 0, 0, 8, 99, 0, 0, 0]),
        ("an unknown frame type", &opened[..], framed(7, 0, &[])),
        ("no performative", &opened[..], framed(0, 0, b"hello there")),
        ("a list that is cut off", &opened[..], framed(0, 0, &[0, 0x53, 0x11, 0xC0, 99, 4])),
        ("seven thousand lists in one another", &opened[..], framed(0, 0, &nested)),
        ("a second open", &opened[..], frame(0, &open(), &[])),
        ("a channel above the maximum", &opened[..], frame(8192, &begin(), &[])),
        ("a channel twice", &begun[..], frame(0, &begin(), &[])),
        ("a handle above the maximum", &begun[..], frame(0, &sender(8192, "$cbs"), &[])),
        ("a link without a session", &opened[..], frame(5, &sender(0, "$cbs"), &[])),
    ] {
        let answer = answer_to(&[before, &bytes].concat()).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("amqp:connection:framing-error"), "{what}: {text:?}");
    }
}

#[tokio::test]
async fn misuse_of_a_handle_ends_its_session_only() {
    let (world, _) = world();
    let mut client = Raw::open(world.connect()).await;
    client.send(3, &begin(), &[]).await;
    let transfer = client.next_transfer(9);
    client.send(3, &transfer, &data(b"to nobody")).await;
    let end = client
        .until(|frame| match frame {
            Performative::End(end) => Some(end.clone()),
            _ => None,
        })
        .await;
    assert!(format!("{:?}", end.error.unwrap().condition).contains("UnattachedHandle"));
    client.attach_pair(0, "$cbs").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_opens_is_cut_off() {
    for bytes in
        [&b""[..], b"AMQP", &AMQP_HEADER[..], &SASL_HEADER[..], &[&AMQP_HEADER[..], &[0, 0, 0, 99]].concat()]
    {
        let (world, _) = world();
        let started = tokio::time::Instant::now();
        let (mut io, task) = world.connect_with(None);
        io.write_all(bytes).await.unwrap();
        task.await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(30), "{bytes:?}");
        drop(io);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_authenticates_is_told_and_cut_off() {
    let (world, _) = world();
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(client.closed().await.0, "amqp:unauthorized-access");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_at_half_the_silence_the_client_tolerates() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::open_with(world.connect(), Open { idle_time_out: Some(10_000), ..open() }).await;
    client.attach_pair(0, "$cbs").await;
    client.put_token(0, &world.token(&device, HOUR)).await;
    let started = tokio::time::Instant::now();
    for _ in 0..4 {
        assert!(client.next().await.unwrap().performative.is_none());
    }
    assert!(started.elapsed() >= Duration::from_secs(19) && started.elapsed() <= Duration::from_secs(21));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_off_after_twice_the_announced_time() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let (io, task) = world.connect_with(None);
    let client = Raw::authenticated(io, &world.token(&device, HOUR)).await;
    let started = tokio::time::Instant::now();
    task.await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(480) && started.elapsed() < Duration::from_secs(490));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_off() {
    let (world, _) = world();
    let (mut io, task) = world.connect_with(None);
    let mut bytes = [&AMQP_HEADER[..], &frame(0, &open(), &[])].concat();
    (0..8000).for_each(|channel| bytes.extend(frame(channel, &begin(), &[])));
    let writing = tokio::time::timeout(Duration::from_secs(120), io.write_all(&bytes)).await;
    drop(writing);
    task.await.unwrap();
}

#[tokio::test]
async fn attaches_beyond_the_limit_are_refused_while_others_go_on() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut greedy = Raw::open(world.connect()).await;
    greedy.send(1, &begin(), &[]).await;
    greedy.until(|frame| matches!(frame, Performative::Begin(_)).then_some(())).await;
    let (mut attached, mut refused) = (0, 0);
    for number in 0..10_000u32 {
        let (channel, handle) = ((number / 5000) as u16, number % 5000);
        greedy.send(channel, &sender(handle, "$cbs"), &[]).await;
        let reply = greedy
            .until(|frame| match frame {
                Performative::Attach(reply) => Some(reply.clone()),
                _ => None,
            })
            .await;
        if reply.target.is_some() {
            attached += 1;
        } else {
            let (condition, description) = greedy.detached(handle).await;
            assert_eq!(condition, "amqp:resource-limit-exceeded");
            assert!(description.contains("7960"), "{description}");
            refused += 1;
        }
    }
    assert_eq!((attached, refused), (7960, 2040));
    let mut other = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    other.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
}

#[tokio::test]
async fn unfinished_messages_are_bounded_over_all_links() {
    let (world, _) = world();
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    let part = vec![0; 60_000];
    let mut handles = Vec::new();
    for number in 0..30 {
        let id = world.device(&format!("d{number}")).await;
        let handle = number + 2;
        client.attach(sender(handle, &format!("/devices/{id}/messages/events"))).await.unwrap();
        handles.push(handle);
    }
    let mut sent = 0;
    for handle in &handles {
        for _ in 0..5 {
            let mut transfer = client.next_transfer(*handle);
            transfer.more = true;
            transfer.delivery_id = Some(*handle);
            client.send(0, &transfer, &part).await;
            sent += part.len();
        }
    }
    assert!(sent > 4 * 1024 * 1024);
    let condition = client
        .until(|frame| match frame {
            Performative::Detach(detach) => Some(format!("{:?}", detach.error.as_ref().unwrap().condition)),
            _ => None,
        })
        .await;
    assert!(condition.contains("ResourceLimitExceeded"), "{condition}");
}

#[tokio::test]
async fn sasl_and_amqp_may_be_pipelined_in_one_write() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let response = format!("\0d1@sas.localhost\0{}", world.token(&device, HOUR));
    let init = SaslInit {
        mechanism: Symbol::from("PLAIN"),
        initial_response: Some(Binary::from(response.into_bytes())),
        hostname: None,
    };
    let mut client = Raw::new(world.connect());
    let bytes = [
        &SASL_HEADER[..],
        &framed(1, 0, &serde_amqp::to_vec(&init).unwrap()),
        AMQP_HEADER,
        &frame(0, &open(), &[]),
        &frame(0, &begin(), &[]),
        &frame(0, &sender(0, "/devices/d1/messages/events"), &[]),
    ]
    .concat();
    client.write(&bytes).await;
    client.expect_header(SASL_HEADER).await;
    let (kind, _, mechanisms) = client.next_body().await.unwrap();
    assert_eq!(kind, 1);
    // An array even if it held one item: pyamqp and uamqp read nothing else.
    assert_eq!(mechanisms[6], 0xF0);
    for mechanism in [&b"MSSBCBS"[..], b"ANONYMOUS", b"PLAIN", b"EXTERNAL"] {
        assert!(mechanisms.windows(mechanism.len()).any(|window| window == mechanism));
    }
    let (_, _, outcome) = client.next_body().await.unwrap();
    assert_eq!(&outcome[..], [0x00, 0x53, 0x44, 0xC0, 4, 2, 0x50, 0, 0x40]);
    client.expect_header(AMQP_HEADER).await;
    client
        .until(|frame| matches!(frame, Performative::Attach(attach) if attach.target.is_some()).then_some(()))
        .await;
}

#[tokio::test]
async fn bytes_may_come_one_at_a_time() {
    let (world, _) = world();
    let mut client = Raw::new(world.connect());
    let bytes = [
        &AMQP_HEADER[..],
        &frame(0, &open(), &[]),
        &frame(0, &begin(), &[]),
        &frame(0, &sender(0, "$cbs"), &[]),
    ];
    for byte in bytes.concat() {
        client.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client.expect_header(AMQP_HEADER).await;
    client.until(|frame| matches!(frame, Performative::Attach(_)).then_some(())).await;
}

#[tokio::test]
async fn twin_replies_nobody_can_be_sent_are_bounded_by_their_bytes_too() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let text = "y".repeat(3900);
    let desired: serde_json::Map<_, _> = (0..8).map(|n| (n.to_string(), text.as_str().into())).collect();
    patch_desired(&world, &device, desired.into()).await;
    let mut client = device_client(&world, &device).await;
    client.attach(sender(2, "/devices/d1/twin")).await.unwrap();
    for n in 0..32 {
        let id = client.transfer(2, &twin_request("GET", "", Value::Ulong(n), b" ")).await;
        client.outcome(id).await;
    }
    client.attach(receiver(3, "/devices/d1/twin")).await.unwrap();
    client.credit(3, 1000).await;
    let mut kept = 0;
    while !is_quiet(&mut client, 3).await {
        kept += 1;
    }
    let bytes = kept * 8 * text.len();
    assert!((1..32).contains(&kept) && bytes <= 512 * 1024, "{kept} replies of {bytes} bytes were kept");
}
