"""azure-iot-hub's registry manager: identities, twins, and the ETags that guard them."""

import base64

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import Twin, TwinProperties
from conftest import admin, connection_string, refused_with

WRONG_ETAG = "bm90IHRoaXMgb25l"


def desired(**properties):
    return Twin(properties=TwinProperties(desired=properties))


def test_a_device_is_created_read_updated_listed_and_deleted(registry, device_id):
    created = registry.create_device_with_sas(device_id, "", "", "enabled")
    assert created.device_id == device_id
    assert created.connection_state == "Disconnected"
    key = created.authentication.symmetric_key.primary_key
    assert registry.get_device(device_id).authentication.symmetric_key.primary_key == key

    keys = ("c2l4dGVlbiBieXRlcyBsb25n", "YW5vdGhlciBrZXkgb2YgaXQ=")
    updated = registry.update_device_with_sas(device_id, created.etag, *keys, "disabled", status_reason="tested")
    assert updated.status == "disabled"
    assert updated.status_reason == "tested"
    assert updated.authentication.symmetric_key.primary_key == keys[0]
    assert updated.etag != created.etag
    assert updated.generation_id == created.generation_id

    assert device_id in [each.device_id for each in registry.get_devices()]
    assert len(registry.get_devices(1)) == 1

    registry.delete_device(device_id)
    with refused_with(404):
        registry.get_device(device_id)


def test_creating_a_device_twice_conflicts_and_changes_nothing(registry, device):
    with refused_with(409) as conflict:
        registry.create_device_with_sas(device.device_id, "", "", "enabled")
    assert conflict.value.response.headers["iothub-errorcode"] == "DeviceAlreadyExists"
    assert registry.get_device(device.device_id).etag == device.etag


def test_a_stale_etag_changes_no_device(registry, device):
    with refused_with(412):
        registry.update_device_with_sas(device.device_id, WRONG_ETAG, "", "", "disabled")
    with refused_with(412):
        registry.delete_device(device.device_id, etag=WRONG_ETAG)
    assert registry.get_device(device.device_id).status == "enabled"
    registry.delete_device(device.device_id, etag=device.etag)


@pytest.mark.parametrize("length", [16, 64])
def test_a_key_of_legal_length_is_kept(registry, device_id, length):
    key = base64.b64encode(bytes(length)).decode()
    registry.create_device_with_sas(device_id, key, key, "enabled")
    assert registry.get_device(device_id).authentication.symmetric_key.primary_key == key


@pytest.mark.parametrize("key", [base64.b64encode(bytes(15)).decode(), base64.b64encode(bytes(65)).decode(), "?"])
def test_a_key_that_is_none_is_refused(registry, device_id, key):
    with refused_with(400) as refusal:
        registry.create_device_with_sas(device_id, key, key, "enabled")
    assert refusal.value.response.headers["iothub-errorcode"] == "ArgumentInvalid"
    with refused_with(404):
        registry.get_device(device_id)


@pytest.mark.parametrize("protocol", ["mqtt"])
def test_empty_keys_are_made_anew_and_the_old_ones_open_nothing(registry, owner, device, options, close_after):
    def connect(identity):
        client = close_after(IoTHubDeviceClient.create_from_connection_string(
            connection_string(owner, identity), **options))
        client.connect()

    old = device.authentication.symmetric_key
    renewed = registry.update_device_with_sas(device.device_id, device.etag, "", "", "enabled")
    new = renewed.authentication.symmetric_key
    assert len({old.primary_key, old.secondary_key, new.primary_key, new.secondary_key}) == 4
    with pytest.raises(CredentialError):
        connect(device)
    connect(renewed)


def test_an_authority_stands_in_place_of_keys_for_devices_and_modules(registry, device_id):
    created = registry.create_device_with_certificate_authority(device_id, "enabled")
    module = registry.create_module_with_certificate_authority(device_id, "module01", "")
    for identity in (created, module):
        assert identity.authentication.type == "certificateAuthority"
        assert identity.authentication.symmetric_key.primary_key is None
    keyed = registry.update_device_with_sas(device_id, created.etag, "", "", "enabled")
    assert len(base64.b64decode(keyed.authentication.symmetric_key.primary_key)) == 32
    back = registry.update_device_with_certificate_authority(device_id, keyed.etag, "enabled")
    assert back.authentication.symmetric_key.primary_key is None


def test_a_module_is_created_read_updated_listed_and_deleted(registry, device):
    created = registry.create_module_with_sas(device.device_id, "module01", "", "", "")
    assert (created.device_id, created.module_id) == (device.device_id, "module01")
    assert registry.get_module(device.device_id, "module01").etag == created.etag
    assert [each.module_id for each in registry.get_modules(device.device_id)] == ["module01"]

    updated = registry.update_module_with_x509(
        device.device_id, "module01", "", created.etag, "A" * 40, "B" * 40)
    assert updated.authentication.type == "selfSigned"
    assert updated.authentication.x509_thumbprint.primary_thumbprint == "A" * 40
    assert updated.authentication.symmetric_key.primary_key is None

    with refused_with(412):
        registry.delete_module(device.device_id, "module01", etag=created.etag)
    registry.delete_module(device.device_id, "module01", etag=updated.etag)
    assert registry.get_modules(device.device_id) == []
    with refused_with(404):
        registry.get_module(device.device_id, "module01")


