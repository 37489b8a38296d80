"""The built-in event hub as azure-eventhub sees it: the ways to it, consumer groups that only one test uses, and
reading until something has come."""

import os
import threading
import uuid
from collections import defaultdict

from azure.eventhub import EventHubConsumerClient, TransportType
from conftest import PATIENCE_S, admin

PLAIN = os.environ["EVENT_HUB_CONNECTION_STRING"]
# Without the flag of an emulator the client speaks TLS.
OVER_TLS = PLAIN.replace(";UseDevelopmentEmulator=true", "")
NAME = OVER_TLS.split("EntityPath=")[1]

TRUST = {"connection_verify": os.environ["IOTHUB_EMULATOR_CA"]}
CARRIERS = {
    "TLS": (OVER_TLS, TRUST),
    "WebSocket": (OVER_TLS, {**TRUST, "transport_type": TransportType.AmqpOverWebsocket}),
    "plain TCP": (PLAIN, {}),
}

EARLIEST = "-1"


def create_consumer_group():
    """A consumer group no other test knows."""
    name = f"python-{uuid.uuid4()}"
    admin(f"/admin/event-hubs/{NAME}/consumer-groups/{name}", method="PUT")
    return name


def consumer(group, carrier="TLS", text=None, **options):
    """A client that tries once."""
    connection_string, settings = CARRIERS[carrier]
    return EventHubConsumerClient.from_connection_string(
        text or connection_string, consumer_group=group, retry_total=0, **settings, **options)


class Reading:
    """What a client has received so far in a thread of its own: events, and what it was refused with."""

    def __init__(self, client, before=lambda context, event: None, **options):
        self.events, self.errors, self.last_enqueued = [], [], None
        self._by_device = defaultdict(list)
        self._before = before
        self._news = threading.Condition()
        self._client = client
        options.setdefault("starting_position", EARLIEST)
        self._thread = threading.Thread(target=client.receive, args=(self._received,), daemon=True,
                                        kwargs={"on_error": self._refused, **options})
        self._thread.start()

    def bodies(self, device_id):
        """The texts a device has sent, in the order they came."""
        return [event.body_as_str() for event in list(self._by_device[device_id])]

    def through(self, device_id, last):
        """What the device has sent, when all that it is said to have sent last has come."""
        self.until(lambda: last in self.bodies(device_id), f"{last} is read")
        return self.bodies(device_id)

    def until(self, reached, what):
        """Waits until `reached` says so. An error of the client ends the wait."""
        with self._news:
            assert self._news.wait_for(lambda: self.errors or reached(), PATIENCE_S), f"{what}: not in time"
        if not reached():
            raise self.errors[0]

    def refusal(self):
        """The first error of the client."""
        with self._news:
            assert self._news.wait_for(lambda: self.errors, PATIENCE_S), "it was not refused"
        return self.errors[0]

    def close(self):
        self._client.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the client did not end"

    def _received(self, context, event):
        self._before(context, event)
        with self._news:
            self.events.append(event)
            self._by_device[device_of(event)].append(event)
            self.last_enqueued = context.last_enqueued_event_properties
            self._news.notify_all()

    def _refused(self, context, error):
        with self._news:
            self.errors.append(error)
            self._news.notify_all()


def device_of(event):
    """The device that an event comes from."""
    return event.system_properties[b"iothub-connection-device-id"].decode()
