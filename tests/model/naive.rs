//! The naive hub: maps, whole documents and the rules of the contract in the plainest words, no locks, no packing,
//! nothing incremental. What the core chooses freely (etags, generation ids, generated keys) is learned from its
//! answers and must stay true afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use hub::device_session::{DisconnectReason, SavedSubscription};
use hub::error::ErrorCode;
use hub::ids::{DeviceId, IdentityId, ModuleId};
use hub::time::Timestamp;
use serde_json::Value;

use crate::naive_message::{NaiveQueue, NaiveRecord};
use crate::naive_method::NaiveCalls;
use crate::naive_twin::NaiveTwin;

/// A hub that is easily seen to be right.
#[derive(Debug)]
pub(crate) struct Naive {
    pub(crate) now: Timestamp,
    /// Devices and modules alike, each module after its device.
    pub(crate) identities: BTreeMap<IdentityId, NaiveIdentity>,
    /// Every session a head still holds, live or over, in order of connecting.
    pub(crate) sessions: BTreeMap<usize, NaiveSession>,
    /// Every generation there ever was of an identity.
    pub(crate) generations: BTreeSet<(IdentityId, String)>,
    /// Every key the hub ever made.
    pub(crate) keys: BTreeSet<String>,
    /// Every scope there ever was.
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) calls: NaiveCalls,
    /// What back ends have not read yet of the fate of messages, oldest first.
    pub(crate) feedback: Vec<NaiveRecord>,
    /// Every message that left its queue.
    pub(crate) ended: BTreeSet<String>,
    /// Wills that went out, oldest first.
    pub(crate) wills: Vec<IdentityId>,
}

/// A device or module with all that belongs to it.
#[derive(Debug)]
pub(crate) struct NaiveIdentity {
    /// Learned; `None` until the hub was asked.
    pub(crate) generation_id: Option<String>,
    /// Learned; `None` since the last write.
    pub(crate) etag: Option<String>,
    /// The one before.
    pub(crate) last_etag: String,
    pub(crate) authentication: NaiveAuthentication,
    pub(crate) twin: NaiveTwin,
    pub(crate) is_connected: bool,
    pub(crate) state_updated: Option<Timestamp>,
    pub(crate) last_activity: Option<Timestamp>,
    /// The session that counts.
    pub(crate) live: Option<usize>,
    pub(crate) saved: Option<Vec<SavedSubscription>>,
    /// Empty for modules.
    pub(crate) messages: NaiveQueue,
    pub(crate) kind: NaiveKind,
}

/// What only devices or only modules have.
#[derive(Debug)]
pub(crate) enum NaiveKind {
    Device {
        is_enabled: bool,
        status_reason: Option<String>,
        status_updated: Option<Timestamp>,
        iot_edge: bool,
        /// The scope of the edge device above it.
        parent: Option<String>,
    },
    Module {
        managed_by: Option<String>,
    },
}

/// How an identity authenticates; a key is learned when the hub made it, and `None` until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NaiveAuthentication {
    CertificateAuthority,
    None,
    Sas { primary: Option<String>, secondary: Option<String> },
    SelfSigned { primary: Option<String>, secondary: Option<String> },
}

impl NaiveAuthentication {
    pub(crate) const GENERATED: Self = Self::Sas { primary: None, secondary: None };
}

/// A session as its head should see it.
#[derive(Debug)]
pub(crate) struct NaiveSession {
    pub(crate) identity: IdentityId,
    pub(crate) connection: u64,
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) grace: Duration,
    /// Whether it rests on the identity's own key and not on a policy's.
    pub(crate) is_own_credential: bool,
    pub(crate) has_will: bool,
    pub(crate) keeps_saved: bool,
    pub(crate) wants_desired: bool,
    pub(crate) wants_methods: bool,
    pub(crate) wants_messages: bool,
    /// Whether it will be told that messages wait.
    pub(crate) messages_wait: bool,
    pub(crate) unread: VecDeque<Told>,
    pub(crate) closed: Option<DisconnectReason>,
}

/// What a session is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Desired { version: u64, patch: Value },
    MessagesWait,
    Method { call: usize, name: String, payload: Bytes },
}

