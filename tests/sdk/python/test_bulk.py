"""azure-iot-hub's registry manager: many identities at once, statistics, edge devices and their scopes."""

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.hub.models import (
    AuthenticationMechanism, DeviceCapabilities, ExportImportDevice, PropertyContainer, SymmetricKey)
from conftest import connection_string, refused_with, until


@pytest.fixture
def bulk(registry):
    """Calls with one row for each set of fields; what of the result differs from success is returned."""

    def call(*rows):
        result = registry.bulk_create_or_update_devices([ExportImportDevice(**row) for row in rows])
        assert result.is_successful == (not result.errors)
        assert result.warnings == []
        return [(error.device_id, int(error.error_code)) for error in result.errors]

    return call


def test_devices_are_created_updated_and_deleted_in_one_call(registry, bulk, device_id, device):
    # The deletion of one and the creation of another, told from the modes of the rows alone.
    assert bulk({"id": device_id + "-new", "import_mode": "create", "status": "disabled", "status_reason": "tested"},
                {"id": device.device_id, "import_mode": "delete"}) == []
    created = registry.get_device(device_id + "-new")
    assert (created.status, created.status_reason) == ("disabled", "tested")
    with refused_with(404):
        registry.get_device(device.device_id)

    assert bulk({"id": created.device_id, "import_mode": "update", "status": "enabled"}) == []
    assert registry.get_device(created.device_id).status == "enabled"


def test_a_device_is_created_with_its_twin_and_its_module(registry, bulk, device_id):
    key = SymmetricKey(primary_key="c2l4dGVlbiBieXRlcyBsb25n", secondary_key="YW5vdGhlciBrZXkgb2YgaXQ=")
    assert bulk({"id": device_id, "import_mode": "create", "tags": {"room": "lab"},
                 "authentication": AuthenticationMechanism(type="sas", symmetric_key=key),
                 "properties": PropertyContainer(desired={"interval": 5})}) == []
    assert registry.get_device(device_id).authentication.symmetric_key.primary_key == key.primary_key
    twin = registry.get_twin(device_id)
    assert (twin.tags, twin.properties.desired["interval"]) == ({"room": "lab"}, 5)

    assert bulk({"id": device_id, "module_id": "module01", "import_mode": "create"}) == []
    assert [module.module_id for module in registry.get_modules(device_id)] == ["module01"]


def test_a_row_that_fails_is_named_and_the_others_are_done(registry, bulk, device_id, device):
    errors = bulk({"id": device_id + "-1", "import_mode": "create"}, {"id": device.device_id, "import_mode": "create"},
                  {"id": device_id + "-2", "import_mode": "delete"}, {"id": device_id + "-3", "import_mode": "create"})
    assert errors == [(device.device_id, 409001), (device_id + "-2", 404001)]
    registry.get_device(device_id + "-1")
    registry.get_device(device_id + "-3")
    assert registry.get_device(device.device_id).etag == device.etag


def test_only_the_current_etag_updates_and_deletes(registry, bulk, device):
    stale = device.etag
    row = {"id": device.device_id, "e_tag": stale}
    assert bulk({**row, "import_mode": "updateIfMatchETag", "status": "disabled"}) == []
    current = registry.get_device(device.device_id)
    assert current.status == "disabled"

    for mode in ("updateIfMatchETag", "deleteIfMatchETag"):
        assert bulk({**row, "import_mode": mode}) == [(device.device_id, 412001)]
    assert registry.get_device(device.device_id).etag == current.etag
    assert bulk({"id": device.device_id, "import_mode": "deleteIfMatchETag", "e_tag": current.etag}) == []


def test_only_the_current_twin_etag_updates_a_twin(registry, bulk, device):
    stale = registry.get_twin(device.device_id).etag
    row = {"id": device.device_id, "import_mode": "updateTwinIfMatchETag", "twin_etag": stale}
    assert bulk({**row, "tags": {"room": "lab"}}) == []
    assert bulk({**row, "tags": {"room": "hall"}}) == [(device.device_id, 412001)]
    assert registry.get_twin(device.device_id).tags == {"room": "lab"}
    assert bulk({"id": device.device_id, "import_mode": "updateTwin", "tags": {"room": "hall"}}) == []
    assert registry.get_twin(device.device_id).tags == {"room": "hall"}
    assert registry.get_device(device.device_id).etag == device.etag


def test_a_hundred_rows_are_done_and_one_more_is_too_many(registry, bulk, device_id):
    rows = [{"id": f"{device_id}-{number}", "import_mode": "create"} for number in range(101)]
    with refused_with(413) as refusal:
        bulk(*rows)
    assert refusal.value.response.headers["iothub-errorcode"] == "TooManyDevices"
    with refused_with(404):
        registry.get_device(rows[0]["id"])
    assert bulk(*rows[:100]) == []
    assert bulk(*({**row, "import_mode": "delete"} for row in rows[:100])) == []


def test_the_statistics_count_every_device_at_once(registry, device_id):
    def counts():
        now = registry.get_device_registry_statistics()
        return now.total_device_count, now.enabled_device_count, now.disabled_device_count

    total, enabled, disabled = counts()
    registry.create_device_with_sas(device_id + "-1", "", "", "enabled")
    registry.create_device_with_sas(device_id + "-2", "", "", "disabled")
    assert counts() == (total + 2, enabled + 1, disabled + 1)
    registry.delete_device(device_id + "-1")
    assert counts() == (total + 1, enabled, disabled + 1)


@pytest.mark.parametrize("protocol", ["mqtt"])
def test_the_service_statistics_count_connected_devices(registry, owner, device, options, close_after):
    def connected():
        return registry.get_service_statistics().connected_device_count

    until(lambda: connected() == 0, "the hub sees the clients of other tests leave")
    client = close_after(IoTHubDeviceClient.create_from_connection_string(connection_string(owner, device), **options))
    client.connect()
    assert connected() == 1
    client.disconnect()
    until(lambda: connected() == 0, "the hub sees it leave")


def test_an_edge_device_has_a_scope_its_modules_and_children(registry, device_id):
    edge = registry.create_device_with_sas(device_id, "", "", "enabled", iot_edge=True)
    assert edge.device_scope.startswith(f"ms-azure-iot-edge://{device_id}-")
    assert {module.module_id for module in registry.get_modules(device_id)} == {"$edgeAgent", "$edgeHub"}

    leaf = registry.create_device_with_sas(device_id + "-leaf", "", "", "enabled", device_scope=edge.device_scope)
    assert leaf.parent_scopes == [edge.device_scope]
    nested = registry.create_device_with_sas(
        device_id + "-nested", "", "", "enabled", iot_edge=True, parent_scopes=edge.device_scope)
    assert nested.parent_scopes == [edge.device_scope]
    assert nested.device_scope != edge.device_scope


def test_a_scope_of_no_edge_device_is_refused(registry, device_id, device):
    with refused_with(400) as refusal:
        registry.create_device_with_sas(
            device_id + "-leaf", "", "", "enabled", device_scope=f"ms-azure-iot-edge://{device.device_id}-1")
    assert refusal.value.response.headers["iothub-errorcode"] == "InvalidDeviceScope"


def test_a_device_made_an_edge_device_in_bulk_has_its_modules(registry, bulk, device):
    edge = DeviceCapabilities(iot_edge=True)
    assert bulk({"id": device.device_id, "import_mode": "update", "capabilities": edge}) == []
    assert registry.get_device(device.device_id).capabilities.iot_edge
    assert len(registry.get_modules(device.device_id)) == 2
