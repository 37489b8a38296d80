//! How clients open a connection, one row of the contract's table each (contract/amqp.md 1.1, 1.2).

use fe2o3_amqp_types::performatives::{Open, Performative};
use fe2o3_amqp_types::primitives::{Binary, Symbol, Value};
use fe2o3_amqp_types::sasl::SaslInit;

use crate::raw::{AMQP_HEADER, Raw, SASL_HEADER, begin, frame, framed, open, receiver, sender};
use crate::world::World;
use crate::{HOUR, world};

const OK: &[u8] = &[0x00, 0x53, 0x44, 0xC0, 4, 2, 0x50, 0, 0x40];
const REFUSED: &[u8] = &[0x00, 0x53, 0x44, 0xC0, 4, 2, 0x50, 1, 0x40];

fn sasl_init(mechanism: &str, response: &[u8]) -> Vec<u8> {
    let initial_response = (!response.is_empty()).then(|| Binary::from(response.to_vec()));
    let init = SaslInit { mechanism: Symbol::from(mechanism), initial_response, hostname: None };
    framed(1, 0, &serde_amqp::to_vec(&init).unwrap())
}

fn plain(user: &str, token: &str) -> Vec<u8> {
    sasl_init("PLAIN", format!("\0{user}\0{token}").as_bytes())
}

/// Goes through SASL; the outcome frame's body.
async fn sasl(io: tokio::io::DuplexStream, init: &[u8]) -> (Raw, Vec<u8>) {
    let mut client = Raw::new(io);
    client.write(SASL_HEADER).await;
    client.expect_header(SASL_HEADER).await;
    client.next_body().await.expect("mechanisms");
    client.write(init).await;
    let (kind, _, outcome) = client.next_body().await.expect("an outcome");
    assert_eq!(kind, 1);
    (client, outcome.to_vec())
}

/// What follows SASL, in the lock step of careful clients.
async fn opened(mut client: Raw) -> Raw {
    client.write(AMQP_HEADER).await;
    client.expect_header(AMQP_HEADER).await;
    client.send(0, &open(), &[]).await;
    client.until(|frame| matches!(frame, Performative::Open(_)).then_some(())).await;
    client.send(0, &begin(), &[]).await;
    client.until(|frame| matches!(frame, Performative::Begin(_)).then_some(())).await;
    client
}

async fn after_sasl(world: &World, init: &[u8]) -> Raw {
    let (client, outcome) = sasl(world.connect(), init).await;
    assert_eq!(outcome, OK);
    opened(client).await
}

/// Node, C# and Go: no SASL, CBS; Go writes its addresses without a leading slash and puts a token per pair.
#[tokio::test]
async fn no_sasl_then_a_token_opens_devices_and_back_ends() {
    let (world, _) = world();
    let device = world.device("d1").await;
    let mut client = Raw::authenticated(world.connect(), &world.token(&device, HOUR)).await;
    client.attach(sender(2, "/devices/d1/messages/events")).await.unwrap();
    let mut go = Raw::open(world.connect()).await;
    go.attach(sender(0, "$cbs")).await.unwrap();
    go.attach(receiver(1, "$cbs")).await.unwrap();
    go.credit(1, 1).await;
    assert_eq!(go.put_token(0, &world.policy_token("service", HOUR)).await.0, 200);
    go.attach(sender(2, "messages/devicebound")).await.unwrap();
    go.attach(receiver(3, "messages/servicebound/feedback")).await.unwrap();
}

/// Java: ANONYMOUS, maybe with a trace. C and uamqp: MSSBCBS, their CBS pair by absolute address.
#[tokio::test]
async fn anonymous_and_mssbcbs_stand_for_nothing_and_a_token_follows() {
    let (world, _) = world();
    let device = world.device("d1").await;
    for init in [sasl_init("ANONYMOUS", b"\0name"), sasl_init("ANONYMOUS", b""), sasl_init("MSSBCBS", b"")] {
        let mut client = after_sasl(&world, &init).await;
        let (condition, _) = client.attach(sender(9, "/devices/d1/messages/events")).await.unwrap_err();
        assert_eq!(condition, "amqp:unauthorized-access");
        client.attach_pair(0, "amqps://localhost/$cbs").await;
        assert_eq!(client.put_token(0, &world.token(&device, HOUR)).await.0, 200);
        client.attach(sender(2, "amqps://localhost/devices/d1/messages/events")).await.unwrap();
    }
}

/// C service, az CLI: PLAIN and no CBS at all, addresses absolute.
#[tokio::test]
async fn plain_opens_the_service_side_without_cbs() {
    let (world, _) = world();
    for user in ["service@sas.root.test", "service@sas.root.localhost", "service@SAS.ROOT.any"] {
        let mut client = after_sasl(&world, &plain(user, &world.policy_token("service", HOUR))).await;
        client.attach(sender(2, "amqps://localhost/messages/deviceBound")).await.unwrap();
        client.attach(receiver(3, "amqps://localhost/messages/serviceBound/feedback")).await.unwrap();
        let (condition, _) = client.attach(sender(4, "/devices/d1/twin")).await.unwrap_err();
        assert_eq!(condition, "amqp:unauthorized-access", "the policy has no DeviceConnect");
    }
}

