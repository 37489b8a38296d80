"""azure-iot-device over MQTT and MQTT over WebSocket, as a device and as a module, with key and certificate."""

import json
import queue

import pytest
from azure.iot.device import X509, IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from azure.iot.hub.sastoken import SasToken
from conftest import KINDS, PATIENCE_S, connection_state, connection_string, until


@pytest.fixture(params=["a key", "a certificate"])
def credential(request):
    return request.param


@pytest.fixture(params=KINDS)
def client(request, registry, owner, device_id, options, credential, self_signed, close_after):
    """A client, not connected yet, with `identity`, `kind` and the `credential_kind` the journal must name."""
    kind = request.param
    module_id = "module01" if kind == "module" else None
    if module_id:
        registry.create_device_with_sas(device_id, "", "", "enabled")
    where = (device_id, module_id) if module_id else (device_id,)

    if credential == "a key":
        identity = (registry.create_module_with_sas(*where, "", "", "") if module_id
                    else registry.create_device_with_sas(*where, "", "", "enabled"))
        client = KINDS[kind].create_from_connection_string(connection_string(owner, identity), **options)
        client.credential_kind = f"sas-{kind}-key"
    else:
        certificate, key, thumbprint = self_signed("/".join(where))
        if module_id:
            registry.create_module_with_x509(*where, "", thumbprint, thumbprint)
        else:
            registry.create_device_with_x509(*where, thumbprint, thumbprint, "enabled")
        client = KINDS[kind].create_from_x509_certificate(
            X509(certificate, key), owner["HostName"], *where, **options)
        client.credential_kind = "x509-self-signed"
    client.identity = where
    return close_after(client)


def test_connects_reads_its_twin_reports_hears_and_sends(client, registry, protocol, connects, events):
    client.connect()
    assert client.connected
    [connect] = connects(*client.identity)
    assert connect["outcome"] == "succeeded"
    assert (connect["identity"], connect["credential"], connect["protocol"]) == (
        "/".join(client.identity), client.credential_kind, protocol)

    twin = client.get_twin()
    assert twin == {"desired": {"$version": 1}, "reported": {"$version": 1}}

    patches = listen(client)
    change_desired(registry, client.identity, {"interval": 5, "nested": {"on": True}})
    assert patches.get(timeout=PATIENCE_S) == {"interval": 5, "nested": {"on": True}, "$version": 2}

    client.patch_twin_reported_properties({"battery": 0.5, "gone": None})
    reported = service_twin(registry, client.identity).properties.reported
    assert (reported["battery"], reported["$version"]) == (0.5, 2)
    assert "gone" not in reported

    message = Message('{"temperature": 21}', message_id="m-1", content_encoding="utf-8",
                      content_type="application/json")
    message.custom_properties["level"] = "critical & true"
    client.send_message(message)
    [event] = events(client.identity[0])
    assert event["systemProperties"]["messageId"] == "m-1"
    assert event["systemProperties"]["contentType"] == "application/json"
    assert event["properties"] == {"level": "critical & true"}
    assert json.loads(event["body"]) == {"temperature": 21}

    client.disconnect()
    until(lambda: connection_state(registry, client.identity) == "Disconnected", "the registry sees it leave")


def test_hears_of_a_replacement_as_the_whole_section(registry, owner, module, options, close_after):
    client = close_after(
        IoTHubModuleClient.create_from_connection_string(connection_string(owner, module), **options))
    client.connect()
    patches = listen(client)
    identity = (module.device_id, module.module_id)
    change_desired(registry, identity, {"a": 1, "b": {"c": 2, "d": 3}})
    assert patches.get(timeout=PATIENCE_S) == {"a": 1, "b": {"c": 2, "d": 3}, "$version": 2}

    registry.replace_module_twin(*identity, Twin(properties=TwinProperties(desired={"b": {"d": 4}})))
    assert patches.get(timeout=PATIENCE_S) == {"b": {"d": 4}, "$version": 3}
    assert client.get_twin()["desired"] == {"b": {"d": 4}, "$version": 3}


