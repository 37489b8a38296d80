"""The device: reports a fault in its twin, and clears it again.

    python device.py "<device connection string>"

None removes a reported property. IOTHUB_CA_FILE names a root certificate to trust beside those the SDK has.
"""

import os
import sys

from azure.iot.device import IoTHubDeviceClient


def main(connection_string):
    trust = {}
    if ca_file := os.environ.get("IOTHUB_CA_FILE"):
        with open(ca_file, encoding="ascii") as file:
            trust["server_verification_cert"] = file.read()
    client = IoTHubDeviceClient.create_from_connection_string(connection_string, **trust)
    client.connect()
    client.patch_twin_reported_properties({"firmware": "1.2.1", "fault": {"part": "fan", "code": 7}})
    print("reported a fault", flush=True)
    client.patch_twin_reported_properties({"fault": None})
    print("cleared the fault", flush=True)
    reported = client.get_twin()["reported"]
    print("the twin has", ", ".join(sorted(name for name in reported if not name.startswith("$"))), flush=True)
    client.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
