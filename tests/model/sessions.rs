//! Session steps: identities connect, take over, renew, subscribe, read, save and leave; time passes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::access::Grant;
use hub::device_session::{Delivery, Interest, SavedSession, SavedSubscription, SessionOptions};
use hub::gate::operations::Connect;
use hub::ids::ConnectionId;
use hub::telemetry::{DeviceMessage, MessageProperties};
use hub::time::Timestamp;
use serde_json::Value;

use crate::caller::Caller;
use crate::dice::Dice;
use crate::naive::{Naive, NaiveSession, Told};
use crate::world::{PROTOCOL, Proof, World, now_or_never};
use crate::{ids, shown};

/// One random step of a head or of time.
pub(crate) fn step(world: &mut World, dice: &mut Dice) {
    let handles: Vec<_> = world.sessions.keys().copied().collect();
    if handles.is_empty() || dice.one_in(5) {
        return connect(world, dice);
    }
    let handle = dice.pick(&handles);
    match dice.below(14) {
        0 | 1 => leave(world, dice, handle),
        2 => renew(world, dice, handle),
        3..=5 => subscribe(world, dice, handle),
        6 => touch(world, handle),
        7 | 8 => save(world, dice, handle),
        9 | 10 => pass_time(world, dice),
        _ => read(world, handle),
    }
}

fn connect(world: &mut World, dice: &mut Dice) {
    let identity = ids::identity(dice, &world.naive);
    let by = Caller::device(dice, &identity);
    let expires_at = dice.maybe(|dice| world.naive.now.plus(Duration::from_secs(dice.below(600) as u64)));
    let grace = Duration::from_secs(dice.pick(&[0, 60]));
    let handle = world.next_session;
    world.next_session += 1;
    let session = NaiveSession {
        identity: identity.clone(),
        // Sometimes a connection that others speak on, too.
        connection: 1 + if dice.one_in(4) { dice.below(4) } else { handle } as u64,
        ends_at: expires_at.map(|at| at.plus(grace)),
        grace,
        is_own_credential: matches!(by, Caller::Own(_)),
        has_will: dice.one_in(3),
        keeps_saved: dice.one_in(2),
        wants_desired: false,
        wants_methods: false,
        wants_messages: false,
        messages_wait: false,
        unread: std::collections::VecDeque::new(),
        closed: None,
    };
    let model_id =
        dice.pick(&[None, None, Some("dtmi:com:example:Thermostat;1"), Some("dtmi:com:example:Other;2")]);
    world.log.step(format!("connect {handle} {model_id:?} by {by:?} until {expires_at:?}: {session:?}"));
    let options = SessionOptions {
        connection: ConnectionId(session.connection),
        protocol: PROTOCOL,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        credential_grace: grace,
        will: session.has_will.then(|| DeviceMessage {
            properties: MessageProperties::default(),
            body: Bytes::from_static(b"will"),
        }),
        product_info: None,
        model_id: model_id.map(ToOwned::to_owned),
        keep_saved: session.keeps_saved,
    };
    let connection = Some(session.connection);
    let proof = proof(world, dice, &by);
    let grant = granted(&by, expires_at, proof.as_ref());
    let connected = world.both_with::<Connect, _, _>(
        &by,
        &grant,
        identity,
        connection,
        |hub, admitted| hub.connect(admitted, options),
        |naive| naive.connect(handle, session, proof.as_ref(), model_id),
    );
    if let Some((session, found)) = connected {
        assert_eq!(session.is_resumed(), found.is_some(), "whether kept subscriptions were found");
        assert_eq!(session.saved().subscriptions, found.unwrap_or_default());
        world.sessions.insert(handle, session);
    }
}

fn leave(world: &mut World, dice: &mut Dice, handle: usize) {
    let with_goodbye = dice.one_in(2);
    world.log.step(format!("session {handle} leaves, goodbye: {with_goodbye}"));
    let session = world.sessions.remove(&handle).expect("the head holds it");
    if with_goodbye {
        session.end();
    } else {
        drop(session);
    }
    world.naive.drop_session(handle, with_goodbye);
}

fn renew(world: &mut World, dice: &mut Dice, handle: usize) {
    let identity = world.sessions[&handle].identity().clone();
    let by = dice.pick(&[Caller::Own(identity), Caller::Policy("device", None)]);
    let expires_at = dice.maybe(|dice| world.naive.now.plus(Duration::from_secs(dice.below(1200) as u64)));
    let proof = proof(world, dice, &by);
    world.log.step(format!("session {handle} renews by {by:?} until {expires_at:?}, proven {proof:?}"));
    world.sessions[&handle].renew(granted(&by, expires_at, proof.as_ref()));
    world.naive.renew(handle, matches!(by, Caller::Own(_)), expires_at, proof.as_ref());
}