#[tokio::test]
async fn plain_opens_devices_and_modules_by_every_form_of_their_name() {
    let (world, _) = world();
    let device = world.device("d:1").await;
    let module = world.module("d:1", "m:1").await;
    for (user, identity, address) in [
        ("d:1@sas.test", &device, "/devices/d:1/messages/events"),
        ("d%3A1@sas.localhost", &device, "/devices/d%3A1/messages/events"),
        ("d:1@test", &device, "/devices/d:1/messages/events"),
        ("d:1/modules/m:1@sas.test", &module, "/devices/d:1/modules/m:1/messages/events"),
        ("d%3A1/modules/m%3A1@sas.test", &module, "/devices/d%3A1/modules/m%3A1/messages/events"),
    ] {
        let mut client = after_sasl(&world, &plain(user, &world.token(identity, HOUR))).await;
        client.attach(sender(2, address)).await.unwrap();
    }
}

#[tokio::test]
async fn bad_plain_credentials_get_code_1_and_a_closed_socket() {
    let (world, _) = world();
    let (device, other) = (world.device("d1").await, world.device("d2").await);
    for init in [
        plain("d1@sas.test", "nonsense"),
        plain("d1@sas.test", &world.token(&other, HOUR)),
        plain("nobody@sas.test", &world.token(&device, HOUR)),
        plain("service@sas.root.test", &world.token(&device, HOUR).replace("d1", "d3")),
        sasl_init("PLAIN", b"no separators"),
        sasl_init("EXTERNAL", b""),
        sasl_init("SCRAM-SHA-256", b""),
    ] {
        let (mut client, outcome) = sasl(world.connect(), &init).await;
        assert_eq!(outcome, REFUSED);
        assert!(client.next_body().await.is_none());
    }
}

#[tokio::test]
async fn the_hubs_open_and_begin_say_what_clients_need_to_hear() {
    let (world, _) = world();
    let mut client = Raw::new(world.connect());
    client.write(&[&AMQP_HEADER[..], &frame(0, &open(), &[]), &frame(5, &begin(), &[])].concat()).await;
    client.expect_header(AMQP_HEADER).await;
    let Some(Performative::Open(open)) = client.next().await.unwrap().performative else { panic!("no open") };
    assert!(!open.container_id.is_empty());
    assert_eq!(
        (open.max_frame_size.0, open.channel_max.0, open.idle_time_out),
        (65_536, 8191, Some(240_000))
    );
    let Some(Performative::Begin(begin)) = client.next().await.unwrap().performative else {
        panic!("no begin")
    };
    assert_eq!((begin.remote_channel, begin.incoming_window, begin.handle_max.0), (Some(5), 5000, 8191));
}

/// Clients open sessions for CBS and for each device, and the hub keeps their links apart by channel.
#[tokio::test]
async fn equal_handles_and_equal_names_are_different_links_in_different_sessions() {
    let (world, _) = world();
    let devices = [world.device("d1").await, world.device("d2").await];
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    for (number, device) in devices.iter().enumerate() {
        let channel = number as u16 + 1;
        client.send(channel, &begin(), &[]).await;
        let mut attach = sender(0, &format!("/devices/{device}/messages/events"));
        // C# gives every device's link the same name.
        attach.name = "TelemetrySenderLink".to_owned();
        client.send(channel, &attach, &[]).await;
        client
            .until(|frame| match frame {
                Performative::Attach(reply) => Some(reply.clone()),
                Performative::Detach(detach) => panic!("{detach:?}"),
                _ => None,
            })
            .await;
    }
    assert_eq!(world.hub.connections().len(), 2);
}

#[tokio::test]
async fn a_client_may_leave_every_optional_field_of_its_open_out() {
    let (world, _) = world();
    let bare = framed(0, 0, &[0x00, 0x53, 0x10, 0xC0, 4, 1, 0xA1, 1, b'c']);
    let mut client = Raw::new(world.connect());
    client.write(&[&AMQP_HEADER[..], &bare, &frame(0, &begin(), &[])].concat()).await;
    client.expect_header(AMQP_HEADER).await;
    client.until(|frame| matches!(frame, Performative::Begin(_)).then_some(())).await;
    client.attach_pair(0, "$cbs").await;
}

#[tokio::test]
async fn properties_of_an_open_are_ignored() {
    let (world, _) = world();
    let properties = [("product", Value::String("x".into())), ("version", Value::Int(1))]
        .map(|(key, value)| (Symbol::from(key), value));
    let open = Open { properties: Some(properties.into_iter().collect()), ..open() };
    let mut client = Raw::open_with(world.connect(), open).await;
    client.attach_pair(0, "$cbs").await;
}
