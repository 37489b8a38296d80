//! The real side: a hub on a clock that stands still, sessions as heads hold them, and the model beside it. Every
//! operation goes to both through [`World::both`], which also checks rights and the journal.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hub::access::{Grant, development_policies};
use hub::c2d::LockToken;
use hub::device_session::DeviceSession;
use hub::entropy::Entropy;
use hub::error::{ErrorCode, HubError};
use hub::gate::operations::{GetDevice, GetModule};
use hub::gate::{Admitted, Details, Operation, Outcome, ProtocolLabel, Target};
use hub::identity::AuthenticationRevision;
use hub::ids::{ConnectionId, DeviceId, HubName, IdentityId};
use hub::time::{ManualClock, Timestamp};
use hub::{Hub, HubConfig};

use crate::caller::Caller;
use crate::methods::Waiting;
use crate::naive::{Naive, NaiveAuthentication, NaiveIdentity};
use crate::replay::Replay;
use crate::shown;

/// The protocol all requests of the model name.
pub(crate) const PROTOCOL: ProtocolLabel = ProtocolLabel("model");

/// A hub, the heads' side of its sessions, and what all of it should be.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sessions: BTreeMap<usize, DeviceSession>,
    /// Credentials that were proven at some time, the newest last.
    pub(crate) proofs: Vec<Proof>,
    /// Callers of methods that wait for their answer.
    pub(crate) calls: BTreeMap<usize, Waiting>,
    pub(crate) naive: Naive,
    /// What a reader of the hub's own events knows.
    pub(crate) replay: Replay,
    /// The twins as they were last compared.
    pub(crate) seen: BTreeMap<IdentityId, SeenTwin>,
    pub(crate) log: Log,
    /// Numbers sessions in order of connecting.
    pub(crate) next_session: usize,
    /// Numbers calls of methods in their order.
    pub(crate) next_call: usize,
    /// Numbers messages in their order.
    pub(crate) next_message: usize,
    /// Every lock there ever was, the newest last.
    pub(crate) tokens: Vec<(DeviceId, LockToken)>,
}

/// Generation and version in the model, documents of the hub.
pub(crate) type SeenTwin = (Option<String>, u64, Vec<u8>);

/// What an identity authenticated with once, and what a grant earned then remembers of it.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) identity: IdentityId,
    pub(crate) authentication: NaiveAuthentication,
    pub(crate) revision: AuthenticationRevision,
}

impl World {
    pub(crate) fn seeded(seed: u64) -> Self {
        let now = Timestamp::from_unix_secs(1_767_225_600);
        let clock = Arc::new(ManualClock::at(now));
        let name = HubName::parse("model").expect("a legal name");
        let config = HubConfig::new(name, development_policies(), 4);
        let hub = Hub::new(config, Arc::clone(&clock) as _, Entropy::seeded(seed));
        let replay = Replay::of(&hub);
        let log = Log { seed, steps: Vec::new() };
        Self {
            hub,
            clock,
            sessions: BTreeMap::new(),
            proofs: Vec::new(),
            calls: BTreeMap::new(),
            naive: Naive::at(now),
            replay,
            seen: BTreeMap::new(),
            log,
            next_session: 0,
            next_call: 0,
            next_message: 0,
            tokens: Vec::new(),
        }
    }

