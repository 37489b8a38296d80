//! Who may read what, how readers hear of events, and what retention leaves.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::Hub;
use crate::access::EventsPath;
use crate::events::{MessageSource, StartPosition};
use crate::gate::operations::{GetEventHubProperties, ReadEvents};
use crate::ids::{HubName, IdentityId};
use crate::telemetry::MessageProperties;
use crate::testing::{admit, hub, hub_with, owner, policy_grant};

fn append(hub: &Hub, device: &str) -> EventPosition {
    let data = EventData {
        identity: IdentityId::parse(device, None).unwrap(),
        source: MessageSource::Telemetry,
        sender: None,
        properties: MessageProperties::default(),
        body: Bytes::new(),
        accepted_at: hub.clock().now(),
    };
    hub.events().append(data.into_shared(), None)
}

fn request(owner_level: Option<i64>) -> ReaderRequest<'static> {
    let start = StartPosition::Earliest;
    ReaderRequest { event_hub: "test", consumer_group: "$default", partition: "0", start, owner_level }
}

fn open(hub: &Hub, request: &ReaderRequest<'_>) -> Result<EventReader, ReadError> {
    hub.open_event_reader(owner::<ReadEvents>(hub, anywhere()), request, Arc::default())
}

/// Below which place a reader is admitted; that it is the one it reads, the head sees to.
fn anywhere() -> EventsPath {
    EventsPath::parse("test", &HubName::parse("test").unwrap()).unwrap()
}

/// A device of partition 0, and one of another.
fn devices(hub: &Hub) -> (String, String) {
    let partition = |id: &String| hub.events().partition_of(&DeviceId::parse(id).unwrap());
    let mut ids = (0..).map(|n| format!("d{n}"));
    (ids.find(|id| partition(id) == 0).unwrap(), ids.find(|id| partition(id) != 0).unwrap())
}

fn read(reader: &mut EventReader) -> Vec<i64> {
    let mut events = Vec::new();
    reader.read(100, usize::MAX, &mut events);
    events.iter().map(|event| event.position.sequence_number).collect()
}

async fn is_notified(wake: &Notify) -> bool {
    tokio::time::timeout(Duration::ZERO, wake.notified()).await.is_ok()
}

