"""azure-eventhub against the built-in event hub: properties, positions and refusals over every carrier, consumer groups
and owner levels over one."""

import base64
import threading
import time
from datetime import datetime, timezone

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError, EventHubError
from azure.iot.hub.sastoken import SasToken
from conftest import admin, parse
from event_hub import CARRIERS, NAME, Reading, consumer, create_consumer_group


@pytest.fixture(params=CARRIERS)
def carrier(request):
    return request.param


@pytest.fixture
def read(request):
    """Starts to read with a client of a group of its own, unless it is given one."""

    def start(partition=None, carrier="TLS", group=None, text=None, client_options=None, **options):
        client = consumer(group or create_consumer_group(), carrier, text, **(client_options or {}))
        where = {} if partition is None else {"partition_id": str(partition)}
        reading = Reading(client, **where, **options)
        request.addfinalizer(reading.close)
        return reading

    return start


def test_says_what_it_is_and_what_its_partitions_hold(carrier, sender, events):
    with consumer("$Default", carrier) as client:
        hub = client.get_eventhub_properties()
        assert (hub["eventhub_name"], hub["partition_ids"]) == (NAME, ["0", "1", "2", "3"])
        assert 0 <= (datetime.now(timezone.utc) - hub["created_at"]).total_seconds() < 3600
        assert client.get_partition_ids() == hub["partition_ids"]

        sender.send("m-0")
        [event] = events(sender.device_id)
        partition = client.get_partition_properties(str(event["partition"]))
    assert (partition["eventhub_name"], partition["id"]) == (NAME, str(event["partition"]))
    assert partition["beginning_sequence_number"] == 0
    assert partition["is_empty"] is False
    # Other tests send into the same partition.
    assert partition["last_enqueued_sequence_number"] >= event["sequenceNumber"]
    assert int(partition["last_enqueued_offset"]) >= event["offset"]
    assert partition["last_enqueued_time_utc"].timestamp() >= in_seconds(event["enqueuedTimeUtc"])


def test_is_read_from_every_position(carrier, sender, events, read):
    sender.send("m-0", "m-1")
    between = a_millisecond_later()
    sender.send("m-2", "m-3")
    _, third, second, _ = events(sender.device_id)
    assert (second["body"], third["body"]) == ("m-1", "m-2")

    rows = [
        ("-1", False, ["m-0", "m-1", "m-2", "m-3"]),
        (str(second["offset"]), False, ["m-2", "m-3"]),
        (str(second["offset"]), True, ["m-1", "m-2", "m-3"]),
        (third["sequenceNumber"], False, ["m-3"]),
        (third["sequenceNumber"], True, ["m-2", "m-3"]),
        (between, False, ["m-2", "m-3"]),
        (between, True, ["m-2", "m-3"]),
    ]
    # Side by side: this client takes its time to begin.
    readings = [
        read(second["partition"], carrier, starting_position=position, starting_position_inclusive=inclusive)
        for position, inclusive, _ in rows]
    for reading, (position, inclusive, expected) in zip(readings, rows):
        assert reading.through(sender.device_id, "m-3") == expected, (position, inclusive)


def test_gives_a_reader_of_the_latest_position_what_comes_and_nothing_that_came_before(carrier, sender, events, read):
    sender.send("before")
    [event] = events(sender.device_id)
    reading = read(event["partition"], carrier, starting_position="@latest")
    # The client does not say when it has attached: what is sent until the first arrives may be missed.
    number = 0
    while not reading.bodies(sender.device_id):
        assert not reading.errors
        sender.send(f"m-{number}")
        number += 1
    sender.send("after")
    first, *others, _ = reading.through(sender.device_id, "after")
    assert first.startswith("m-")
    start = int(first.removeprefix("m-"))
    assert others == [f"m-{start + 1 + number}" for number in range(len(others))]


def test_takes_a_reader_from_another_of_its_owner_level_or_a_lower_one_and_refuses_those_below(
        sender, events, read):
    sender.send("m-0")
    [event] = events(sender.device_id)
    group = create_consumer_group()
    holder = read(event["partition"], group=group)
    holder.through(sender.device_id, "m-0")
    for level in [1, 2, 2]:
        taker = read(event["partition"], group=group, owner_level=level)
        taker.through(sender.device_id, "m-0")
        assert_stolen(holder.refusal())
        holder.close()
        holder = taker

    for options in [{"owner_level": 1}, {}]:
        refused = read(event["partition"], group=group, **options)
        assert_stolen(refused.refusal())
        assert refused.events == []
        refused.close()
    sender.send("m-1")
    assert holder.through(sender.device_id, "m-1") == ["m-0", "m-1"]
    assert holder.errors == []


def test_refuses_groups_and_partitions_that_do_not_exist(carrier, read):
    assert "not-found" in condition(read(0, carrier, "nobody").refusal())
    # The client compares the partition with those it has asked for.
    assert isinstance(read(4, carrier).refusal(), ValueError)
    with consumer("$Default", carrier) as client:
        with pytest.raises(EventHubError):
            client.get_partition_properties("4")
        assert client.get_partition_properties("3")["id"] == "3"


