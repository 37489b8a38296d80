//! Cloud-to-device steps: back ends send, purge and read feedback; devices take messages with and without a session and
//! settle them in every way, in time, late, twice and with tokens of others.

use std::time::Duration;

use bytes::Bytes;
use hub::c2d::{Acknowledgement, CloudToDeviceMessage, LockToken, LockedMessage, Settlement};
use hub::gate::operations::{
    PollCloudToDevice, PurgeCloudToDevice, ReceiveCloudToDevice, ReceiveFeedback, SendCloudToDevice,
    SettleCloudToDevice, SettleFeedback,
};
use hub::ids::{DeviceId, IdentityId};

use crate::caller::Caller;
use crate::dice::Dice;
use crate::naive_message::NaiveDelivery;
use crate::world::World;
use crate::{ids, twins};

/// One random step of a back end or of a device.
pub(crate) fn step(world: &mut World, dice: &mut Dice) {
    match dice.below(24) {
        0..=7 => send(world, dice),
        8..=11 => {
            let (device, connection, by) = owner(world, dice);
            receive(world, &device, connection, &by);
        }
        12..=15 => settle_any(world, dice),
        16 => poll(world, dice),
        17 | 18 => work(world, dice),
        19 | 20 => wait(world, dice),
        21 => purge(world, dice),
        22 if dice.one_in(10) => crowd(world, dice),
        22 => unlock(world, dice),
        _ => read_feedback(world, dice),
    }
}

fn send(world: &mut World, dice: &mut Dice) {
    let device = ids::identity(dice, &world.naive).device;
    let lives = dice.pick(&[
        None,
        None,
        Some(0),
        Some(1),
        Some(30),
        Some(30),
        Some(31),
        Some(172_800),
        Some(172_801),
    ]);
    let room = dice.one_in(20).then(|| dice.below(2));
    send_one(world, dice, &device, lives.map(Duration::from_secs), room);
}

/// A message that lives so long; `past` says by how many bytes it is larger than a message may be, if it is large.
fn send_one(
    world: &mut World,
    dice: &mut Dice,
    device: &DeviceId,
    lives: Option<Duration>,
    past: Option<usize>,
) {
    let id = format!("m-{}", world.next_message);
    world.next_message += 1;
    let body = past.map_or(1, |past| 64 * 1024 - id.len() + past);
    let message = CloudToDeviceMessage {
        message_id: Some(id),
        acknowledgement: dice.maybe(|dice| dice.pick(Acknowledgement::ALL)),
        expires_at: lives.map(|lives| world.naive.now.plus(lives)),
        body: Bytes::from(vec![b'x'; body]),
        ..CloudToDeviceMessage::default()
    };
    let by = Caller::service(dice, Some(&IdentityId::device(device.clone())));
    world.log.step(format!(
        "send {:?} to {device}, {:?}, for {lives:?}, {body} bytes, by {by:?}",
        message.message_id, message.acknowledgement
    ));
    let sent = message.clone();
    world.both::<SendCloudToDevice, _, _>(
        &by,
        device.clone(),
        None,
        |hub, admitted| hub.send_cloud_to_device(admitted, sent),
        |naive| naive.send_message(device, &message),
    );
}

/// One message more than a queue holds.
fn crowd(world: &mut World, dice: &mut Dice) {
    let device = ids::identity(dice, &world.naive).device;
    for _ in 0..=50 {
        send_one(world, dice, &device, None, None);
    }
}

/// Mostly a device with messages, on its connection if it has one.
fn owner(world: &World, dice: &mut Dice) -> (DeviceId, Option<u64>, Caller) {
    let with_messages: Vec<_> =
        world.naive.devices().filter(|(_, own)| own.messages.len() > 0).map(|(id, _)| id.clone()).collect();
    let (device, connection) = if with_messages.is_empty() || dice.one_in(6) {
        let (identity, connection) = twins::owner(world, dice);
        (identity.device, connection)
    } else {
        let device = dice.pick(&with_messages);
        let connection = live_connection(world, &device);
        (device, connection)
    };
    let by = Caller::device(dice, &IdentityId::device(device.clone()));
    (device, connection, by)
}

fn live_connection(world: &World, device: &DeviceId) -> Option<u64> {
    let live = world.naive.identities.get(&IdentityId::device(device.clone()))?.live?;
    Some(world.naive.sessions[&live].connection)
}

fn receive(world: &mut World, device: &DeviceId, connection: Option<u64>, by: &Caller) {
    world.log.step(format!("{device} takes a message on {connection:?} by {by:?}"));
    let locked = world.both::<ReceiveCloudToDevice, _, _>(
        by,
        device.clone(),
        connection,
        |hub, admitted| hub.lock_next_message(admitted),
        |naive| naive.lock_message(device, connection, Duration::from_secs(60)),
    );
    compare(world, device, locked);
}

/// A device takes message after message and does the same with all.
fn work(world: &mut World, dice: &mut Dice) {
    let (device, connection, _) = owner(world, dice);
    let by = Caller::Own(IdentityId::device(device.clone()));
    let how = dice.pick(&[Settlement::Complete, Settlement::Abandon, Settlement::Abandon]);
    for _ in 0..=dice.below(14) {
        let held = world.tokens.len();
        receive(world, &device, connection, &by);
        let Some((_, token)) = world.tokens.get(held).cloned() else { return };
        settle(world, &device, token, connection, how, &by);
    }
}