#[test]
fn the_hash_is_the_published_fnv_1a() {
    assert_eq!(stable_hash(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(stable_hash("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(stable_hash("foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn every_reader_reads_everything_of_its_partition_once_and_in_order() {
    let (hub, _) = hub();
    let (here, elsewhere) = devices(&hub);
    let (mut one, mut other) = (open(&hub, &request(None)).unwrap(), open(&hub, &request(None)).unwrap());
    append(&hub, &here);
    append(&hub, &elsewhere);
    append(&hub, &here);
    assert_eq!((read(&mut one), read(&mut other)), (vec![0, 1], vec![0, 1]));
    append(&hub, &here);
    assert_eq!((read(&mut one), read(&mut one), read(&mut other)), (vec![2], vec![], vec![2]));
}

#[tokio::test]
async fn a_reader_that_found_nothing_is_woken_by_the_next_append_and_by_no_other() {
    let (hub, _) = hub();
    let (here, elsewhere) = devices(&hub);
    let wake = Arc::new(Notify::new());
    let mut reader = hub
        .open_event_reader(owner::<ReadEvents>(&hub, anywhere()), &request(None), Arc::clone(&wake))
        .unwrap();
    append(&hub, &here);
    assert!(!is_notified(&wake).await, "it has not looked yet");
    assert_eq!((read(&mut reader), read(&mut reader), read(&mut reader)), (vec![0], vec![], vec![]));
    append(&hub, &elsewhere);
    assert!(!is_notified(&wake).await, "another partition is not its own");
    append(&hub, &here);
    append(&hub, &here);
    assert!(is_notified(&wake).await);
    assert!(!is_notified(&wake).await, "once");
    assert_eq!(read(&mut reader), [1, 2]);
}

#[tokio::test]
async fn a_reader_that_is_gone_leaves_nobody_to_wake() {
    let (hub, _) = hub();
    let (here, _) = devices(&hub);
    let wake = Arc::new(Notify::new());
    let mut reader = hub
        .open_event_reader(owner::<ReadEvents>(&hub, anywhere()), &request(None), Arc::clone(&wake))
        .unwrap();
    assert_eq!(read(&mut reader), [0; 0]);
    drop(reader);
    append(&hub, &here);
    assert!(!is_notified(&wake).await);
    assert_eq!(Arc::strong_count(&wake), 1);
}

#[tokio::test]
async fn a_thousand_readers_of_one_partition_are_each_woken_and_read_everything() {
    let (hub, _) = hub_with(|config| config.create_consumer_groups = true);
    let (here, _) = devices(&hub);
    let mut readers = Vec::new();
    for n in 0..1000 {
        let (wake, group) = (Arc::new(Notify::new()), format!("g{}", n / 5));
        let (by, request) = (owner::<ReadEvents>(&hub, anywhere()), request(None));
        let request = ReaderRequest { consumer_group: &group, ..request };
        let mut reader = hub.open_event_reader(by, &request, Arc::clone(&wake)).unwrap();
        assert_eq!(read(&mut reader), [0; 0]);
        readers.push((wake, reader));
    }
    append(&hub, &here);
    append(&hub, &here);
    for (wake, reader) in &mut readers {
        assert!(is_notified(wake).await);
        assert_eq!(read(reader), [0, 1]);
    }
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    const EACH: usize = 5000;
    let (hub, _) = hub();
    let (here, _) = devices(&hub);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    append(&hub, &here);
                }
            });
        }
        let wake = Arc::new(Notify::new());
        let by = owner::<ReadEvents>(&hub, anywhere());
        let mut reader = hub.open_event_reader(by, &request(None), Arc::clone(&wake)).unwrap();
        let everything = async {
            let mut numbers = Vec::new();
            while numbers.len() < 2 * EACH {
                match read(&mut reader) {
                    none if none.is_empty() => wake.notified().await,
                    some => numbers.extend(some),
                }
            }
            numbers
        };
        let numbers =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), everything).await });
        let expected = 0..i64::try_from(2 * EACH).unwrap();
        assert!(numbers.expect("a reader sleeps though there are events").into_iter().eq(expected));
    });
}

#[test]
fn what_a_slow_reader_has_not_read_is_not_kept_for_it() {
    let (hub, _) = hub_with(|config| config.event_retention.bytes = 4 * 2000);
    let (here, _) = devices(&hub);
    let mut reader = open(&hub, &request(None)).unwrap();
    append(&hub, &here);
    let oldest = Arc::downgrade(&hub.events().newest(1, None)[0].1.data);
    for _ in 0..9 {
        append(&hub, &here);
    }
    assert!(oldest.upgrade().is_none(), "nobody keeps it");
    assert_eq!(read(&mut reader), [7, 8, 9], "what retention left");
}

#[test]
fn the_latest_position_is_where_the_partition_ended_when_the_reader_was_opened() {
    let (hub, _) = hub();
    let (here, _) = devices(&hub);
    append(&hub, &here);
    let mut reader = open(&hub, &ReaderRequest { start: StartPosition::Latest, ..request(None) }).unwrap();
    append(&hub, &here);
    assert_eq!(read(&mut reader), [1]);
}

#[test]
fn five_readers_without_owner_level_share_a_partition_and_a_sixth_waits_for_a_place() {
    let (hub, _) = hub();
    let mut readers: Vec<_> = (0..5).map(|_| open(&hub, &request(None)).unwrap()).collect();
    assert_eq!(open(&hub, &request(None)).unwrap_err(), ReadError::TooManyReaders { readers: 5 });
    assert!(open(&hub, &ReaderRequest { partition: "1", ..request(None) }).is_ok());
    readers.pop();
    assert!(open(&hub, &request(None)).is_ok());
}

#[tokio::test]
async fn an_owner_level_takes_a_partition_from_lower_ones_and_from_none() {
    let (hub, _) = hub();
    for (old, new) in [(None, 0), (Some(0), 0), (Some(3), 3), (Some(3), 4), (Some(-1), 0)] {
        let wake = Arc::new(Notify::new());
        let by = owner::<ReadEvents>(&hub, anywhere());
        let displaced = hub.open_event_reader(by, &request(old), Arc::clone(&wake)).unwrap();
        assert_eq!(displaced.ended(), None);
        let owner = open(&hub, &request(Some(new))).unwrap();
        assert_eq!(displaced.ended(), Some(&ReadError::Disowned { owner_level: new }), "{old:?} by {new}");
        assert!(is_notified(&wake).await);
        drop(displaced);
        assert_eq!(owner.ended(), None, "that the other is gone is nothing to the owner");
        assert!(open(&hub, &request(None)).is_err(), "and frees no place");
    }
}

