//! Method steps: services call and give up, devices listen and answer, in time, late, wrongly or never. A caller's
//! future is polled only when it was woken, so an answer that wakes nobody is found.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{AnswerMethod, InvokeMethod};
use hub::gate::{Details, Outcome, Target};
use hub::ids::IdentityId;
use hub::method::{MethodCall, MethodName, MethodRequestId, MethodResponse};

use crate::caller::Caller;
use crate::dice::Dice;
use crate::naive_method::{NaiveAnswer, NaiveCall};
use crate::world::{PROTOCOL, World, at_once};
use crate::{ids, twins};

/// A caller that waits.
pub(crate) struct Waiting {
    future: Pin<Box<dyn Future<Output = Result<MethodResponse, HubError>>>>,
    woken: Arc<Woken>,
}

#[derive(Debug)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("woken", &self.woken).finish_non_exhaustive()
    }
}

/// One random step of a caller or of a device that answers.
pub(crate) fn step(world: &mut World, dice: &mut Dice) {
    match dice.below(10) {
        0..=4 => invoke(world, dice),
        5 => give_up(world, dice),
        6 if dice.one_in(20) => crowd(world, dice),
        _ => answer(world, dice),
    }
}

fn invoke(world: &mut World, dice: &mut Dice) {
    // Mostly somebody who is connected.
    let (identity, _) = twins::owner(world, dice);
    let by = match dice.below(8) {
        0 => Caller::Own(ids::identity(dice, &world.naive)),
        _ => Caller::service(dice, Some(&identity)),
    };
    let payload = match dice.below(40) {
        0 => Bytes::from(vec![b' '; 128 * 1024]),
        1 => Bytes::from(vec![b' '; 128 * 1024 + 1]),
        _ => Bytes::from_static(dice.pick(&[b"null", b"{} ", b"\"\"", b"[1]"])),
    };
    let secs = |dice: &mut Dice, of: &[u64]| Duration::from_secs(dice.pick(of));
    let call = MethodCall {
        name: MethodName::parse(dice.pick(&["reboot", "größer*b"])).expect("a legal name"),
        payload,
        response_timeout: secs(dice, &[5, 5, 30, 30, 300, 300, 4, 301]),
        connect_timeout: secs(dice, &[0, 0, 0, 1, 30, 300, 301]),
    };
    begin(world, &by, &identity, call);
}

fn begin(world: &mut World, by: &Caller, identity: &IdentityId, call: MethodCall) {
    let number = world.next_call;
    world.next_call += 1;
    let naive = NaiveCall {
        identity: identity.clone(),
        name: call.name.as_str().to_owned(),
        payload: call.payload.clone(),
        response_timeout: call.response_timeout,
        connect_timeout: call.connect_timeout,
        due: world.naive.now,
        is_delivered: false,
    };
    let (response, connect) = (call.response_timeout, call.connect_timeout);
    world.log.step(format!("call {number} to {identity}, {connect:?} and {response:?} by {by:?}"));
    let details = Details { protocol: PROTOCOL, connection: None };
    let grant = by.grant(None);
    let admission = at_once(world.hub.gate().admit::<InvokeMethod>(&grant, identity.clone(), details));
    let admitted = match (admission, by.may("InvokeMethod", &Target::Identity(identity.clone()))) {
        (Ok(admitted), true) => admitted,
        (Err(error), false) if error.code() == ErrorCode::IotHubUnauthorizedAccess => return,
        (admission, may) => panic!("call of {identity} by {by:?}: may is {may}, admission {admission:?}"),
    };
    let hub = Arc::clone(&world.hub);
    let future = Box::pin(async move { hub.invoke_method(admitted, call).await });
    // Woken once, for the first poll.
    world.calls.insert(number, Waiting { future, woken: Arc::new(Woken(AtomicBool::new(true))) });
    if let Err(code) = world.naive.invoke(number, naive) {
        world.naive.calls.answered.insert(number, Err(code));
    }
}