/// Less than a lock and more than most messages live.
fn wait(world: &mut World, dice: &mut Dice) {
    let by = Duration::from_secs(dice.pick(&[1, 29, 30, 59, 60]));
    world.log.step(format!("{by:?} pass over the messages"));
    world.advance(by);
    if dice.one_in(2) {
        world.hub.run_due();
        world.naive.run_due();
    }
}

fn poll(world: &mut World, dice: &mut Dice) {
    let (device, _, by) = owner(world, dice);
    let asked = dice.maybe(|dice| Duration::from_secs(dice.pick(&[0, 5, 90, 300, 301])));
    let granted = asked.map_or(60, |asked| asked.as_secs().clamp(5, 300));
    world.log.step(format!("{device} polls for a message, {asked:?}, by {by:?}"));
    let locked = world.both::<PollCloudToDevice, _, _>(
        &by,
        device.clone(),
        None,
        |hub, admitted| hub.poll_next_message(admitted, asked),
        |naive| naive.lock_message(&device, None, Duration::from_secs(granted)),
    );
    compare(world, &device, locked);
}

/// A message is the expected one; its token is learned, which nobody had before.
fn compare(
    world: &mut World,
    device: &DeviceId,
    locked: Option<(Option<LockedMessage>, Option<NaiveDelivery>)>,
) {
    let Some((locked, expected)) = locked else { return };
    let told = locked.as_ref().map(|locked| NaiveDelivery {
        id: locked.message.message_id.clone().expect("the model names its messages"),
        sequence: locked.sequence,
        delivery_count: locked.delivery_count,
        is_redelivery: locked.is_redelivery,
        expires_at: locked.expires_at,
        locked_until: locked.locked_until,
    });
    assert_eq!(told, expected, "the message {device} gets");
    if let Some(locked) = locked {
        assert!(world.tokens.iter().all(|(_, token)| *token != locked.token), "a token of another lock");
        world.naive.learn_token(device, locked.sequence, locked.token);
        world.tokens.push((device.clone(), locked.token));
    }
}

fn settle_any(world: &mut World, dice: &mut Dice) {
    if world.tokens.is_empty() {
        return;
    }
    // Mostly one of the latest, which may still hold something.
    let latest = world.tokens.len().saturating_sub(if dice.one_in(6) { usize::MAX } else { 4 });
    let (device, token) = dice.pick(&world.tokens[latest..]);
    let connection =
        if dice.one_in(6) { dice.pick(&[None, Some(0)]) } else { live_connection(world, &device) };
    let device = if dice.one_in(12) { ids::device(dice) } else { device };
    let how = dice.pick(&[
        Settlement::Abandon,
        Settlement::Abandon,
        Settlement::Complete,
        Settlement::Reject,
        Settlement::Unlock,
    ]);
    let by = Caller::device(dice, &IdentityId::device(device.clone()));
    settle(world, &device, token, connection, how, &by);
}

fn settle(
    world: &mut World,
    device: &DeviceId,
    token: LockToken,
    connection: Option<u64>,
    how: Settlement,
    by: &Caller,
) {
    world.log.step(format!("{device} settles {token:?} with {how:?} on {connection:?} by {by:?}"));
    world.both::<SettleCloudToDevice, _, _>(
        by,
        device.clone(),
        connection,
        |hub, admitted| hub.settle_message(admitted, token, how),
        |naive| naive.settle_message(device, connection, token, how),
    );
}

fn purge(world: &mut World, dice: &mut Dice) {
    let device = ids::identity(dice, &world.naive).device;
    let by = Caller::service(dice, Some(&IdentityId::device(device.clone())));
    world.log.step(format!("purge {device} by {by:?}"));
    let purged = world.both::<PurgeCloudToDevice, _, _>(
        &by,
        device.clone(),
        None,
        |hub, admitted| hub.purge_messages(admitted),
        |naive| naive.purge_messages(&device),
    );
    if let Some((purged, expected)) = purged {
        assert_eq!(purged, expected, "the messages that went");
    }
}

/// A head lets go of all that one of its sessions holds.
fn unlock(world: &mut World, dice: &mut Dice) {
    let is_device = |handle: &usize| !world.naive.sessions[handle].identity.is_module();
    let live: Vec<_> = world
        .sessions
        .keys()
        .copied()
        .filter(|handle| world.naive.is_live(*handle) && is_device(handle))
        .collect();
    if live.is_empty() {
        return;
    }
    let handle = dice.pick(&live);
    world.log.step(format!("session {handle} lets go of its messages"));
    world.hub.unlock_messages_of(&world.sessions[&handle]);
    world.naive.unlock_messages_of(handle);
}

/// Reads all there is, a batch at a time, each record the one expected.
fn read_feedback(world: &mut World, dice: &mut Dice) {
    let by = Caller::service(dice, None);
    world.log.step(format!("read feedback by {by:?}"));
    loop {
        let batch = world.both::<ReceiveFeedback, _, _>(
            &by,
            (),
            None,
            |hub, admitted| hub.lock_next_feedback(admitted),
            |naive| Ok(naive.take_feedback()),
        );
        let Some((batch, expected)) = batch else { return };
        let told = batch.as_ref().map(|batch| {
            let records = batch.records.iter().map(|record| {
                let id = record.original_message_id.clone().expect("the model names its messages");
                (id, record.outcome, record.at, record.device.clone(), record.generation_id.to_string())
            });
            records.collect::<Vec<_>>()
        });
        assert_eq!(told, expected, "the feedback");
        let Some(batch) = batch else { return };
        let settled = world.look::<SettleFeedback, _>((), |hub, admitted| {
            hub.settle_feedback(admitted, batch.token, Settlement::Complete)
        });
        settled.expect("the lock is held");
    }
}
