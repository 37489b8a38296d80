//! A device's lives: it connects over one transport after another, does this and that, answers what it is asked,
//! and leaves with a goodbye, without one, or because it took over from itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::World;
use super::ledger::Settled;
use super::session::{Event, Session, Transport};
use crate::dice::Dice;

/// Telemetry of one device: the admin API shows no more than this many events of one.
const TELEMETRY: usize = 1000;
/// Between two things a device does, in milliseconds, and how many it does in a life.
const PAUSE_MILLIS: u64 = 1500;
const DEEDS: u64 = 15;
/// How long a session that was taken over may live on.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(20);

/// A device between two lives.
struct Device {
    world: Arc<World>,
    name: String,
    dice: Dice,
    reports: u64,
}

pub(super) async fn live(world: Arc<World>, number: usize) -> anyhow::Result<()> {
    let name = world.devices.get(number).context("a device of this world")?.clone();
    let dice = Dice::of(world.seed.wrapping_add(number as u64));
    let mut device = Device { world, name, dice, reports: 0 };
    let mut session = None;
    while !device.world.is_over() {
        let (transport, mut here) = match session.take() {
            Some(here) => here,
            None => device.connect().await?,
        };
        let mut told = None;
        let is_open = device.act(&mut here, &mut told).await?;
        if !is_open {
            device.wrong(&format!("its connection over {transport:?} was closed"));
            continue;
        }
        match device.dice.below(4) {
            0 => drop(here),
            1 => session = Some(device.take_over(here, transport).await?),
            _ => {
                // What is under way is heard out first.
                device.listen(&mut here, &mut told, Duration::from_millis(200)).await?;
                here.leave().await?;
            }
        }
    }
    Ok(())
}

impl Device {
    async fn connect(&mut self) -> anyhow::Result<(Transport, Session)> {
        let choices = Transport::ALL;
        let choice = self.dice.below(choices.len() as u64) as usize;
        let transport = *choices.get(choice).context("a transport")?;
        let session = Session::connect(&self.world, &self.name, transport).await?;
        self.world.ledger.lock().count("connections");
        Ok((transport, session))
    }

    /// Does a life's deeds; whether the session is still there.
    async fn act(&mut self, session: &mut Session, told: &mut Option<u64>) -> anyhow::Result<bool> {
        for _ in 0..=self.dice.below(DEEDS) {
            if self.world.is_over() {
                break;
            }
            let pause = Duration::from_millis(self.dice.below(PAUSE_MILLIS));
            if !self.listen(session, told, pause).await? {
                return Ok(false);
            }
            match self.dice.below(10) {
                0..5 => {
                    let number = self.world.ledger.lock().next_telemetry(&self.name, TELEMETRY);
                    if let Some(number) = number {
                        session.send(number).await?;
                    }
                }
                5..8 => {
                    self.reports += 1;
                    if !matches!(session, Session::Https(_)) {
                        self.world.ledger.lock().report_sent(&self.name);
                        session.report(self.reports).await?;
                    }
                }
                _ => {
                    session.renew(&self.world).await?;
                }
            }
        }
        Ok(true)
    }

    /// Does what it is asked for a while; `false` once the session is over.
    async fn listen(
        &mut self,
        session: &mut Session,
        told: &mut Option<u64>,
        time: Duration,
    ) -> anyhow::Result<bool> {
        let until = Instant::now() + time;
        if matches!(session, Session::Https(_)) {
            // A request under way is not given up; what is left of the time is waited for.
            while !matches!(self.hear(session, told).await?, Heard::Silence) {}
            let pause = std::future::pending::<()>();
            return Ok(timeout_at(until, pause).await.is_err());
        }
        loop {
            let Ok(event) = timeout_at(until, session.next()).await else { return Ok(true) };
            if let Heard::End = self.respond(session, told, event?).await? {
                return Ok(false);
            }
        }
    }

    async fn hear(&mut self, session: &mut Session, told: &mut Option<u64>) -> anyhow::Result<Heard> {
        let event = session.next().await?;
        self.respond(session, told, event).await
    }

    async fn respond(
        &mut self,
        session: &mut Session,
        told: &mut Option<u64>,
        event: Event,
    ) -> anyhow::Result<Heard> {
        let ledger = &self.world.ledger;
        match event {
            Event::Acknowledged(number) => ledger.lock().telemetry_acknowledged(&self.name, number),
            Event::Closed => return Ok(Heard::End),
            Event::DesiredChanged(version) => {
                ledger.lock().desired_notified(&self.name, told.replace(version), version);
            }
            Event::Message { id, lock } => {
                ledger.lock().message_delivered(&self.name, &id);
                let how = match (session.can_decline(), self.dice.below(6)) {
                    (true, 0) => Settled::Abandoned,
                    (true, 1) => Settled::Rejected,
                    _ => Settled::Completed,
                };
                ledger.lock().message_settled(&id, how);
                if session.settle(lock, how).await? {
                    ledger.lock().message_confirmed(&id, how);
                }
            }
            Event::MethodCalled { request, number } => {
                ledger.lock().method_delivered(&self.name, number);
                session.answer(request, number).await?;
            }
            Event::Nothing => return Ok(Heard::Silence),
            Event::Reported(version) => ledger.lock().report_answered(&self.name, version),
            Event::Renewed(true) => ledger.lock().count("tokens renewed"),
            Event::Renewed(false) => self.wrong("a good token was refused"),
            Event::Refused(request) => self.wrong(&format!("was refused {request}")),
        }
        Ok(Heard::Something)
    }

    /// Connects anew while the old session is there, which must end.
    async fn take_over(&mut self, old: Session, was: Transport) -> anyhow::Result<(Transport, Session)> {
        let (transport, new) = self.connect().await?;
        if was == Transport::Https || transport == Transport::Https {
            // HTTPS has no session that takes or could be taken over.
            return Ok((transport, new));
        }
        let mut old = old;
        let ends = async {
            loop {
                match old.next().await? {
                    Event::Closed => return anyhow::Ok(()),
                    event => self.heard_late(&event),
                }
            }
        };
        match timeout(TAKE_OVER_LIMIT, ends).await {
            Ok(ended) => ended?,
            Err(_elapsed) => {
                self.wrong(&format!("its {was:?} session outlived the {transport:?} session that took over"));
            }
        }
        self.world.ledger.lock().count("take-overs");
        Ok((transport, new))
    }

    /// What a session was told before it was taken over; requests are not answered any more.
    fn heard_late(&self, event: &Event) {
        let mut ledger = self.world.ledger.lock();
        match event {
            Event::Acknowledged(number) => ledger.telemetry_acknowledged(&self.name, *number),
            Event::MethodCalled { number, .. } => ledger.method_delivered(&self.name, *number),
            Event::Reported(version) => ledger.report_answered(&self.name, *version),
            _ => {}
        }
    }

    fn wrong(&self, what: &str) {
        self.world.ledger.lock().violation(format!("{}: {what}", self.name));
    }
}

/// What listening brought.
enum Heard {
    End,
    Silence,
    Something,
}
