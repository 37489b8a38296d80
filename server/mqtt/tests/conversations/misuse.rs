//! What a hub on an open port meets: each is cut within its limit, and nobody else notices; `contract/mqtt.md 2.11`.

use std::time::Duration;

use crate::harness::*;

#[tokio::test]
async fn what_is_no_connect_is_cut_at_its_first_byte() {
    let bench = Bench::new().await;
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\xff", &PINGREQ.bytes(), b"\x00"] {
        let mut client = bench.accept();
        client.send(&Raw(garbage)).await;
        client.assert_closed().await;
    }
}

#[tokio::test]
async fn a_username_of_a_megabyte_is_refused_before_it_is_read() {
    let bench = Bench::new().await;
    let mut client = bench.accept();
    let megabyte = frame(0x10, &vec![b'u'; 1024 * 1024]);
    client.send(&Raw(megabyte.get(..5).expect("more than a header"))).await;
    client.assert_closed().await;
}

#[tokio::test]
async fn a_length_of_five_bytes_or_past_the_limit_is_cut_online_too() {
    let bench = Bench::new().await;
    for header in [
        &[0x30, 0xff, 0xff, 0xff, 0xff, 0x01][..],
        &[0x30, 0xff, 0xff, 0xff, 0x7f],
        &[0x82, 0xff, 0xff, 0x03],
    ] {
        let mut client = bench.online("d").await;
        client.send(&Raw(header)).await;
        client.assert_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_connect_and_none_at_all_are_cut_after_a_minute() {
    let bench = Bench::new().await;
    let connect = bench.connect("d").bytes();
    for sent in [0, 1, connect.len() - 1] {
        let began = tokio::time::Instant::now();
        let mut client = bench.accept();
        client.send(&Raw(connect.get(..sent).expect("a part of it"))).await;
        client.assert_closed().await;
        assert_eq!(began.elapsed().as_secs(), 60, "{sent} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_drips_in_is_cut_after_a_minute_all_the_same() {
    let bench = Bench::new().await;
    let began = tokio::time::Instant::now();
    let mut client = bench.accept();
    // The server's minute begins when its task does.
    tokio::task::yield_now().await;
    for byte in bench.connect("d").bytes().iter().take(59) {
        client.send(&Raw(&[*byte])).await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    client.assert_closed().await;
    assert_eq!(began.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_drips_in_counts_as_silence() {
    let bench = Bench::new().await;
    let mut client = bench.accept();
    client.send(&Connect { keep_alive: 10, ..bench.connect("d") }).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 0");
    let last_heard = tokio::time::Instant::now();
    for byte in Publish(0, "devices/d/messages/events/", "").bytes().iter().take(14) {
        client.send(&Raw(&[*byte])).await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    client.assert_closed().await;
    assert_eq!(last_heard.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_answers_is_cut() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    let began = tokio::time::Instant::now();
    let pings = PINGREQ.bytes().repeat(128 * 1024);
    // Blocks for good once both pipes are full, until the server gives up.
    client.send(&Raw(&pings)).await;
    assert_eq!(began.elapsed().as_secs(), 60);
    client.vanish().await;
    assert!(bench.hub.connections().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_not_read_and_nothing_is_lost_when_it_does() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    let pings = client.ping_until_unread().await;
    // What two pipes and the server's own buffers hold, and no more.
    assert!((64 * 1024..256 * 1024).contains(&(pings * 2)), "{pings} pings");
    for _ in 0..pings {
        assert_eq!(client.next().await, "PINGRESP");
    }
    client.assert_nothing_came().await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_loses_its_connection_at_once_when_the_session_ends() {
    let bench = Bench::new().await;
    let mut older = bench.online("d").await;
    older.ping_until_unread().await;
    let began = tokio::time::Instant::now();
    let mut newer = bench.online("d").await;
    older.gone().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    newer.assert_nothing_came().await;
}

#[tokio::test]
async fn packets_that_only_servers_or_qos_2_senders_use_are_cut() {
    let bench = Bench::new().await;
    for first in [0x20, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0, 0xf0, 0xc1, 0x80, 0xa0] {
        let mut client = bench.online("d").await;
        client.send(&Raw(&[first, 0])).await;
        client.assert_closed().await;
    }
}

#[tokio::test]
async fn a_second_connect_and_empty_subscriptions_are_cut() {
    let bench = Bench::new().await;
    for bytes in [bench.connect("d").bytes(), Subscribe(1, &[]).bytes(), frame(0xa2, &[0, 1])] {
        let mut client = bench.online("d").await;
        client.send(&Raw(&bytes)).await;
        client.assert_closed().await;
    }
}

#[tokio::test]
async fn others_do_not_notice() {
    let bench = Bench::new().await;
    let mut bystander = bench.online("d/m").await;
    let mut rude = bench.online("d").await;
    rude.send(&Raw(&[0x36; 64])).await;
    rude.assert_closed().await;
    bystander.send(&PINGREQ).await;
    assert_eq!(bystander.next().await, "PINGRESP");
}

#[tokio::test]
async fn many_large_answers_to_one_client_let_the_others_in_between() {
    let bench = Bench::new().await;
    let long: serde_json::Map<_, _> = (0..7).map(|n| (format!("p{n}"), "x".repeat(4000).into())).collect();
    bench.patch_desired("d", long.into()).await;
    let mut bystander = bench.online("d/m").await;
    // A socket that takes them all at once.
    let mut greedy = bench.accept_over(16 * 1024 * 1024, None);
    greedy.send(&bench.connect("d")).await;
    assert!(greedy.next().await.starts_with("CONNACK 0"));
    greedy.send(&Subscribe(1, &[("$iothub/twin/res/#", 0)])).await;
    assert_eq!(greedy.next().await, "SUBACK 1 [0]");
    let questions = Publish(0, "$iothub/twin/GET/?$rid=1", "").bytes().repeat(300);
    greedy.send(&Raw(&questions)).await;
    bystander.send(&PINGREQ).await;
    assert_eq!(bystander.next().await, "PINGRESP");
    let arrived = greedy.arrived().await;
    assert!(arrived < 1024 * 1024, "{arrived} bytes came before one ping was answered");
}
