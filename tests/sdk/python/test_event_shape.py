"""What a message looks like to azure-eventhub, whoever sent it and however: body, properties, annotations and their
Python types."""

import base64
import json
import ssl
import time

import pytest
import requests
from azure.iot.device import IoTHubModuleClient, Message
from azure.iot.hub.sastoken import SasToken
from conftest import connection_string, until
from event_hub import Reading, consumer, create_consumer_group, device_of
from paho.mqtt import client as mqtt

API_VERSION = "api-version=2021-04-12"


@pytest.fixture
def read(request, events):
    """What the hub holds of a device by now, as the Event Hubs client reads it."""

    def held_of(device_id):
        held = events(device_id)
        where = {"starting_position": held[-1]["sequenceNumber"], "starting_position_inclusive": True}
        reading = Reading(consumer(create_consumer_group()), partition_id=str(held[0]["partition"]), **where)
        request.addfinalizer(reading.close)
        last = held[0]["sequenceNumber"]
        reading.until(lambda: reading.events and reading.events[-1].sequence_number >= last, "all is read")
        return [event for event in reading.events if device_of(event) == device_id]

    return held_of


@pytest.fixture
def post(owner, device):
    """Sends over HTTPS, as the device."""

    def send(body, **headers):
        resource = f"{owner['HostName']}/devices/{device.device_id}"
        token = str(SasToken(resource, device.authentication.symmetric_key.primary_key))
        url = f"https://{resource}/messages/events?{API_VERSION}"
        answer = requests.post(url, data=body, headers={"Authorization": token, **headers}, timeout=30)
        assert answer.status_code == 204, answer.text

    return send


def test_a_devices_message_is_read_with_all_that_it_was_sent_with(sender, registry, read):
    message = Message(json.dumps({"temperature": 21}), message_id="m-1", content_encoding="utf-8",
                      content_type="application/json")
    message.correlation_id = "c-1"
    message.custom_properties["level"] = "critical & true"
    sent = now()
    sender.client.send_message(message)
    [event] = read(sender.device_id)
    assert event.body_as_json() == {"temperature": 21}
    assert list(event.body) == [b'{"temperature": 21}']
    assert (event.message_id, event.correlation_id, event.content_type) == ("m-1", "c-1", "application/json")
    assert event.system_properties[b"content-encoding"] == b"utf-8"
    assert event.properties == {b"level": b"critical & true"}
    assert b"iothub-connection-module-id" not in event.system_properties
    assert json.loads(event.system_properties[b"iothub-connection-auth-method"]) == {
        "scope": "device", "type": "sas", "issuer": "iothub", "acceptingIpFilterRule": None}
    assert_stamped(event, registry.get_device(sender.device_id), sent)


def test_a_message_of_nothing_but_bytes_is_read_as_those_bytes(sender, registry, read):
    sent = now()
    sender.send(b"\x00\xff\xc3\x28\n")
    [event] = read(sender.device_id)
    assert b"".join(event.body) == b"\x00\xff\xc3\x28\n"
    assert (event.message_id, event.correlation_id, event.content_type) == (None, None, None)
    assert not event.properties
    assert_stamped(event, registry.get_device(sender.device_id), sent)


def test_a_message_of_a_module_names_the_module(owner, module, registry, root_certificate, close_after, read):
    client = close_after(IoTHubModuleClient.create_from_connection_string(
        connection_string(owner, module), server_verification_cert=root_certificate))
    sent = now()
    client.send_message("of a module")
    client.send_message_to_output("to an output", "output1")
    plain, output = read(module.device_id)
    assert (plain.body_as_str(), output.body_as_str()) == ("of a module", "to an output")
    for event in [plain, output]:
        assert event.system_properties[b"iothub-connection-module-id"] == module.module_id.encode()
        method = json.loads(event.system_properties[b"iothub-connection-auth-method"])
        assert (method["scope"], method["type"]) == ("module", "sas")
        assert_stamped(event, registry.get_module(module.device_id, module.module_id), sent)


def test_a_will_says_that_it_is_one(owner, device, events, read):
    resource = f"{owner['HostName']}/devices/{device.device_id}"
    token = str(SasToken(resource, device.authentication.symmetric_key.primary_key))
    client = mqtt.Client(device.device_id, protocol=mqtt.MQTTv311)
    client.username_pw_set(f"{owner['HostName']}/{device.device_id}/?{API_VERSION}", token)
    client.tls_set_context(ssl.create_default_context())
    client.will_set(f"devices/{device.device_id}/messages/events/colour=red", "gone", qos=1)
    client.connect(owner["HostName"], 8883)
    until(lambda: client.loop() == mqtt.MQTT_ERR_SUCCESS and client.is_connected(), "it is connected")
    sent = now()
    client.socket().close()
    until(lambda: events(device.device_id), "the hub has sent the Will")
    [event] = read(device.device_id)
    assert event.body_as_str() == "gone"
    assert event.properties == {b"colour": b"red", b"iothub-MessageType": b"Will"}
    assert_stamped(event, device, sent)


def test_a_message_over_https_is_read_with_all_that_it_was_sent_with(device, post, read):
    sent = now()
    post(b"hello", **{"iothub-messageid": "m-1", "iothub-app-level": "critical", "iothub-contenttype": "text/plain"})
    [event] = read(device.device_id)
    assert (event.body_as_str(), event.message_id, event.content_type) == ("hello", "m-1", "text/plain")
    assert event.properties == {b"level": b"critical"}
    assert_stamped(event, device, sent)


def test_the_messages_of_a_batch_are_events_of_their_own(device, post, read):
    batch = [{"body": base64.b64encode(text.encode()).decode(), "properties": {"iothub-app-is": text}}
             for text in ["first", "second"]]
    sent = now()
    post(json.dumps(batch), **{"Content-Type": "application/vnd.microsoft.iothub.json"})
    first, second = read(device.device_id)
    assert [(event.body_as_str(), event.properties) for event in [first, second]] == [
        ("first", {b"is": b"first"}), ("second", {b"is": b"second"})]
    assert first.sequence_number < second.sequence_number
    assert int(first.offset) < int(second.offset)
    for event in [first, second]:
        assert_stamped(event, device, sent)


def assert_stamped(event, identity, sent):
    """What the hub says of every message."""
    system = event.system_properties
    assert type(event.sequence_number) is int
    assert event.offset.isdigit()
    assert event.partition_key == identity.device_id.encode()
    assert sent <= int(event.enqueued_time.timestamp() * 1000 + 0.5) <= now()
    assert sent <= system[b"iothub-enqueuedtime"] <= now()
    assert system[b"iothub-connection-device-id"] == identity.device_id.encode()
    assert system[b"iothub-message-source"] == b"Telemetry"
    assert system[b"iothub-connection-auth-generation-id"] == identity.generation_id.encode()


def now():
    return int(time.time() * 1000)