def test_deleting_a_device_takes_its_modules(registry, module):
    registry.delete_device(module.device_id)
    registry.create_device_with_sas(module.device_id, "", "", "enabled")
    assert registry.get_modules(module.device_id) == []


def test_a_module_needs_its_device(registry, device_id):
    with refused_with(404) as refusal:
        registry.create_module_with_sas(device_id, "module01", "", "", "")
    assert refusal.value.response.headers["iothub-errorcode"] == "DeviceNotFound"


def test_a_twin_is_read_merged_and_replaced(registry, device_id, device):
    twin = registry.get_twin(device_id)
    assert twin.properties.desired["$version"] == 1

    merged = registry.update_twin(
        device_id, Twin(tags={"room": "lab"}, properties=TwinProperties(desired={"a": 1, "b": {"c": 2}})), twin.etag)
    assert merged.tags == {"room": "lab"}
    assert merged.properties.desired["$version"] == 2
    merged = registry.update_twin(device_id, desired(b={"c": None, "d": 3}))
    assert merged.properties.desired["b"] == {"d": 3}
    assert merged.properties.desired["a"] == 1

    replaced = registry.replace_twin(device_id, desired(only=True), merged.etag)
    assert {name for name in replaced.properties.desired if not name.startswith("$")} == {"only"}
    assert replaced.properties.desired["$version"] == 4
    assert replaced.tags == {"room": "lab"}


def test_a_stale_etag_changes_no_twin(registry, device_id, device):
    stale = registry.get_twin(device_id).etag
    registry.update_twin(device_id, desired(a=1), stale)
    for write in (registry.update_twin, registry.replace_twin):
        with refused_with(412):
            write(device_id, desired(a=2), stale)
    assert registry.get_twin(device_id).properties.desired["a"] == 1


def test_an_array_is_a_value_and_holds_no_null(registry, device_id, device):
    items = [1, "two", {"three": [3]}]
    first = registry.update_twin(device_id, Twin(tags={"list": items}, properties=TwinProperties(
        desired={"list": items})))
    assert (first.tags["list"], first.properties.desired["list"]) == (items, items)
    second = registry.update_twin(device_id, desired(list=[]))
    assert second.properties.desired["list"] == []
    for bad in ([None], [{"a": None}]):
        with refused_with(400) as refusal:
            registry.update_twin(device_id, desired(list=bad))
        assert refusal.value.response.headers["iothub-errorcode"] == "ArgumentInvalid"
    assert registry.get_twin(device_id).etag == second.etag


def test_a_twin_past_its_limits_is_refused_and_unchanged(registry, device_id, device):
    def nested(levels):
        return {"property": 1} if levels == 0 else {"level": nested(levels - 1)}

    at_limit = registry.update_twin(device_id, desired(text="x" * 4096, deep=nested(9), whole=2**52 - 1))
    for beyond in ({"text": "x" * 4097}, {"deep": nested(10)}, {"whole": 2**52}, {"with space": 1}, {"a.b": 1},
                   {"k" * 1025: 1}, {str(number): "x" * 4095 for number in range(8)}):
        with refused_with(400) as refusal:
            registry.update_twin(device_id, desired(**beyond))
        assert refusal.value.response.headers["iothub-errorcode"] == "ArgumentInvalid"
    assert registry.get_twin(device_id).version == at_limit.version


def test_a_module_twin_is_read_merged_and_replaced(registry, module):
    ids = (module.device_id, module.module_id)
    twin = registry.get_module_twin(*ids)
    assert twin.module_id == module.module_id

    merged = registry.update_module_twin(*ids, desired(a={"b": 1}), twin.etag)
    assert merged.properties.desired["a"] == {"b": 1}
    with refused_with(412):
        registry.update_module_twin(*ids, desired(a=None), twin.etag)
    replaced = registry.replace_module_twin(*ids, desired(c=[1, 2]), merged.etag)
    assert replaced.properties.desired["c"] == [1, 2]
    assert "a" not in replaced.properties.desired
    assert registry.get_twin(module.device_id).properties.desired["$version"] == 1


def test_a_reader_of_the_registry_is_refused_to_write(registry, device):
    reader = IoTHubRegistryManager.from_connection_string(admin("/connection-strings")["policies"]["registryRead"])
    assert reader.get_device(device.device_id).device_id == device.device_id
    with refused_with(401) as refusal:
        reader.delete_device(device.device_id)
    assert refusal.value.response.headers["iothub-errorcode"] == "IotHubUnauthorizedAccess"
    registry.get_device(device.device_id)
