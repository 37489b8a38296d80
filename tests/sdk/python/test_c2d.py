"""Cloud-to-device messages from azure-iot-hub over AMQP to azure-iot-device over MQTT and MQTT over WebSocket, and
the feedback over REST that comes of them. The hub has one queue of feedback: no other test of this suite reads it.

The device's SDK completes a message when it receives it.
"""

import os
import queue
import threading
import uuid

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.hub import IoTHubHttpRuntimeManager
from conftest import PATIENCE_S, connection_state, connection_string, until


@pytest.fixture
def connect(owner, device, options, close_after):
    """Connects a client of the device; the queue returned beside it gets its messages."""

    def make():
        client = close_after(
            IoTHubDeviceClient.create_from_connection_string(connection_string(owner, device), **options))
        messages = queue.Queue()
        client.on_message_received = messages.put
        client.connect()
        return client, messages

    return make


@pytest.fixture
def send(registry, device):
    """Sends to the device, and returns the id of the message."""

    def call(body, **properties):
        message_id = str(uuid.uuid4())
        registry.send_c2d_message(device.device_id, body, {"messageId": message_id, **properties})
        return message_id

    return call


@pytest.fixture(scope="module")
def runtime():
    return IoTHubHttpRuntimeManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])


def test_arrives_with_its_properties_and_is_done_with(connect, send, registry, device):
    client, messages = connect()
    message_id = send("grüße", correlationId="c-1", contentType="text/plain", contentEncoding="utf-8",
                      level="critical", space="a b&c=d")
    got = messages.get(timeout=PATIENCE_S)
    assert got.data.decode() == "grüße"
    assert (got.message_id, got.correlation_id) == (message_id, "c-1")
    assert (got.content_type, got.content_encoding) == ("text/plain", "utf-8")
    assert (got.custom_properties["level"], got.custom_properties["space"]) == ("critical", "a b&c=d")
    until(lambda: pending(registry, device) == 0, "the message is completed")


def test_says_by_feedback_what_became_of_it(connect, send, device, runtime):
    connect()
    message_id = send("told", **{"iothub-ack": "full"})

    record = until(lambda: feedback_of(runtime, message_id), "the feedback comes")
    assert (record["deviceId"], record["deviceGenerationId"]) == (device.device_id, device.generation_id)
    assert (record["statusCode"], record["description"]) == ("Success", "Success")


def test_waits_for_a_device_that_is_offline_and_keeps_its_order(connect, send, registry, device):
    sent = [send(f"m-{number}") for number in range(5)]
    assert pending(registry, device) == 5
    client, messages = connect()
    assert [messages.get(timeout=PATIENCE_S).message_id for _ in sent] == sent
    until(lambda: pending(registry, device) == 0, "the queue is empty")


def test_reaches_a_device_again_that_left_and_came_back(connect, send, registry, device):
    client, messages = connect()
    send("before")
    assert messages.get(timeout=PATIENCE_S).data == b"before"
    client.disconnect()
    until(lambda: connection_state(registry, (device.device_id,)) == "Disconnected", "the hub sees it leave")
    send("while away")
    assert pending(registry, device) == 1
    client.connect()
    assert messages.get(timeout=PATIENCE_S).data == b"while away"
    send("after")
    assert messages.get(timeout=PATIENCE_S).data == b"after"


def test_goes_to_the_client_that_took_the_device_over(connect, send):
    first, first_messages = connect()
    send("for the first")
    assert first_messages.get(timeout=PATIENCE_S).data == b"for the first"
    ended = threading.Event()
    first.on_connection_state_change = lambda: first.connected or ended.set()
    second, messages = connect()
    assert ended.wait(PATIENCE_S), "the first client is told"
    send("for the second")
    assert messages.get(timeout=PATIENCE_S).data == b"for the second"
    assert first_messages.empty()


def test_for_an_unknown_device_is_refused(registry):
    with pytest.raises(Exception, match="C2D message send failure"):
        registry.send_c2d_message(f"python-{uuid.uuid4()}", "lost")


def pending(registry, device):
    """How many messages wait for the device or are with it unsettled."""
    return registry.get_device(device.device_id).cloud_to_device_message_count


def feedback_of(runtime, message_id):
    """The record of a message, once there is one. What else lies in the queue is completed on the way."""
    response = runtime.protocol.cloud_to_device_messages.receive_feedback_notification(raw=True).response
    if response.status_code == 204:
        return None
    runtime.complete_feedback_notification(response.headers["ETag"].strip('"'))
    return next((record for record in response.json() if record["originalMessageId"] == message_id), None)