#[test]
fn a_lower_owner_level_and_none_are_refused_while_there_is_an_owner() {
    let (hub, _) = hub();
    let owner = open(&hub, &request(Some(3))).unwrap();
    for level in [Some(2), Some(-1), None] {
        let refused = open(&hub, &request(level)).unwrap_err();
        assert_eq!(refused, ReadError::OwnedByHigherLevel { owner_level: 3 });
    }
    assert_eq!(owner.ended(), None);
    drop(owner);
    assert!(open(&hub, &request(Some(2))).is_ok(), "the level goes with its owner");
    assert!(open(&hub, &request(None)).is_ok());
}

#[test]
fn consumer_groups_and_partitions_are_owned_apart() {
    let (hub, _) = hub();
    hub.events().create_consumer_group(ConsumerGroupName::parse("Other").unwrap()).unwrap();
    let owner = open(&hub, &request(Some(1))).unwrap();
    let _other_group = open(&hub, &ReaderRequest { consumer_group: "oTHER", ..request(Some(9)) }).unwrap();
    let _other_partition = open(&hub, &ReaderRequest { partition: "1", ..request(Some(9)) }).unwrap();
    assert_eq!(owner.ended(), None);
}

#[test]
fn what_is_not_there_cannot_be_read() {
    let (hub, _) = hub();
    let refused = |request: ReaderRequest<'_>| open(&hub, &request).unwrap_err();
    assert!(matches!(
        refused(ReaderRequest { event_hub: "tes", ..request(None) }),
        ReadError::EventHubNotFound { .. }
    ));
    assert!(matches!(
        refused(ReaderRequest { consumer_group: "g", ..request(None) }),
        ReadError::ConsumerGroupNotFound { .. }
    ));
    for partition in ["4", "-1", "", "00", "+1", "1 ", "256", "x"] {
        let refused = refused(ReaderRequest { partition, ..request(None) });
        assert!(matches!(refused, ReadError::PartitionOutOfRange { partitions: 4, .. }), "{partition}");
    }
    assert!(open(&hub, &ReaderRequest { event_hub: "TEST", partition: "3", ..request(None) }).is_ok());
}

#[test]
fn only_who_may_connect_as_a_service_reads() {
    let (hub, _) = hub();
    for (policy, may) in
        [("service", true), ("iothubowner", true), ("device", false), ("registryRead", false)]
    {
        let grant = policy_grant(&hub, policy);
        assert_eq!(admit::<ReadEvents>(&hub, &grant, anywhere()).is_ok(), may, "{policy}");
        assert_eq!(admit::<GetEventHubProperties>(&hub, &grant, anywhere()).is_ok(), may, "{policy}");
    }
}

#[test]
fn a_group_is_made_on_first_use_only_where_that_is_configured() {
    let (hub, _) = hub_with(|config| config.create_consumer_groups = true);
    assert!(open(&hub, &ReaderRequest { consumer_group: "New", ..request(None) }).is_ok());
    assert_eq!(hub.events().consumer_group("new").unwrap().as_str(), "New");
    let refused = open(&hub, &ReaderRequest { consumer_group: "no name", ..request(None) }).unwrap_err();
    assert!(matches!(refused, ReadError::ConsumerGroupRefused(_)));
}

#[test]
fn there_are_as_many_consumer_groups_as_allowed_and_no_more() {
    let (hub, _) = hub_with(|config| config.create_consumer_groups = true);
    let name = |n: usize| ConsumerGroupName::parse(&format!("g{n}")).unwrap();
    for n in 1..limits::CONSUMER_GROUPS {
        assert_eq!(hub.events().create_consumer_group(name(n)), Ok(true));
    }
    assert_eq!(hub.events().create_consumer_group(name(1)), Ok(false), "one that is there is no more");
    let refused = hub.events().create_consumer_group(name(0)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::GenericForbidden);
    assert!(open(&hub, &ReaderRequest { consumer_group: "g0", ..request(None) }).is_err());
}