def test_refuses_to_be_sent_to(carrier):
    text, options = CARRIERS[carrier]
    with EventHubProducerClient.from_connection_string(text, retry_total=0, **options) as producer:
        for where in [{}, {"partition_id": "0"}]:
            with pytest.raises(EventHubError) as refusal:
                producer.send_batch([EventData("x")], **where)
            assert "unauthorized-access" in condition(refusal.value)


def test_has_consumer_groups_that_each_read_everything_at_their_own_pace(sender, events, read):
    sender.send("m-0")
    [event] = events(sender.device_id)
    first = read(event["partition"], owner_level=0)
    assert first.through(sender.device_id, "m-0") == ["m-0"]
    sender.send("m-1")
    assert first.through(sender.device_id, "m-1") == ["m-0", "m-1"]
    second = read(event["partition"], owner_level=0)
    assert second.through(sender.device_id, "m-1") == ["m-0", "m-1"]
    sender.send("m-2")
    for reading in [first, second]:
        assert reading.through(sender.device_id, "m-2") == ["m-0", "m-1", "m-2"]
        assert reading.errors == []


def test_tells_what_was_last_enqueued_to_those_who_ask_and_to_nobody_else(sender, events, read):
    sender.send("m-0", "m-1")
    last, _ = events(sender.device_id)
    where = {"starting_position": last["sequenceNumber"], "starting_position_inclusive": True}
    told = read(last["partition"], track_last_enqueued_event_properties=True, **where)
    told.through(sender.device_id, "m-1")
    enqueued = told.last_enqueued
    assert enqueued["sequence_number"] >= last["sequenceNumber"]
    assert int(enqueued["offset"]) >= last["offset"]
    assert enqueued["enqueued_time"].timestamp() >= in_seconds(last["enqueuedTimeUtc"])
    assert enqueued["enqueued_time"] <= enqueued["retrieval_time"] <= datetime.now(timezone.utc)

    untold = read(last["partition"], **where)
    untold.through(sender.device_id, "m-1")
    assert not untold.last_enqueued or untold.last_enqueued["sequence_number"] is None


@pytest.mark.parametrize("prefetch", [1, 30])
def test_waits_for_a_slow_reader_whatever_it_prefetches(sender, events, read, prefetch):
    bodies = [f"m-{number}" for number in range(50)]
    sender.send(*bodies)
    first = events(sender.device_id)[-1]
    where = {"starting_position": first["sequenceNumber"], "starting_position_inclusive": True}
    gate = threading.Event()
    group = create_consumer_group()
    slow = read(first["partition"], group=group, prefetch=prefetch, before=lambda *_: gate.wait(), **where)
    # In the same group, and not held up by the other.
    fast = read(first["partition"], group=group, **where)
    assert fast.through(sender.device_id, bodies[-1]) == bodies
    assert slow.events == []
    gate.set()
    assert slow.through(sender.device_id, bodies[-1]) == bodies


def test_takes_tokens_as_iot_hub_signs_them(owner, sender, events, read):
    sender.send("m-0")
    [event] = events(sender.device_id)
    token = SasToken(owner["HostName"], owner["SharedAccessKey"], owner["SharedAccessKeyName"])
    text = f"Endpoint=sb://{owner['HostName']}/;SharedAccessSignature={token};EntityPath={NAME}"
    assert read(event["partition"], text=text).through(sender.device_id, "m-0") == ["m-0"]


def test_refuses_a_wrong_key_and_a_policy_without_the_right(owner, read):
    reader = parse(admin("/connection-strings")["policies"]["registryRead"])
    wrong = base64.b64encode(b"a key nobody gave to this policy").decode()
    for policy, key in [
        (owner["SharedAccessKeyName"], wrong),
        (reader["SharedAccessKeyName"], reader["SharedAccessKey"]),
    ]:
        text = (f"Endpoint=sb://{owner['HostName']}/;SharedAccessKeyName={policy};SharedAccessKey={key};"
                f"EntityPath={NAME}")
        with consumer("$Default", text=text) as client, pytest.raises(AuthenticationError):
            client.get_eventhub_properties()
        assert isinstance(read(0, text=text).refusal(), AuthenticationError), policy


def assert_stolen(error):
    assert isinstance(error, (ConnectionLostError, ConnectError)), repr(error)
    assert "link:stolen" in condition(error)


def condition(error):
    """The AMQP condition behind an error of the client, or what it says of it."""
    cause = getattr(error, "details", None)
    return str(getattr(cause, "condition", "")) + str(error)


def a_millisecond_later():
    """A time that lies after everything that has happened, and before everything that will."""
    between = passed(int(time.time() * 1000))
    passed(between)
    return datetime.fromtimestamp(between / 1000, timezone.utc)


def passed(millisecond):
    while int(time.time() * 1000) <= millisecond:
        pass
    return millisecond + 1


def in_seconds(text):
    """A time of the admin API, to the millisecond."""
    return datetime.strptime(text[:23], "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=timezone.utc).timestamp()
