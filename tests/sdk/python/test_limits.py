"""What azure-iot-hub makes of a hub that lacks a feature or keeps its callers to a rate, each a hub of its own."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, ExportImportDevice, Twin
from conftest import refused_with
from msrest.exceptions import HttpOperationError


def test_a_hub_of_the_basic_tier_has_devices_but_no_twins_modules_and_methods(own_hub):
    registry = IoTHubRegistryManager.from_connection_string(own_hub("--tier", "basic"))
    assert registry.create_device_with_sas("basic", "", "", "enabled").device_id == "basic"
    assert registry.get_device_registry_statistics().total_device_count == 1
    for call in (lambda: registry.get_twin("basic"),
                 lambda: registry.update_twin("basic", Twin(tags={"a": 1})),
                 lambda: registry.create_module_with_sas("basic", "module01", "", "", ""),
                 lambda: registry.invoke_device_method("basic", CloudToDeviceMethod(method_name="any")),
                 lambda: registry.create_device_with_sas("edge", "", "", "enabled", iot_edge=True)):
        with refused_with(403) as refusal:
            call()
        assert refusal.value.response.headers["iothub-errorcode"] == "OperationNotAvailableInCurrentTier"
    with pytest.raises(Exception, match="not available in the basic tier"):
        registry.send_c2d_message("basic", "lost")


def test_a_hub_that_throttles_says_after_which_time_to_come_again(own_hub):
    # The SDK itself comes again with what it may repeat, after the time it was told; not with a POST.
    registry = IoTHubRegistryManager.from_connection_string(own_hub("--throttling"))

    def bulk(number):
        try:
            row = ExportImportDevice(id=f"device-{number}", import_mode="create")
            return registry.bulk_create_or_update_devices([row])
        except HttpOperationError as error:
            return error

    with ThreadPoolExecutor(40) as callers:
        outcomes = list(callers.map(bulk, range(200)))
    refusals = [outcome.response for outcome in outcomes if isinstance(outcome, HttpOperationError)]
    assert 0 < len(refusals) < 200
    for response in refusals:
        assert response.status_code == 429
        assert response.headers["iothub-errorcode"] == "ThrottlingException"
        assert int(response.headers["Retry-After"]) >= 1