def test_its_subscriptions_survive_a_renewed_token(registry, owner, module, options, protocol, connects, close_after):
    # The SDK drops the connection to renew a token, comes back with CleanSession=0 and does not subscribe
    # again: what it hears afterwards, the hub remembered.
    uri = f"{owner['HostName']}/devices/{module.device_id}/modules/{module.module_id}"
    key = module.authentication.symmetric_key.primary_key
    client = close_after(IoTHubModuleClient.create_from_sastoken(str(SasToken(uri, key)), **options))
    client.connect()
    patches = listen(client)

    client.update_sastoken(str(SasToken(uri, key, ttl=7200)))

    identity = (module.device_id, module.module_id)
    until(lambda: len(connects(*identity)) == 2, "the client has reconnected")
    assert client.connected
    change_desired(registry, identity, {"after": "renewal"})
    assert patches.get(timeout=PATIENCE_S)["after"] == "renewal"


def test_what_it_subscribed_to_survives_the_token_that_the_sdk_renews(
        registry, owner, device, options, connects, close_after):
    # The SDK makes the tokens itself and renews them two minutes before they end: these every eight seconds, which
    # leaves time to subscribe before and to look after. It subscribes to nothing again.
    client = close_after(IoTHubDeviceClient.create_from_connection_string(
        connection_string(owner, device), sastoken_ttl=128, **options))
    client.connect()
    patches, messages = listen(client), queue.Queue()
    client.on_message_received = messages.put
    client.on_method_request_received = lambda request: client.send_method_response(
        MethodResponse.create_from_method_request(request, 200, request.name))
    assert len(connects(device.device_id)) == 1
    until(lambda: len(connects(device.device_id)) == 2, "the client has reconnected")

    change_desired(registry, (device.device_id,), {"after": "renewal"})
    assert patches.get(timeout=PATIENCE_S)["after"] == "renewal"
    registry.send_c2d_message(device.device_id, "after the renewal")
    assert messages.get(timeout=PATIENCE_S).data == b"after the renewal"
    method = CloudToDeviceMethod(method_name="after", connect_timeout_in_seconds=PATIENCE_S)
    assert registry.invoke_device_method(device.device_id, method).payload == "after"


def test_its_subscriptions_survive_a_disconnect(registry, owner, module, options, close_after):
    client = close_after(
        IoTHubModuleClient.create_from_connection_string(connection_string(owner, module), **options))
    client.connect()
    patches = listen(client)
    client.disconnect()

    client.connect()

    change_desired(registry, (module.device_id, module.module_id), {"after": "reconnect"})
    assert patches.get(timeout=PATIENCE_S)["after"] == "reconnect"


def test_a_wrong_key_is_refused(registry, owner, module, options, connects, close_after):
    module.authentication.symmetric_key.primary_key = "bm90IHRoZSBrZXkgb2YgdGhpcyBtb2R1bGU="
    client = close_after(
        IoTHubModuleClient.create_from_connection_string(connection_string(owner, module), **options))
    with pytest.raises(CredentialError):
        client.connect()
    assert connection_state(registry, (module.device_id, module.module_id)) == "Disconnected"
    assert all(entry["outcome"] != "succeeded" for entry in connects(module.device_id, module.module_id))


def test_a_module_is_not_served_with_its_device_key(registry, owner, device, module, options, close_after):
    module.authentication.symmetric_key.primary_key = device.authentication.symmetric_key.primary_key
    client = close_after(
        IoTHubModuleClient.create_from_connection_string(connection_string(owner, module), **options))
    with pytest.raises(CredentialError):
        client.connect()


def listen(client):
    """Subscribes to desired properties; what arrives is put into the queue returned."""
    patches = queue.Queue()
    client.on_twin_desired_properties_patch_received = patches.put
    return patches


def change_desired(registry, identity, desired):
    patch = Twin(properties=TwinProperties(desired=desired))
    (registry.update_module_twin if len(identity) == 2 else registry.update_twin)(*identity, patch)


def service_twin(registry, identity):
    return (registry.get_module_twin if len(identity) == 2 else registry.get_twin)(*identity)