/// What an identity's own grant rests on: nothing it could go stale by, what is registered now, or what once was.
fn proof(world: &mut World, dice: &mut Dice, by: &Caller) -> Option<Proof> {
    let Caller::Own(identity) = by else { return None };
    if dice.one_in(2) {
        return None;
    }
    let older = world.proofs.iter().rev().filter(|proof| proof.identity == *identity);
    // Rather one that went stale than one that did not.
    let now = world.naive.identities.get(identity).map(|own| &own.authentication);
    let (stale, good): (Vec<_>, Vec<_>) =
        older.cloned().partition(|proof| Some(&proof.authentication) != now);
    let older = if stale.is_empty() { good } else { stale };
    if !older.is_empty() && dice.one_in(2) {
        return Some(dice.pick(&older));
    }
    let registered = world.hub.authentication(identity).ok()?.mechanism;
    let proof = Proof {
        identity: identity.clone(),
        authentication: shown::authentication(&registered),
        revision: registered.revision(),
    };
    world.proofs.push(proof.clone());
    Some(proof)
}

fn granted(by: &Caller, expires_at: Option<Timestamp>, proof: Option<&Proof>) -> Arc<Grant> {
    let revision = proof.map(|proof| proof.revision);
    Arc::new(Grant { revision, ..(*by.grant(expires_at)).clone() })
}

fn subscribe(world: &mut World, dice: &mut Dice, handle: usize) {
    let all = [Interest::CloudToDevice, Interest::DesiredProperties, Interest::Methods];
    let (to, wanted) = (dice.pick(&all), !dice.one_in(4));
    if to == Interest::CloudToDevice && !world.naive.is_live(handle) {
        // The queue it would look after may be that of a device that is gone.
        return;
    }
    world.log.step(format!("session {handle} wants {to:?}: {wanted}"));
    let session = &world.sessions[&handle];
    if wanted {
        session.subscribe(to);
    } else {
        session.unsubscribe(to);
    }
    let naive = world.naive.sessions.get_mut(&handle).expect("the head holds it");
    match to {
        Interest::CloudToDevice => {
            naive.wants_messages = wanted;
            if wanted {
                let device = naive.identity.device.clone();
                world.naive.refresh_queue(&device);
            }
        }
        Interest::DesiredProperties => naive.wants_desired = wanted,
        Interest::Methods if wanted => world.naive.listen(handle),
        Interest::Methods => naive.wants_methods = false,
    }
}

fn touch(world: &mut World, handle: usize) {
    world.log.step(format!("session {handle} keeps alive"));
    world.sessions[&handle].touch();
    world.naive.touch(handle);
}

fn save(world: &mut World, dice: &mut Dice, handle: usize) {
    let count = dice.pick(&[0, 1, 3, 50, 51]);
    world.log.step(format!("session {handle} saves {count} subscriptions"));
    let subscription =
        |n| SavedSubscription { filter: format!("{n}/#").into(), qos: 1, created_at: world.naive.now };
    let subscriptions: Vec<_> = (0..count).map(subscription).collect();
    world.sessions[&handle].save(SavedSession { subscriptions: subscriptions.clone() });
    world.naive.save(handle, subscriptions);
}

/// Reads all there is: the very deliveries the model expects, in their order.
pub(crate) fn read(world: &mut World, handle: usize) {
    world.log.step(format!("session {handle} reads"));
    let session = &world.sessions[&handle];
    let told = std::iter::from_fn(|| now_or_never(session.next()));
    match world.naive.read(handle) {
        Ok(expected) => {
            let told: Vec<_> = told.collect();
            assert_eq!(told.len(), expected.len(), "session {handle} is told {told:?}, not {expected:?}");
            for (told, expected) in told.into_iter().zip(expected) {
                compare(&mut world.naive, told, expected);
            }
        }
        Err(reason) => {
            assert_eq!(
                now_or_never(session.next()),
                Some(Delivery::Closed(reason)),
                "the end of session {handle}"
            );
        }
    }
}

/// A delivery is the expected one; of a method its id is learned, which nobody had before.
fn compare(naive: &mut Naive, told: Delivery, expected: Told) {
    match (told, expected) {
        (Delivery::DesiredChanged(change), Told::Desired { version, patch }) => {
            let told: Value = serde_json::from_slice(&change.patch).expect("the core writes JSON");
            assert_eq!((change.version, told), (version, patch), "a desired change");
        }
        (Delivery::MethodInvoked(request), Told::Method { call, name, payload }) => {
            assert_eq!((request.name.as_str(), &request.payload), (name.as_str(), &payload), "call {call}");
            let is_new = naive.calls.told_as.values().all(|id| *id != request.id.0);
            assert!(is_new, "request {} was another call's", request.id.0);
            naive.calls.told_as.insert(call, request.id.0);
        }
        (Delivery::MessagesWaiting, Told::MessagesWait) => {}
        (told, expected) => panic!("told {told:?}, not {expected:?}"),
    }
}

/// The ticker is not always on time.
fn pass_time(world: &mut World, dice: &mut Dice) {
    let by = Duration::from_secs(dice.pick(&[0, 1, 30, 300, 3600]));
    let runs_due = !dice.one_in(4);
    world.log.step(format!("{by:?} pass, due work is done: {runs_due}"));
    world.advance(by);
    if runs_due {
        world.hub.run_due();
        world.naive.run_due();
    }
}