impl Naive {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self {
            now,
            identities: BTreeMap::new(),
            sessions: BTreeMap::new(),
            generations: BTreeSet::new(),
            keys: BTreeSet::new(),
            scopes: BTreeSet::new(),
            calls: NaiveCalls::default(),
            feedback: Vec::new(),
            ended: BTreeSet::new(),
            wills: Vec::new(),
        }
    }

    /// Learns what the hub chose for an identity it wrote: a generation it never had, an etag that is another, keys
    /// that nobody had.
    pub(crate) fn learn(
        &mut self,
        id: &IdentityId,
        generation_id: &str,
        etag: &str,
        stored: &NaiveAuthentication,
    ) {
        let own = self.identities.get_mut(id).expect("both sides have it");
        if own.generation_id.is_none() {
            assert!(self.generations.insert((id.clone(), generation_id.to_owned())), "a second life of {id}");
            own.generation_id = Some(generation_id.to_owned());
        }
        if own.etag.is_none() {
            assert_ne!(own.last_etag, etag, "a write moves the etag of {id}");
            etag.clone_into(&mut own.last_etag);
            own.etag = Some(etag.to_owned());
        }
        if let (
            NaiveAuthentication::Sas { primary, secondary },
            NaiveAuthentication::Sas { primary: made_primary, secondary: made_secondary },
        ) = (&mut own.authentication, stored)
        {
            for (key, made) in [(primary, made_primary), (secondary, made_secondary)] {
                if key.is_none() {
                    let made = made.clone().expect("the hub shows both keys");
                    assert_eq!(made.len(), 44, "base64 of 32 bytes");
                    assert!(self.keys.insert(made.clone()), "{id} was given a key that exists");
                    *key = Some(made);
                }
            }
        }
        if own.is_edge() {
            self.scopes.insert(own.scope(&id.device));
        }
    }

    /// The identity, or the code its absence is answered with.
    pub(crate) fn find(&mut self, identity: &IdentityId) -> Result<&mut NaiveIdentity, ErrorCode> {
        if !self.identities.contains_key(&IdentityId::device(identity.device.clone())) {
            return Err(ErrorCode::DeviceNotFound);
        }
        self.identities.get_mut(identity).ok_or(ErrorCode::ModuleNotFound)
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = (&DeviceId, &NaiveIdentity)> {
        self.identities.iter().filter(|(id, _)| !id.is_module()).map(|(id, device)| (&id.device, device))
    }

    pub(crate) fn modules(&self, device: &DeviceId) -> impl Iterator<Item = (&ModuleId, &NaiveIdentity)> {
        let of_device = self.identities.iter().filter(move |(id, _)| id.device == *device);
        of_device.filter_map(|(id, module)| Some((id.module.as_ref()?, module)))
    }

    /// The device and its modules.
    pub(crate) fn family(&self, device: &DeviceId) -> Vec<IdentityId> {
        self.identities.keys().filter(|id| id.device == *device).cloned().collect()
    }

    pub(crate) fn is_enabled(&self, device: &DeviceId) -> bool {
        let device = self.identities.get(&IdentityId::device(device.clone()));
        device.is_some_and(|device| matches!(device.kind, NaiveKind::Device { is_enabled: true, .. }))
    }

    /// Ends an identity's session, if it has one, and with some reasons the wait for the next.
    pub(crate) fn end(&mut self, identity: &IdentityId, reason: DisconnectReason) {
        self.detach(identity, Some(reason));
        self.give_up_calls(identity, reason);
    }

    /// The session is over: the Will goes out, the state changes, the head is told, what it was to answer fails.
    pub(crate) fn detach(&mut self, identity: &IdentityId, reason: Option<DisconnectReason>) {
        let now = self.now;
        let Some(own) = self.identities.get_mut(identity) else { return };
        let Some(handle) = own.live.take() else { return };
        (own.is_connected, own.state_updated) = (false, Some(now));
        let session = self.sessions.get_mut(&handle).expect("a live session is held by its head");
        if std::mem::take(&mut session.has_will) {
            self.wills.push(identity.clone());
        }
        if let Some(reason) = reason {
            session.close(reason);
        }
        self.session_ended_for_calls(identity);
    }

    /// Tells whoever is live and wants to know of a desired change.
    pub(crate) fn tell_desired(&mut self, identity: &IdentityId, patch: Value) {
        let Some(handle) = self.identities.get(identity).and_then(|own| own.live) else { return };
        let session = self.sessions.get_mut(&handle).expect("a live session is held by its head");
        if session.wants_desired {
            let version = patch["$version"].as_u64().expect("a notification carries its version");
            session.tell(Told::Desired { version, patch });
        }
    }
}

impl NaiveSession {
    /// 128 notifications may wait; one more closes the session.
    pub(crate) fn tell(&mut self, told: Told) {
        if self.closed.is_some() {
        } else if self.unread.len() == 128 {
            self.close(DisconnectReason::SlowConsumer);
        } else {
            self.unread.push_back(told);
        }
    }

    /// The first reason stands and overrides what waits.
    pub(crate) fn close(&mut self, reason: DisconnectReason) {
        self.closed.get_or_insert(reason);
        self.unread.clear();
    }
}
