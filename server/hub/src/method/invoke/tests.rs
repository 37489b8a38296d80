//! What becomes of a method call: delivered, parked, answered, timed out, given up. The clock stands still until
//! told to move.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::device_session::{Delivery, DeviceSession, DisconnectReason, Interest};
use crate::gate::Outcome;
use crate::gate::operations::{DeleteDevice, DeleteModule, UpdateDevice};
use crate::identity::{DeviceSpec, DeviceStatus};
use crate::ids::IfMatch;
use crate::limits;
use crate::method::{MethodName, MethodRequest};
use crate::testing::{admit_on, connect, hub, identity_grant, options, owner, register};

const LEAD: Duration = limits::METHOD_TIMEOUT_LEAD;
const TICK: Duration = Duration::from_nanos(100);

/// A caller that has begun to wait. Asking again after the answer came is a mistake in the test and panics.
struct Caller(Pin<Box<dyn Future<Output = Answer>>>, Option<Answer>);

impl Caller {
    fn calls(hub: &Arc<Hub>, on: &IdentityId, response_secs: u64, connect_secs: u64) -> Self {
        let call = MethodCall {
            name: MethodName::parse("reboot").unwrap(),
            payload: Bytes::from_static(b"{\"now\" : true}"),
            response_timeout: Duration::from_secs(response_secs),
            connect_timeout: Duration::from_secs(connect_secs),
        };
        let (hub, by) = (Arc::clone(hub), owner::<InvokeMethod>(hub, on.clone()));
        let mut caller = Self(Box::pin(async move { hub.invoke_method(by, call).await }), None);
        caller.1 = caller.poll();
        caller
    }

    fn poll(&mut self) -> Option<Answer> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn answer(&mut self) -> Option<Answer> {
        self.1.take().or_else(|| self.poll())
    }

    fn error(&mut self) -> ErrorCode {
        self.answer().expect("the call is over").unwrap_err().code()
    }
}

fn listener(hub: &Arc<Hub>, identity: &IdentityId, connection: u64) -> DeviceSession {
    let session = connect(hub, identity, options(connection)).unwrap();
    session.subscribe(Interest::Methods);
    session
}

/// What the session is told next, if it is told something now.
fn told(session: &DeviceSession) -> Option<Delivery> {
    let mut next = std::pin::pin!(session.next());
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(delivery) => Some(delivery),
        Poll::Pending => None,
    }
}

fn request(session: &DeviceSession) -> MethodRequest {
    match told(session) {
        Some(Delivery::MethodInvoked(request)) => request,
        other => panic!("no method request but {other:?}"),
    }
}

fn response(status: i32) -> MethodResponse {
    MethodResponse { status, payload: Some(Bytes::from_static(b" {\"a\":1} ")) }
}

fn answer(hub: &Hub, by: &IdentityId, on: u64, id: MethodRequestId) -> Result<(), HubError> {
    let by = admit_on::<AnswerMethod>(hub, &identity_grant(by, None), by.clone(), on).unwrap();
    hub.answer_method(by, id, response(200))
}

fn pending(hub: &Hub, identity: &IdentityId) -> usize {
    let cell = hub.devices.get(&identity.device).unwrap();
    let mut state = cell.lock_even_if_gone();
    state.identity(identity).unwrap().attachment.calls.len()
}

#[test]
fn a_device_that_listens_is_told_at_once_and_its_answer_is_handed_back_as_it_is() {
    let (hub, _) = hub();
    for identity in [register(&hub, "d", None), register(&hub, "e", Some("m"))] {
        let session = listener(&hub, &identity, 1);
        let mut caller = Caller::calls(&hub, &identity, 30, 0);
        let asked = request(&session);
        assert_eq!(asked.name.as_str(), "reboot");
        assert_eq!(&asked.payload[..], b"{\"now\" : true}");
        assert!(caller.answer().is_none());
        answer(&hub, &identity, 1, asked.id).unwrap();
        assert_eq!(caller.answer().unwrap().unwrap(), response(200));
        assert_eq!((pending(&hub, &identity), hub.deadlines.len()), (0, 0));
    }
}

