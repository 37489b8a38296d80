//! Many identities on one connection (contract/amqp.md 2.2, 7).

use std::collections::HashSet;

use fe2o3_amqp_types::messaging::DeliveryState;
use fe2o3_amqp_types::performatives::Performative;
use fe2o3_amqp_types::primitives::Value;
use hub::c2d::CloudToDeviceMessage;
use hub::gate::operations::UpdateDevice;
use hub::identity::{DeviceSpec, DeviceStatus};
use hub::ids::{IdentityId, IfMatch};

use crate::cloud_to_device::send;
use crate::raw::{Raw, begin, data, put_token, receiver, sender};
use crate::world::World;
use crate::{HOUR, world};

const DEVICES: usize = 500;

async fn disable(world: &World, identity: &IdentityId) {
    let by = world.owner::<UpdateDevice>(identity.device.clone()).await;
    let spec = DeviceSpec { status: Some(DeviceStatus::Disabled), ..DeviceSpec::default() };
    world.hub.update_device(by, &spec, &IfMatch::Any).unwrap();
}

/// Devices that each put a token of their own, pipelined as Java does, and attach a sender and a C2D receiver: the
/// handles of one number's are `2 + 2 * number` and the next.
async fn fleet(world: &World) -> (Vec<IdentityId>, Raw) {
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        devices.push(world.device(&format!("d{number}")).await);
    }
    let mut client = Raw::open(world.connect()).await;
    client.attach_pair(0, "$cbs").await;
    client.credit(1, 10_000).await;
    for thirty in devices.chunks(30) {
        for device in thirty {
            let token = put_token("localhost", &world.token(device, HOUR), Value::String(device.to_string()));
            client.transfer(0, &token).await;
        }
        let mut answered = HashSet::new();
        for _ in thirty {
            let reply = client.message(1).await.message;
            assert_eq!(reply.application("status-code"), Some(Value::Int(200)));
            answered.insert(format!("{:?}", reply.correlation_id()));
        }
        assert_eq!(answered.len(), thirty.len());
    }
    for (number, device) in devices.iter().enumerate() {
        let handle = 2 + 2 * number as u32;
        client.attach(sender(handle, &format!("/devices/{device}/messages/events"))).await.unwrap();
        client
            .attach(receiver(handle + 1, &format!("/devices/{device}/messages/devicebound")))
            .await
            .unwrap();
        client.credit(handle + 1, 10).await;
    }
    (devices, client)
}

#[tokio::test]
async fn five_hundred_devices_share_a_connection_and_one_that_is_disabled_goes_alone() {
    let (world, _) = world();
    let (devices, mut client) = fleet(&world).await;
    assert_eq!(world.hub.connections().len(), DEVICES);
    disable(&world, &devices[250]).await;
    let mut ended = HashSet::new();
    for _ in 0..2 {
        let (handle, condition) = client
            .until(|frame| match frame {
                Performative::Detach(detach) => {
                    Some((detach.handle.0, format!("{:?}", detach.error.as_ref().unwrap().condition)))
                }
                _ => None,
            })
            .await;
        assert!(condition.contains("UnauthorizedAccess"), "{condition}");
        ended.insert(handle);
    }
    assert_eq!(ended, HashSet::from([502, 503]));
    assert_eq!(world.hub.connections().len(), DEVICES - 1);
    for number in [0, 249, 251, 499] {
        let handle = 2 + 2 * number as u32;
        let id = client.transfer(handle, &data(b"still here")).await;
        assert!(matches!(client.outcome(id).await, DeliveryState::Accepted(_)));
        send(&world, &devices[number], CloudToDeviceMessage::default()).await;
        client.message(handle + 1).await;
    }
    // Its token is worth nothing any more.
    let reply = client.put_token(0, &world.token(&devices[250], HOUR)).await;
    assert_eq!(reply.0, 401);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_identity_on_a_connection_of_many() {
    let (world, _) = world();
    let (first, second) = (world.device("d1").await, world.device("d2").await);
    let mut client = Raw::authenticated(world.connect(), &world.token(&first, HOUR)).await;
    let of_second = "/devices/d2/messages/events";
    assert_eq!(client.attach(sender(2, of_second)).await.unwrap_err().0, "amqp:unauthorized-access");
    assert_eq!(client.put_token(0, &world.token(&second, HOUR)).await.0, 200);
    client.attach(sender(3, of_second)).await.unwrap();
}

/// One session per device, which Java and C# close when one of its links dies.
#[tokio::test]
async fn the_end_of_one_devices_session_leaves_the_others() {
    let (world, _) = world();
    let devices = [world.device("d1").await, world.device("d2").await];
    let mut client = Raw::authenticated(world.connect(), &world.policy_token("device", HOUR)).await;
    for (channel, device) in [(1, &devices[0]), (2, &devices[1])] {
        client.send(channel, &begin(), &[]).await;
        client.send(channel, &sender(0, &format!("/devices/{device}/messages/events")), &[]).await;
        client.until(|frame| matches!(frame, Performative::Attach(_)).then_some(())).await;
    }
    client.send(1, &fe2o3_amqp_types::performatives::End { error: None }, &[]).await;
    let end = client
        .until(|frame| match frame {
            Performative::End(end) => Some(end.clone()),
            _ => None,
        })
        .await;
    assert!(end.error.is_none());
    let left: Vec<IdentityId> = world.hub.connections().into_iter().map(|view| view.identity).collect();
    assert_eq!(left, [devices[1].clone()]);
}