/// One call more than may wait for an identity.
fn crowd(world: &mut World, dice: &mut Dice) {
    let (identity, _) = twins::owner(world, dice);
    for _ in 0..=100 {
        let call = MethodCall {
            name: MethodName::parse("crowd").expect("a legal name"),
            payload: Bytes::from_static(b"1"),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
        };
        begin(world, &Caller::OWNER, &identity, call);
        settle(world);
    }
}

/// The caller goes away before it has an answer.
fn give_up(world: &mut World, dice: &mut Dice) {
    let open: Vec<_> = world.calls.keys().copied().collect();
    if open.is_empty() {
        return;
    }
    let number = dice.pick(&open);
    world.log.step(format!("the caller of {number} goes away"));
    drop(world.calls.remove(&number));
    world.naive.withdraw(number);
    let entry = &world.hub.journal().recent(1, None)[0];
    assert_eq!((entry.operation, entry.outcome), ("InvokeMethod", Outcome::Abandoned), "the journal");
}

fn answer(world: &mut World, dice: &mut Dice) {
    let told: Vec<_> = world.naive.calls.told_as.iter().map(|(number, id)| (*number, *id)).collect();
    let (mut identity, mut connection) = twins::owner(world, dice);
    // An id no request has.
    let mut id = u64::MAX;
    // Mostly by whom it concerns, also when it is over long since.
    if let Some((number, told_as)) = (!told.is_empty()).then(|| dice.pick(&told)) {
        id = told_as;
        if let Some(call) = world.naive.calls.open.get(&number).filter(|_| !dice.one_in(8)) {
            identity = call.identity.clone();
            let live = world.naive.identities.get(&identity).and_then(|own| own.live);
            connection = live.map(|handle| world.naive.sessions[&handle].connection);
        }
    }
    let body = match dice.below(12) {
        0 => Some(Bytes::from_static(b"no json")),
        1 => Some(Bytes::from_static(b"\"\xff\"")),
        2 => Some(Bytes::new()),
        3 => None,
        4 => Some(Bytes::from([b"1".as_slice(), &vec![b' '; 128 * 1024 - dice.below(2)]].concat())),
        _ => Some(Bytes::from_static(dice.pick(&[b"null", b"{} ", b"\"\"", b"[1]"]))),
    };
    let (by, status) = (Caller::device(dice, &identity), dice.pick(&[200, 404, 500, -1, i32::MAX]));
    world.log.step(format!("{identity} answers {id} on {connection:?} with {status} by {by:?}"));
    world.both::<AnswerMethod, _, _>(
        &by,
        identity.clone(),
        connection,
        |hub, admitted| {
            let response = MethodResponse { status, payload: body.clone() };
            hub.answer_method(admitted, MethodRequestId(id), response)
        },
        |naive| naive.answer(&identity, connection, id, (status, body.clone())),
    );
}

/// After a step: exactly the callers who should have an answer by now are woken and have it.
pub(crate) fn settle(world: &mut World) {
    let woken = |waiting: &Waiting| waiting.woken.0.swap(false, Ordering::Relaxed);
    let woken: Vec<_> = world.calls.iter().filter(|(_, waiting)| woken(waiting)).map(|(n, _)| *n).collect();
    let mut answers = std::collections::BTreeMap::new();
    for number in woken {
        let waiting = world.calls.get_mut(&number).expect("it waits");
        let waker = Waker::from(Arc::clone(&waiting.woken));
        if let Poll::Ready(answer) = waiting.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            let outcome = match &answer {
                Ok(_) => Outcome::Succeeded,
                Err(error) => Outcome::Failed(error.code()),
            };
            let entry = &world.hub.journal().recent(1, None)[0];
            assert_eq!((entry.operation, entry.outcome), ("InvokeMethod", outcome), "the journal");
            let answer: NaiveAnswer =
                answer.map(|response| (response.status, response.payload)).map_err(|error| error.code());
            answers.insert(number, answer);
            world.calls.remove(&number);
        }
    }
    assert_eq!(answers, std::mem::take(&mut world.naive.calls.answered), "the answers after this step");
    let waiting: Vec<_> = world.calls.keys().collect();
    assert_eq!(waiting, world.naive.calls.open.keys().collect::<Vec<_>>(), "the callers that wait");
}