#[test]
fn the_device_s_status_passes_through_whatever_it_is() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = listener(&hub, &device, 1);
    for status in [404, 500, 0, -1, i32::MIN] {
        let mut caller = Caller::calls(&hub, &device, 30, 0);
        let by = identity_grant(&device, None);
        let by = admit_on::<AnswerMethod>(&hub, &by, device.clone(), 1).unwrap();
        hub.answer_method(by, request(&session).id, MethodResponse { status, payload: None }).unwrap();
        let answered = caller.answer().unwrap().unwrap();
        assert_eq!(answered, MethodResponse { status, payload: None });
    }
}

#[test]
fn an_answer_that_is_no_json_is_the_caller_s_502_and_no_error_of_the_device_s() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = listener(&hub, &device, 1);
    let mut caller = Caller::calls(&hub, &device, 30, 0);
    let by = admit_on::<AnswerMethod>(&hub, &identity_grant(&device, None), device.clone(), 1).unwrap();
    let garbage = MethodResponse { status: 200, payload: Some(Bytes::from_static(b"{")) };
    hub.answer_method(by, request(&session).id, garbage).unwrap();
    assert_eq!(caller.error(), ErrorCode::GenericBadGateway);
}

#[test]
fn nobody_online_is_404103_at_once_without_a_connect_timeout() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let deaf = connect(&hub, &device, options(1)).unwrap();
    let error = Caller::calls(&hub, &device, 30, 0).answer().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeviceNotOnline);
    assert_eq!(error.message(), "Timed out waiting for device to connect.");
    assert!(
        error
            .details_json(&hub.tracking_id(), hub.clock().now())
            .contains("\"info\":{\"timeout\":\"00:00:00\"}")
    );
    assert!(told(&deaf).is_none());
    drop(deaf);
    assert_eq!(Caller::calls(&hub, &device, 30, 0).error(), ErrorCode::DeviceNotOnline);
    assert_eq!(pending(&hub, &device), 0);
}

#[test]
fn a_parked_call_is_given_up_when_the_connect_timeout_is_over_and_not_before() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let mut caller = Caller::calls(&hub, &device, 30, 300);
    clock.advance(Duration::from_secs(300) - LEAD - TICK);
    hub.run_due();
    assert!(caller.answer().is_none());
    clock.advance(TICK);
    hub.run_due();
    let error = caller.answer().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeviceNotOnline);
    assert!(
        error
            .details_json(&hub.tracking_id(), hub.clock().now())
            .contains("\"info\":{\"timeout\":\"00:05:00\"}")
    );
    assert_eq!((pending(&hub, &device), hub.deadlines.len()), (0, 0));
}

#[test]
fn a_parked_call_waits_for_the_subscription_and_the_device_s_time_begins_there() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let mut first = Caller::calls(&hub, &device, 10, 60);
    let mut second = Caller::calls(&hub, &device, 20, 60);
    clock.advance(Duration::from_secs(50));
    let session = connect(&hub, &device, options(1)).unwrap();
    assert!(told(&session).is_none());
    session.subscribe(Interest::Methods);
    let (one, two) = (request(&session), request(&session));
    assert!(one.id < two.id);
    clock.advance(Duration::from_secs(10) - LEAD - TICK);
    hub.run_due();
    assert!(first.answer().is_none());
    clock.advance(TICK);
    hub.run_due();
    assert_eq!(first.error(), ErrorCode::GatewayTimeout);
    answer(&hub, &device, 1, two.id).unwrap();
    assert!(second.answer().unwrap().is_ok());
    assert_eq!(hub.deadlines.len(), 0);
}

#[test]
fn subscribing_twice_delivers_once() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let _caller = Caller::calls(&hub, &device, 10, 60);
    let session = listener(&hub, &device, 1);
    session.subscribe(Interest::Methods);
    request(&session);
    assert!(told(&session).is_none());
}

#[test]
fn a_device_that_does_not_answer_in_time_is_504101_and_its_late_answer_is_dropped() {
    let (hub, clock) = hub();
    let device = register(&hub, "d", None);
    let session = listener(&hub, &device, 1);
    let mut caller = Caller::calls(&hub, &device, 5, 0);
    let asked = request(&session);
    clock.advance(Duration::from_secs(5));
    hub.run_due();
    let error = caller.answer().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::GatewayTimeout);
    assert_eq!(error.message(), "Timed out waiting for the response from device.");
    assert!(error.details_json(&hub.tracking_id(), hub.clock().now()).contains("\"info\":{}"));
    answer(&hub, &device, 1, asked.id).unwrap();
    answer(&hub, &device, 1, MethodRequestId(999)).unwrap();
    assert_eq!(pending(&hub, &device), 0);
}

