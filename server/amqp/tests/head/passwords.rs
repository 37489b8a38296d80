//! SASL for back ends: tokens and keys as passwords, and traces that mean nothing (contract/eventhubs.md 2).

use fe2o3_amqp_types::primitives::{Binary, Symbol};
use fe2o3_amqp_types::sasl::SaslInit;
use tokio::io::DuplexStream;

use crate::raw::{AMQP_HEADER, Raw, SASL_HEADER, begin, frame, framed, open, receiver};
use crate::{HOUR, world};

const PARTITION: &str = "test/ConsumerGroups/$Default/Partitions/0";

/// The client after its outcome; `None` when that was a refusal.
async fn login(io: DuplexStream, mechanism: &str, response: &[u8]) -> Option<Raw> {
    let init = SaslInit {
        mechanism: Symbol::from(mechanism),
        initial_response: Some(Binary::from(response.to_vec())),
        hostname: Some("localhost".into()),
    };
    let mut client = Raw::new(io);
    let init = framed(1, 0, &serde_amqp::to_vec(&init).unwrap());
    client.write(&[&SASL_HEADER[..], &init].concat()).await;
    client.expect_header(SASL_HEADER).await;
    client.next_body().await.unwrap();
    let (_, _, outcome) = client.next_body().await.unwrap();
    if outcome[7] != 0 {
        return None;
    }
    client.write(&[&AMQP_HEADER[..], &frame(0, &open(), &[]), &frame(0, &begin(), &[])].concat()).await;
    client.expect_header(AMQP_HEADER).await;
    Some(client)
}

fn plain(user: &str, password: &str) -> Vec<u8> {
    [b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat()
}

#[tokio::test]
async fn a_policy_logs_in_with_a_token_or_with_its_key_by_either_name() {
    let (world, _) = world();
    let key = |name: &str| {
        let policy = world.hub.policies().iter().find(|policy| policy.name.as_str() == name).unwrap();
        policy.keys.primary.to_base64()
    };
    let token = world.policy_token("service", HOUR);
    for (user, password, reads) in [
        ("service", &token, true),
        ("service@sas.root.localhost", &token, true),
        ("service", &key("service"), true),
        ("service@sas.root.localhost", &key("service"), true),
        ("device", &key("device"), false),
    ] {
        let mut client = login(world.connect(), "PLAIN", &plain(user, password)).await.unwrap();
        let attached = client.attach(receiver(2, PARTITION)).await;
        assert_eq!(attached.is_ok(), reads, "{user} {attached:?}");
    }
    for (user, password) in [
        ("service", key("device")),
        ("nobody", key("service")),
        ("service", String::new()),
        ("device", token.clone()),
        ("nobody", token),
        ("", key("service")),
    ] {
        assert!(login(world.connect(), "PLAIN", &plain(user, &password)).await.is_none(), "{user}");
    }
}

#[tokio::test]
async fn an_anonymous_client_may_leave_any_trace_and_may_nothing_by_it() {
    let (world, _) = world();
    for trace in [&b""[..], b"\0service", b"\xff\xfe", &[b'x'; 3000]] {
        let mut client = login(world.connect(), "ANONYMOUS", trace).await.unwrap();
        let refused = client.attach(receiver(2, PARTITION)).await.unwrap_err();
        assert_eq!(refused.0, "amqp:unauthorized-access");
        client.attach_pair(0, "$cbs").await;
        assert_eq!(client.put_token(0, &world.policy_token("service", HOUR)).await.0, 200);
        client.attach(receiver(3, PARTITION)).await.unwrap();
    }
}
