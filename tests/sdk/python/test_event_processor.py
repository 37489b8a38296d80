"""Event processors of azure-eventhub: readers of all partitions that share them by a checkpoint store, and go on from
their checkpoints."""

import threading
from collections import Counter
from datetime import datetime, timezone

import pytest
from azure.eventhub._eventprocessor.in_memory_checkpoint_store import InMemoryCheckpointStore
from conftest import PATIENCE_S
from event_hub import CARRIERS, Reading, consumer, create_consumer_group, device_of


class Store(InMemoryCheckpointStore):
    """Tells when partitions change hands."""

    def __init__(self):
        super().__init__()
        self._changed = threading.Condition()

    def claim_ownership(self, ownership_list, **kwargs):
        with self._changed:
            claimed = super().claim_ownership(ownership_list, **kwargs)
            self._changed.notify_all()
        return claimed

    def await_shares(self, expected):
        """Waits until there are owners of so many partitions."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.shares() == expected, PATIENCE_S), self.shares()

    def shares(self):
        owners = Counter(owned["owner_id"] for owned in self._ownerships_trie.list_leaves(None))
        return sorted(count for owner, count in owners.items() if owner)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def process(request, store):
    """Starts a processor; all that a test starts are of one group, share a store and begin with the test."""
    group = create_consumer_group()
    beginning = datetime.now(timezone.utc)

    def start(carrier="TLS", before=lambda context, event: None):
        # An owner that has left without a word is missed after 60 s; here nobody leaves so.
        client = consumer(group, carrier, checkpoint_store=store, load_balancing_interval=0.3,
                          partition_ownership_expiration_interval=60)
        reading = Reading(client, before, starting_position=beginning)
        request.addfinalizer(reading.close)
        return reading

    return start


# Over WebSocket this client waits a second for each partition that has nothing to read, one after the other.
@pytest.mark.parametrize("carrier", [carrier for carrier in CARRIERS if carrier != "WebSocket"])
def test_two_processors_share_the_partitions_and_one_takes_them_all_over(process, new_sender, events, store, carrier):
    senders = {}
    while len(senders) < 4:
        sender = new_sender()
        sender.send("m-0")
        senders[events(sender.device_id)[0]["partition"]] = sender

    def all_have(body, *readings):
        return lambda: all(any(body in reading.bodies(sender.device_id) for reading in readings)
                           for sender in senders.values())

    first = process(carrier)
    first.until(all_have("m-0", first), "all partitions are read")
    assert store.shares() == [4]
    second = process(carrier)
    store.await_shares([2, 2])
    for sender in senders.values():
        sender.send("m-1")

    first.close()
    for sender in senders.values():
        sender.send("m-2")
    second.until(all_have("m-2", second), "the second has taken over")
    assert store.shares() == [4]
    assert all_have("m-1", first, second)(), "either has processed what was sent while there were two"


def test_a_processor_goes_on_after_its_checkpoint_and_not_before(process, sender):
    sender.send("m-0", "m-1", "m-2")

    def checkpoint(context, event):
        if device_of(event) == sender.device_id and event.body_as_str() == "m-1":
            context.update_checkpoint(event)

    first = process(before=checkpoint)
    assert first.through(sender.device_id, "m-2") == ["m-0", "m-1", "m-2"]
    first.close()

    sender.send("m-3")
    second = process()
    assert second.through(sender.device_id, "m-3") == ["m-2", "m-3"]