#[test]
fn only_the_session_that_was_asked_can_answer() {
    let (hub, _) = hub();
    let (device, other) = (register(&hub, "d", None), register(&hub, "e", None));
    let (session, _others) = (listener(&hub, &device, 1), listener(&hub, &other, 2));
    let mut caller = Caller::calls(&hub, &device, 30, 0);
    let asked = request(&session);
    answer(&hub, &other, 2, asked.id).unwrap();
    assert!(answer(&hub, &device, 2, asked.id).is_err());
    let nowhere = owner::<AnswerMethod>(&hub, device.clone());
    hub.answer_method(nowhere, asked.id, response(200)).unwrap();
    assert!(caller.answer().is_none());
    answer(&hub, &device, 1, asked.id).unwrap();
    assert!(caller.answer().unwrap().is_ok());
}

#[test]
fn a_call_that_is_still_parked_cannot_be_answered() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let _deaf = connect(&hub, &device, options(1)).unwrap();
    let mut caller = Caller::calls(&hub, &device, 30, 60);
    for id in 0..10 {
        answer(&hub, &device, 1, MethodRequestId(id)).unwrap();
    }
    assert!(caller.answer().is_none());
}

#[test]
fn a_disconnect_ends_what_was_delivered_with_404104_and_leaves_what_is_parked() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = listener(&hub, &device, 1);
    let mut delivered = Caller::calls(&hub, &device, 30, 60);
    session.unsubscribe(Interest::Methods);
    let mut parked = Caller::calls(&hub, &device, 30, 60);
    drop(session);
    assert_eq!(delivered.error(), ErrorCode::DeviceConnectionClosedRemotely);
    assert!(parked.answer().is_none());
    request(&listener(&hub, &device, 2));
}

#[test]
fn a_take_over_ends_the_call_and_the_old_session_s_answer_counts_no_more() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let old = listener(&hub, &device, 1);
    let mut caller = Caller::calls(&hub, &device, 30, 60);
    let asked = request(&old);
    let new = listener(&hub, &device, 2);
    assert_eq!(caller.error(), ErrorCode::DeviceConnectionClosedRemotely);
    assert!(answer(&hub, &device, 1, asked.id).is_err());
    answer(&hub, &device, 2, asked.id).unwrap();
    assert!(told(&new).is_none());
    let mut next = Caller::calls(&hub, &device, 30, 0);
    drop(old);
    answer(&hub, &device, 2, request(&new).id).unwrap();
    assert!(next.answer().unwrap().is_ok());
}

#[test]
fn disabling_or_deleting_ends_delivered_calls_with_404104_and_parked_ones_as_unknown() {
    let disable = |hub: &Arc<Hub>, device: &IdentityId| {
        let spec = DeviceSpec { status: Some(DeviceStatus::Disabled), ..DeviceSpec::default() };
        let by = owner::<UpdateDevice>(hub, device.device.clone());
        hub.update_device(by, &spec, &IfMatch::Any).unwrap();
    };
    let delete = |hub: &Arc<Hub>, device: &IdentityId| {
        hub.delete_device(owner::<DeleteDevice>(hub, device.device.clone()), &IfMatch::Any).unwrap();
    };
    for end in [disable as fn(&Arc<Hub>, &IdentityId), delete] {
        let (hub, _) = hub();
        let device = register(&hub, "d", None);
        let session = listener(&hub, &device, 1);
        let mut delivered = Caller::calls(&hub, &device, 30, 60);
        session.unsubscribe(Interest::Methods);
        let mut parked = Caller::calls(&hub, &device, 30, 60);
        end(&hub, &device);
        assert_eq!(delivered.error(), ErrorCode::DeviceConnectionClosedRemotely);
        assert_eq!(parked.error(), ErrorCode::DeviceNotFound);
        assert_eq!(Caller::calls(&hub, &device, 30, 60).error(), ErrorCode::DeviceNotFound);
        assert_eq!(hub.deadlines.len(), 0);
    }
}

