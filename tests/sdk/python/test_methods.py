"""azure-iot-hub's registry manager invoking direct methods, answered by azure-iot-device over MQTT and MQTT over
WebSocket, as a device and as a module.

The device's SDK subscribes when it is given a listener and waits until that stands. The service's sends the empty
text where the caller gave no payload.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod
from conftest import KINDS, PATIENCE_S, connection_state, connection_string, refused_with, until

# What JSON can be; 100 KiB is most of the 128 KiB a call may carry.
PAYLOADS = ["", "foo", "grüße", 0, -1.5, True, False, {}, {"k1": "v1"}, {"nested": {"list": [None, {}]}}, [],
            "x" * 100 * 1024]


@pytest.fixture(params=KINDS)
def identity(request, registry, owner, device):
    """The ids of a fresh device or module and its `connection_string`."""
    ids, created = (device.device_id,), device
    if request.param == "module":
        ids = (device.device_id, "module01")
        created = registry.create_module_with_sas(*ids, "", "", "")
    return Identity(request.param, ids, connection_string(owner, created))


class Identity:
    def __init__(self, kind, ids, connection_string):
        self.kind, self.ids, self.connection_string = kind, ids, connection_string


@pytest.fixture
def connect(identity, options, close_after):
    """Connects a client of the identity that answers each method with what `answers(request)` returns."""

    def make(answers):
        client = close_after(KINDS[identity.kind].create_from_connection_string(identity.connection_string, **options))

        def answer(request):
            answered = answers(request)
            if answered is not None:
                client.send_method_response(MethodResponse.create_from_method_request(request, *answered))

        client.connect()
        client.on_method_request_received = answer
        return client

    return make


@pytest.fixture
def invoke(registry, identity):
    """What a method of the identity answers: status and payload."""

    def call(name, payload=None, connect_timeout=0, response_timeout=PATIENCE_S):
        method = CloudToDeviceMethod(method_name=name, payload=payload, connect_timeout_in_seconds=connect_timeout,
                                     response_timeout_in_seconds=response_timeout)
        on = registry.invoke_device_method if len(identity.ids) == 1 else registry.invoke_device_module_method
        result = on(*identity.ids, method)
        return result.status, result.payload

    return call


def test_is_sent_every_payload_as_it_is_and_answers_with_any(connect, invoke):
    seen = []
    connect(lambda request: seen.append((request.name, request.payload)) or (200, request.payload))
    for payload in PAYLOADS:
        assert invoke("echo", payload) == (200, payload)
    assert seen == [("echo", payload) for payload in PAYLOADS]


def test_answers_without_a_payload_to_a_call_without_one(connect, invoke):
    connect(lambda request: (204, None) if request.payload == "" else (400, request.payload))
    assert invoke("nothing") == (204, None)


def test_answers_with_a_status_of_its_own(connect, invoke):
    connect(lambda request: (request.payload, {"status": request.payload}))
    for status in (200, 404, 500, -1, 0, 2**31 - 1):
        assert invoke("status", status) == (status, {"status": status})


def test_answers_twenty_calls_at_once_last_come_first_served(connect, invoke):
    waiting, all_came = [], threading.Event()

    def answer(request):
        waiting.append(request)
        if len(waiting) == 20:
            all_came.set()

    client = connect(answer)
    with ThreadPoolExecutor(20) as callers:
        calls = [callers.submit(invoke, "wait", {"number": number}) for number in range(20)]
        assert all_came.wait(PATIENCE_S), f"{len(waiting)} of 20 calls came"
        for request in reversed(waiting):
            client.send_method_response(MethodResponse.create_from_method_request(request, 200, request.payload))
        assert [call.result() for call in calls] == [(200, {"number": number}) for number in range(20)]


def test_is_called_although_it_connects_after_the_caller_asked(connect, invoke):
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(invoke, "late", connect_timeout=PATIENCE_S)
        connect(lambda request: (200, "here"))
        assert call.result() == (200, "here")


def test_leaving_with_a_call_unanswered_fails_the_call_at_once(connect, invoke):
    asked = threading.Event()
    client = connect(lambda request: asked.set())
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(invoke, "leave")
        assert asked.wait(PATIENCE_S)
        client.disconnect()
        with refused_with(404) as refusal:
            call.result()
    assert code(refusal) == ("DeviceConnectionClosedRemotely", 404104)


def test_taken_over_leaves_the_call_unanswered_and_the_next_ones_to_the_successor(connect, invoke):
    asked = threading.Event()
    connect(lambda request: asked.set())
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(invoke, "who")
        assert asked.wait(PATIENCE_S)
        connect(lambda request: (200, "second"))
        with refused_with(404) as refusal:
            call.result()
    assert code(refusal) == ("DeviceConnectionClosedRemotely", 404104)
    assert invoke("who") == (200, "second")


def test_not_answering_in_time_is_a_gateway_timeout_and_a_later_answer_none(connect, invoke):
    late = []
    client = connect(lambda request: late.append(request) if request.name == "slow" else (200, request.name))
    with refused_with(504) as refusal:
        invoke("slow", response_timeout=5)
    assert code(refusal)[1] == 504101
    client.send_method_response(MethodResponse.create_from_method_request(late[0], 200, "slow"))
    assert invoke("quick") == (200, "quick")
    assert client.connected


def test_is_called_again_after_it_left_and_came_back(connect, invoke, registry, identity):
    client = connect(lambda request: (200, "here"))
    assert invoke("any") == (200, "here")
    client.disconnect()
    until(lambda: connection_state(registry, identity.ids) == "Disconnected", "the hub sees it leave")
    with refused_with(404) as refusal:
        invoke("any")
    assert code(refusal) == ("DeviceNotOnline", 404103)
    client.connect()
    assert invoke("any", connect_timeout=PATIENCE_S) == (200, "here")


def test_what_is_not_connected_is_not_called(invoke):
    with refused_with(404) as refusal:
        invoke("any")
    assert code(refusal) == ("DeviceNotOnline", 404103)
    with refused_with(404) as refusal:
        invoke("any", connect_timeout=1)
    said = json.loads(refusal.value.response.json()["Message"])
    assert (said["errorCode"], said["info"]) == (404103, {"timeout": "00:00:01"})


def test_what_does_not_exist_is_not_called(registry, device):
    any_method = CloudToDeviceMethod(method_name="any")
    with refused_with(404) as refusal:
        registry.invoke_device_method("nobody", any_method)
    assert code(refusal) == ("DeviceNotFound", 404001)
    with refused_with(404) as refusal:
        registry.invoke_device_module_method(device.device_id, "nothing", any_method)
    assert code(refusal) == ("ModuleNotFound", 404010)


def code(refusal):
    """Name and number of the hub's error: the header, and the document that a method call has in its Message."""
    response = refusal.value.response
    return response.headers["iothub-errorcode"], json.loads(response.json()["Message"])["errorCode"]
