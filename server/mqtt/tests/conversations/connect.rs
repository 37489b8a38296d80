//! CONNECT to close: who gets in, who is thrown out, what becomes of the Will; `contract/mqtt.md 2`.

use std::sync::Arc;
use std::time::Duration;

use auth::PeerCertificates;
use auth::certificate::CertificateFacts;
use hub::access::SymmetricKey;
use hub::gate::operations::UpdateDevice;
use hub::identity::{AuthenticationSpec, AuthenticationType, DeviceSpec};
use hub::ids::IfMatch;

use crate::harness::*;

#[tokio::test]
async fn a_device_and_its_module_are_online_at_the_same_time() {
    let bench = Bench::new().await;
    let mut device = bench.accept();
    device.send(&bench.connect("d")).await;
    assert_eq!(device.next().await, "CONNACK 0 session present 0");
    let mut module = bench.accept();
    module.send(&bench.connect("d/m")).await;
    assert_eq!(module.next().await, "CONNACK 0 session present 0");
    let online: Vec<_> = bench.hub.connections().iter().map(|it| it.identity.to_string()).collect();
    assert_eq!(online, ["d", "d/m"]);
    device.leave().await;
    module.leave().await;
    assert!(bench.hub.connections().is_empty());
}

#[tokio::test]
async fn every_refusal_is_a_5_and_a_close() {
    type Change = fn(&Bench, &mut Connect);
    let rows: [(&str, Change); 9] = [
        ("wrong key", |bench, it| {
            let other = SymmetricKey::from_base64("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
            it.password = bench.token("d", &other, TOKEN_HOURS);
        }),
        ("expired token", |bench, it| it.password = bench.token("d", &key(), Duration::ZERO)),
        ("token of the module", |bench, it| it.password = bench.token("d/m", &key(), TOKEN_HOURS)),
        ("no token", |_, it| it.password.clear()),
        ("no token at all", |_, it| it.password = "secret".into()),
        ("unknown device", |bench, it| {
            *it = Connect { password: bench.token("x", &key(), TOKEN_HOURS), ..bench.connect("x") }
        }),
        ("client id of another", |_, it| it.client_id = "d/m".into()),
        ("username outside the grammar", |_, it| it.username = "d".into()),
        ("MQTT 5", |_, it| it.level = 5),
    ];
    for (name, change) in rows {
        let bench = Bench::new().await;
        let mut connect = bench.connect("d");
        change(&bench, &mut connect);
        let mut client = bench.accept();
        client.send(&connect).await;
        assert_eq!(client.next().await, "CONNACK 5 session present 0", "{name}");
        assert_eq!(client.next().await, "closed", "{name}");
        client.vanish().await;
        assert!(bench.hub.connections().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_disabled_device_is_thrown_out_with_its_module_and_not_let_in_again() {
    let bench = Bench::new().await;
    let (device, module) = (bench.online("d").await, bench.online("d/m").await);
    bench.disable().await;
    device.assert_closed().await;
    module.assert_closed().await;
    for id in ["d", "d/m"] {
        let mut client = bench.accept();
        client.send(&bench.connect(id)).await;
        assert_eq!(client.next().await, "CONNACK 5 session present 0", "{id}");
        client.vanish().await;
    }
}

#[tokio::test]
async fn a_deleted_device_is_thrown_out() {
    let bench = Bench::new().await;
    let client = bench.online("d/m").await;
    bench.delete().await;
    client.assert_closed().await;
}

#[tokio::test]
async fn a_certificate_with_a_registered_thumbprint_connects_and_another_does_not() {
    let minted = || {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().der().to_vec()
    };
    let (registered, other) = (minted(), minted());
    let bench = Bench::new().await;
    let authentication = AuthenticationSpec {
        kind: Some(AuthenticationType::SelfSigned),
        primary_thumbprint: Some(CertificateFacts::of(&registered).unwrap().sha256),
        ..AuthenticationSpec::default()
    };
    let spec = DeviceSpec { authentication: Some(authentication), ..DeviceSpec::default() };
    let by = bench.owner::<UpdateDevice>(identity("d").device).await;
    bench.hub.update_device(by, &spec, &IfMatch::Any).unwrap();

    for (certificate, expected) in [(Some(registered), 0), (Some(other), 5), (None, 5)] {
        let presented = certificate.map(|der| Arc::new(PeerCertificates::new(vec![der])));
        let mut client = bench.accept_with(presented);
        client.send(&Connect { password: String::new(), ..bench.connect("d") }).await;
        assert_eq!(client.next().await, format!("CONNACK {expected} session present 0"));
        client.vanish().await;
    }
}

#[tokio::test]
async fn a_newer_connection_takes_over_and_the_older_is_closed_without_a_packet() {
    let bench = Bench::new().await;
    let older = bench.online("d/m").await;
    let mut newer = bench.online("d/m").await;
    older.assert_closed().await;
    newer.send(&PINGREQ).await;
    assert_eq!(newer.next().await, "PINGRESP");
    assert_eq!(bench.hub.connections().len(), 1);
}

#[tokio::test]
async fn packets_sent_along_with_the_connect_are_answered_after_it() {
    let bench = Bench::new().await;
    let mut client = bench.accept();
    let mut bytes = bench.connect("d").bytes();
    bytes.extend(Publish(3, "devices/d/messages/events/", "early").bytes());
    bytes.extend(PINGREQ.bytes());
    client.send(&Raw(&bytes)).await;
    for expected in ["CONNACK 0 session present 0", "PUBACK 3", "PINGRESP"] {
        assert_eq!(client.next().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_after_one_and_a_half_keep_alives_and_a_pinging_one_is_not() {
    let bench = Bench::new().await;
    let mut client = bench.accept();
    client.send(&Connect { keep_alive: 10, ..bench.connect("d") }).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 0");
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(14)).await;
        client.send(&PINGREQ).await;
        assert_eq!(client.next().await, "PINGRESP");
    }
    let last_heard = tokio::time::Instant::now();
    client.assert_closed().await;
    assert_eq!(last_heard.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_keep_alive_is_cut_after_the_hubs_longest_silence() {
    let bench = Bench::new().await;
    let mut client = bench.accept();
    client.send(&Connect { keep_alive: 0, ..bench.connect("d") }).await;
    assert_eq!(client.next().await, "CONNACK 0 session present 0");
    let last_heard = tokio::time::Instant::now();
    client.assert_closed().await;
    assert_eq!(last_heard.elapsed().as_secs(), 1767);
}

#[tokio::test]
async fn a_connection_outlives_its_token_by_the_grace_and_no_longer() {
    let bench = Bench::new().await;
    let mut client = bench.online("d").await;
    bench.clock.advance(TOKEN_HOURS + Duration::from_secs(599));
    bench.hub.run_due();
    client.send(&Publish(1, "devices/d/messages/events/", "still here")).await;
    assert_eq!(client.next().await, "PUBACK 1");
    bench.clock.advance(Duration::from_secs(1));
    bench.hub.run_due();
    client.assert_closed().await;
}

#[tokio::test]
async fn draining_closes_those_online_and_those_not_yet() {
    let bench = Bench::new().await;
    let (online, waiting) = (bench.online("d").await, bench.accept());
    bench.drain.cancel();
    online.assert_closed().await;
    waiting.assert_closed().await;
    assert!(bench.hub.connections().is_empty());
}

mod wills {
    use super::*;

    fn with_will(bench: &Bench, topic: &str) -> Connect {
        Connect { will: Some((topic.into(), "gone".into())), ..bench.connect("d") }
    }

    async fn online_with_will(bench: &Bench) -> Client {
        let mut client = bench.accept();
        client.send(&with_will(bench, "devices/d/messages/events/a=1")).await;
        let answer = client.next().await;
        assert!(answer.starts_with("CONNACK 0"), "{answer}");
        client
    }

    #[tokio::test]
    async fn a_lost_client_leaves_its_will_as_telemetry() {
        let bench = Bench::new().await;
        online_with_will(&bench).await.vanish().await;
        let [event] = bench.events().try_into().expect("one event");
        assert_eq!(event.body, "gone");
        let expected = [("a", "1"), ("iothub-MessageType", "Will")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        assert_eq!(event.properties.application, expected);
    }

    #[tokio::test]
    async fn a_client_that_says_goodbye_leaves_none() {
        let bench = Bench::new().await;
        online_with_will(&bench).await.leave().await;
        assert!(bench.events().is_empty());
    }

    #[tokio::test]
    async fn a_client_that_breaks_the_rules_or_is_taken_over_leaves_it() {
        let bench = Bench::new().await;
        let mut rude = online_with_will(&bench).await;
        rude.send(&Publish(0, "no/topic/of/the/hub", "")).await;
        rude.assert_closed().await;
        assert_eq!(bench.events().len(), 1);
        let older = online_with_will(&bench).await;
        let _newer = bench.online("d").await;
        older.assert_closed().await;
        assert_eq!(bench.events().len(), 2);
    }

    /// Makes a session end, and waits until its client knows.
    async fn end(bench: &Bench, how: &str, mut client: Client) {
        match how {
            "token expired" => {
                bench.clock.advance(TOKEN_HOURS + Duration::from_secs(600));
                bench.hub.run_due();
            }
            "device deleted" => bench.delete().await,
            "device disabled" => bench.disable().await,
            "hub stopping" => bench.drain.cancel(),
            "keep-alive lost" => {}
            "rule broken" => client.send(&Publish(0, "no/topic/of/the/hub", "")).await,
            "socket lost" => return client.vanish().await,
            "taken over" => bench.online("d").await.leave().await,
            other => panic!("no way to end: {other}"),
        }
        client.assert_closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_exactly_once_however_a_session_ends() {
        for how in [
            "device deleted",
            "device disabled",
            "hub stopping",
            "keep-alive lost",
            "rule broken",
            "socket lost",
            "taken over",
            "token expired",
        ] {
            let bench = Bench::new().await;
            let client = online_with_will(&bench).await;
            end(&bench, how, client).await;
            assert_eq!(bench.events().len(), 1, "{how}");
            assert!(bench.hub.connections().is_empty(), "{how}");
        }
    }

    #[tokio::test]
    async fn it_is_there_before_the_connection_that_took_over_hears_that_it_is_in() {
        let bench = Bench::new().await;
        let _older = online_with_will(&bench).await;
        let mut newer = bench.online("d").await;
        assert_eq!(bench.events().len(), 1);
        newer.send(&Publish(1, "devices/d/messages/events/", "newer")).await;
        assert_eq!(newer.next().await, "PUBACK 1");
        let bodies: Vec<_> = bench.events().iter().map(|event| event.body.clone()).collect();
        assert_eq!(bodies, ["gone", "newer"]);
    }

    #[tokio::test]
    async fn it_is_not_published_of_a_client_that_was_never_let_in() {
        let bench = Bench::new().await;
        let mut client = bench.accept();
        let wrong = Connect { password: "wrong".into(), ..with_will(&bench, "devices/d/messages/events/") };
        client.send(&wrong).await;
        assert_eq!(client.next().await, "CONNACK 5 session present 0");
        client.vanish().await;
        assert!(bench.events().is_empty());
    }

    #[tokio::test]
    async fn a_will_on_any_other_topic_is_refused() {
        let bench = Bench::new().await;
        for topic in ["devices/d/modules/m/messages/events/", "devices/x/messages/events/", "will"] {
            let mut client = bench.accept();
            client.send(&with_will(&bench, topic)).await;
            assert_eq!(client.next().await, "CONNACK 5 session present 0", "{topic}");
            client.vanish().await;
        }
        assert!(bench.events().is_empty());
    }
}