#[test]
fn unknown_identities_are_404001_and_404010_without_info() {
    let (hub, _) = hub();
    register(&hub, "d", None);
    let module = IdentityId::parse("d", Some("m")).unwrap();
    let unknown = IdentityId::parse("e", None).unwrap();
    for (identity, code) in [(unknown, ErrorCode::DeviceNotFound), (module, ErrorCode::ModuleNotFound)] {
        let error = Caller::calls(&hub, &identity, 30, 60).answer().unwrap().unwrap_err();
        assert_eq!(error.code(), code);
        assert!(!error.details_json(&hub.tracking_id(), hub.clock().now()).contains("info"));
    }
}

#[test]
fn deleting_a_module_ends_the_calls_parked_for_it_as_404010() {
    let (hub, _) = hub();
    let module = register(&hub, "d", Some("m"));
    let mut parked = Caller::calls(&hub, &module, 30, 60);
    let target = (module.device, module.module.unwrap());
    hub.delete_module(owner::<DeleteModule>(&hub, target), &IfMatch::Any).unwrap();
    assert_eq!(parked.error(), ErrorCode::ModuleNotFound);
}

#[test]
fn one_call_past_the_limit_is_403800_and_ending_one_makes_room() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let mut callers: Vec<_> =
        (0..limits::METHODS_IN_FLIGHT / 2).map(|_| Caller::calls(&hub, &device, 30, 60)).collect();
    let session = listener(&hub, &device, 1);
    callers.extend((callers.len()..limits::METHODS_IN_FLIGHT).map(|_| Caller::calls(&hub, &device, 30, 0)));
    assert!(callers.iter_mut().all(|caller| caller.answer().is_none()));
    let one_more = || Caller::calls(&hub, &device, 30, 60).answer();
    assert_eq!(one_more().unwrap().unwrap_err().code(), ErrorCode::DeviceMaximumInflightMethodExceeded);
    answer(&hub, &device, 1, request(&session).id).unwrap();
    assert!(one_more().is_none());
}

#[test]
fn many_calls_at_once_each_get_their_own_answer_in_any_order() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = listener(&hub, &device, 1);
    let mut callers: Vec<_> =
        (0..limits::METHODS_IN_FLIGHT).map(|_| Caller::calls(&hub, &device, 30, 0)).collect();
    let asked: Vec<_> = callers.iter().map(|_| request(&session).id).collect();
    for (n, id) in asked.iter().enumerate().rev() {
        let status = i32::try_from(n).unwrap();
        let by = admit_on::<AnswerMethod>(&hub, &identity_grant(&device, None), device.clone(), 1).unwrap();
        hub.answer_method(by, *id, response(status)).unwrap();
    }
    for (n, caller) in callers.iter_mut().enumerate() {
        assert_eq!(caller.answer().unwrap().unwrap(), response(i32::try_from(n).unwrap()));
    }
    assert_eq!((pending(&hub, &device), hub.deadlines.len()), (0, 0));
}

#[test]
fn a_caller_that_goes_away_takes_its_call_back() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    drop(Caller::calls(&hub, &device, 30, 60));
    assert_eq!((pending(&hub, &device), hub.deadlines.len()), (0, 0));
    assert_eq!(hub.journal().recent(1, None)[0].outcome, Outcome::Abandoned);
    let session = listener(&hub, &device, 1);
    assert!(told(&session).is_none());
    drop(Caller::calls(&hub, &device, 30, 60));
    assert!(told(&session).is_none(), "a request nobody waits for is not delivered");
    assert_eq!(pending(&hub, &device), 0);
}

#[test]
fn calls_that_come_and_go_cannot_make_a_session_that_reads_nothing_look_slow() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let session = listener(&hub, &device, 1);
    for _ in 0..2 * limits::MAILBOX_NOTIFICATIONS {
        drop(Caller::calls(&hub, &device, 30, 0));
    }
    assert!(told(&session).is_none());
}

#[test]
fn a_hub_that_stops_lets_nobody_wait() {
    let (hub, _) = hub();
    let device = register(&hub, "d", None);
    let mut parked = Caller::calls(&hub, &device, 30, 60);
    let session = listener(&hub, &register(&hub, "e", None), 1);
    hub.stop();
    assert_eq!(parked.error(), ErrorCode::ServiceUnavailable);
    assert_eq!(told(&session), Some(Delivery::Closed(DisconnectReason::HubStopping)));
}
