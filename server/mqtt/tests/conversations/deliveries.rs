//! Cloud-to-device messages under whatever a client and its network do: each message ends exactly once, none is
//! lost, none has the packet id of another that is still out; `contract/mqtt.md 4` and `6`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hub::c2d::Outcome;
use hub::limits::C2D_LOCK;
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::harness::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client acknowledges one of those that are out, or a packet id at random.
    Acknowledge(u16),
    /// The client subscribes, with either QoS.
    Subscribe(u8),
    /// The back end sends one more.
    Send,
    /// The connection is lost and made anew, or taken over.
    Reconnect {
        is_lost: bool,
    },
    Unsubscribe,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Send),
        6 => (1_u16..20).prop_map(Step::Acknowledge),
        2 => (0_u8..2).prop_map(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        1 => any::<bool>().prop_map(|is_lost| Step::Reconnect { is_lost }),
        2 => prop_oneof![Just(1), Just(30), Just(C2D_LOCK.as_secs())].prop_map(Step::Wait),
    ]
}

/// What the client knows of its messages.
#[derive(Default)]
struct Device {
    /// Out on this connection, by packet id.
    out: BTreeMap<u16, String>,
    seen: BTreeSet<String>,
}

impl Device {
    /// Takes all that was on its way.
    async fn read(&mut self, client: &mut Client) {
        client.send(&PINGREQ).await;
        loop {
            let packet = client.next().await;
            let words: Vec<_> = packet.split(' ').collect();
            match words.as_slice() {
                ["PINGRESP"] => return,
                ["SUBACK" | "UNSUBACK", ..] => {}
                ["PUBLISH", _topic, body] => {
                    assert!(self.seen.insert((*body).to_owned()), "with QoS 0 nothing comes twice: {body}");
                }
                ["PUBLISH", id, "DUP", _topic, body] => {
                    assert!(self.seen.contains(*body), "{body} is no duplicate of anything");
                    self.hold(id, body);
                }
                ["PUBLISH", id, _topic, body] => {
                    assert!(self.seen.insert((*body).to_owned()), "{body} comes again without DUP");
                    self.hold(id, body);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn hold(&mut self, id: &str, body: &str) {
        let id = id.parse().unwrap();
        let before = self.out.insert(id, body.to_owned());
        assert!(before.is_none_or(|before| before == body), "packet id {id} stands for another message");
    }
}

async fn play(steps: Vec<Step>) {
    let bench = Bench::new().await;
    let (mut client, mut device, mut sent) = (bench.online("d").await, Device::default(), 0);
    let mut ended: BTreeMap<String, usize> = BTreeMap::new();
    for step in steps {
        match step {
            // The queue holds 50, and nothing is to be refused here.
            Step::Send if sent < 50 => {
                sent += 1;
                bench.send_message(&sent.to_string()).await;
            }
            Step::Send => {}
            Step::Acknowledge(id) => {
                client.send(&PubAck(id)).await;
                device.out.remove(&id);
            }
            Step::Subscribe(qos) => client.send(&Subscribe(1, &[(MESSAGES, qos)])).await,
            Step::Unsubscribe => client.send(&Unsubscribe(2, MESSAGES)).await,
            Step::Wait(secs) => {
                bench.clock.advance(Duration::from_secs(secs));
                bench.hub.run_due();
            }
            Step::Reconnect { is_lost } => {
                device.read(&mut client).await;
                device.out.clear();
                if is_lost {
                    client.vanish().await;
                    client = bench.online("d").await;
                } else {
                    let newer = bench.online("d").await;
                    std::mem::replace(&mut client, newer).assert_closed().await;
                }
            }
        }
        device.read(&mut client).await;
        tally(&bench, &mut ended).await;
    }
    // A client that behaves gets all that is left.
    client.send(&Subscribe(1, &[(MESSAGES, 1)])).await;
    for _ in 0..=50 {
        device.read(&mut client).await;
        for (id, _) in std::mem::take(&mut device.out) {
            client.send(&PubAck(id)).await;
        }
        bench.clock.advance(C2D_LOCK);
        bench.hub.run_due();
    }
    device.read(&mut client).await;
    tally(&bench, &mut ended).await;
    assert_eq!((device.seen.len(), ended.len()), (sent, sent), "all came, and all ended");
    assert!(ended.values().all(|times| *times == 1), "{ended:?}");
}

async fn tally(bench: &Bench, ended: &mut BTreeMap<String, usize>) {
    for (body, outcome) in bench.feedback().await {
        assert_eq!(outcome, Outcome::Success);
        *ended.entry(body).or_default() += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_message_arrives_and_ends_exactly_once(steps in proptest::collection::vec(step(), 1..120)) {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps));
    }
}