#[test]
fn a_group_that_is_removed_ends_its_readers_and_the_default_one_stays() {
    let (hub, _) = hub();
    hub.events().create_consumer_group(ConsumerGroupName::parse("g").unwrap()).unwrap();
    let reader = open(&hub, &ReaderRequest { consumer_group: "g", ..request(None) }).unwrap();
    let other = open(&hub, &request(None)).unwrap();
    hub.events().delete_consumer_group("G").unwrap();
    assert!(matches!(reader.ended(), Some(ReadError::ConsumerGroupNotFound { .. })));
    assert_eq!(hub.events().delete_consumer_group("g").unwrap_err().code(), ErrorCode::GenericNotFound);
    assert!(hub.events().delete_consumer_group("$default").is_err());
    assert_eq!(other.ended(), None);
    assert_eq!(hub.events().consumer_groups(), [ConsumerGroupName::default()]);
}

#[test]
fn a_partition_describes_itself() {
    let (hub, clock) = hub();
    let (here, _) = devices(&hub);
    let describe =
        || hub.partition_properties(owner::<GetEventHubProperties>(&hub, anywhere()), "Test", "0").unwrap();
    let empty = describe();
    assert_eq!((empty.begin_sequence_number, empty.last_enqueued, empty.is_empty), (0, None, true));
    append(&hub, &here);
    let last = append(&hub, &here);
    let filled = describe();
    assert_eq!((filled.begin_sequence_number, filled.last_enqueued, filled.is_empty), (0, Some(last), false));
    clock.advance(Duration::from_secs(limits::EVENT_RETENTION_SECS));
    let emptied = describe();
    assert_eq!(
        (emptied.begin_sequence_number, emptied.last_enqueued, emptied.is_empty),
        (2, Some(last), true)
    );
}

#[test]
fn an_event_hub_describes_itself() {
    let (hub, clock) = hub();
    let born = hub.clock().now();
    clock.advance(Duration::from_secs(5));
    let described =
        hub.event_hub_properties(owner::<GetEventHubProperties>(&hub, anywhere()), "TEST").unwrap();
    assert_eq!((described.name.as_str(), described.created_at, described.partitions), ("test", born, 4));
    assert!(hub.event_hub_properties(owner::<GetEventHubProperties>(&hub, anywhere()), "other").is_err());
    assert!(hub.partition_properties(owner::<GetEventHubProperties>(&hub, anywhere()), "test", "4").is_err());
}

#[test]
fn what_is_past_retention_is_given_back_though_nothing_more_is_appended() {
    let (hub, clock) = hub();
    let (here, _) = devices(&hub);
    append(&hub, &here);
    clock.advance(Duration::from_secs(10));
    append(&hub, &here);
    assert_eq!(hub.deadlines.len(), 1, "one row for all events of a partition");
    clock.advance(Duration::from_secs(limits::EVENT_RETENTION_SECS - 10));
    hub.run_due();
    assert_eq!(hub.events().newest(10, None).len(), 1);
    clock.advance(Duration::from_secs(10));
    hub.run_due();
    assert_eq!((hub.events().newest(10, None).len(), hub.deadlines.len()), (0, 0));
    append(&hub, &here);
    assert_eq!(hub.deadlines.len(), 1);
}

#[test]
fn a_day_of_steady_events_is_not_a_day_of_deadlines() {
    let (hub, clock) = hub();
    let (here, _) = devices(&hub);
    for _ in 0..1000 {
        append(&hub, &here);
        clock.advance(Duration::from_millis(1));
    }
    clock.advance(Duration::from_secs(limits::EVENT_RETENTION_SECS) - Duration::from_millis(1000));
    hub.run_due();
    let next = hub.next_deadline().unwrap();
    assert_eq!(next, hub.clock().now().plus(limits::EVENT_EXPIRY_PAUSE));
    clock.advance(limits::EVENT_EXPIRY_PAUSE);
    hub.run_due();
    assert_eq!(hub.events().newest(10, None).len(), 0);
}