    /// Moves both clocks on.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.naive.now = self.naive.now.plus(by);
    }

    /// Asks for an operation of both sides. They must agree on whether the caller may, on success and on the code
    /// of a failure, and the journal must tell the same. Yields both answers when it was done.
    pub(crate) fn both<O: Operation, T: Debug, E: Debug>(
        &mut self,
        by: &Caller,
        target: O::Target,
        connection: Option<u64>,
        real: impl FnOnce(&Arc<Hub>, Admitted<O>) -> Result<T, HubError>,
        model: impl FnOnce(&mut Naive) -> Result<E, ErrorCode>,
    ) -> Option<(T, E)> {
        self.both_with(by, &by.grant(None), target, connection, real, model)
    }

    /// The same with a certain grant of the caller.
    pub(crate) fn both_with<O: Operation, T: Debug, E: Debug>(
        &mut self,
        by: &Caller,
        grant: &Arc<Grant>,
        target: O::Target,
        connection: Option<u64>,
        real: impl FnOnce(&Arc<Hub>, Admitted<O>) -> Result<T, HubError>,
        model: impl FnOnce(&mut Naive) -> Result<E, ErrorCode>,
    ) -> Option<(T, E)> {
        let details = Details { protocol: PROTOCOL, connection: connection.map(ConnectionId) };
        let journalled: Target = target.clone().into();
        let admission = at_once(self.hub.gate().admit::<O>(grant, target, details));
        let (outcome, done) = match (admission, by.may(O::NAME, &journalled)) {
            (Ok(admitted), true) => {
                let is_host = by.host(O::NAME, &journalled);
                let allowed = is_host.map_or(Ok(()), |device| self.naive.check_host(device));
                let expected = allowed.and_then(|()| model(&mut self.naive));
                let real = real(&self.hub, admitted);
                match (real, expected) {
                    (Ok(real), Ok(expected)) => (Outcome::Succeeded, Some((real, expected))),
                    (Err(error), Err(code)) if error.code() == code => (Outcome::Failed(code), None),
                    (real, expected) => {
                        panic!("{} disagrees:\n  hub: {real:?}\nmodel: {expected:?}", O::NAME)
                    }
                }
            }
            (Err(error), false) if error.code() == ErrorCode::IotHubUnauthorizedAccess => {
                (Outcome::Refused(error.code()), None)
            }
            (admission, may) => panic!("{} by {by:?}: may is {may}, admission {admission:?}", O::NAME),
        };
        let entry = &self.hub.journal().recent(1, None)[0];
        assert_eq!(
            (entry.operation, &entry.target, entry.outcome),
            (O::NAME, &journalled, outcome),
            "the journal"
        );
        assert_eq!((entry.at, &entry.subject), (self.naive.now, &Some(grant.subject.clone())));
        done
    }

    /// Learns what the hub chose for what the last step wrote.
    pub(crate) fn learn(&mut self) {
        let is_open = |own: &NaiveIdentity| own.generation_id.is_none() || own.etag.is_none();
        let open = self.naive.identities.iter().filter(|(_, own)| is_open(own)).map(|(id, _)| id.clone());
        for id in open.collect::<Vec<_>>() {
            let (generation_id, etag, mechanism) = match &id.module {
                None => {
                    let found = self.look::<GetDevice, _>(id.device.clone(), |hub, by| hub.device(by));
                    let device = found.expect("both sides have it");
                    (device.generation_id, device.etag, device.authentication)
                }
                Some(module) => {
                    let target = (id.device.clone(), module.clone());
                    let found = self.look::<GetModule, _>(target, |hub, by| hub.module(by));
                    let module = found.expect("both sides have it");
                    (module.generation_id, module.etag, module.authentication)
                }
            };
            let stored = shown::authentication(&mechanism);
            self.naive.learn(&id, &generation_id.to_string(), etag.as_str(), &stored);
        }
    }

    /// The answer of an operation that is known to be allowed and to change nothing.
    pub(crate) fn look<O: Operation, T>(
        &self,
        target: O::Target,
        real: impl FnOnce(&Hub, Admitted<O>) -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let details = Details { protocol: PROTOCOL, connection: None };
        let admitted = at_once(self.hub.gate().admit::<O>(&Caller::OWNER.grant(None), target, details));
        real(&self.hub, admitted.expect("the owner may do all"))
    }
}

/// What an episode did so far; a failure prints it with the seed that does it again.
#[derive(Debug)]
pub(crate) struct Log {
    seed: u64,
    steps: Vec<String>,
}

impl Log {
    pub(crate) fn step(&mut self, step: String) {
        self.steps.push(step);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (n, step) in self.steps.iter().enumerate() {
                let shown: String = step.chars().take(600).collect();
                eprintln!("{n:4} {shown}");
            }
            eprintln!(
                "model: failed in the last of these steps; MODEL_SEED={} does them again at once",
                self.seed
            );
        }
    }
}

/// The value of a future that has nothing to wait for.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    now_or_never(future).expect("nothing here waits")
}

/// The value of a future if it is there already.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
