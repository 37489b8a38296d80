"""The device: sends the readings of a thermostat, and leaves.

    python device.py "<device connection string>" [count] [number of the first]

IOTHUB_CA_FILE names a root certificate to trust beside those the SDK has.
"""

import json
import os
import sys

from azure.iot.device import IoTHubDeviceClient, Message


def main(connection_string, count="10", first="1"):
    trust = {}
    if ca_file := os.environ.get("IOTHUB_CA_FILE"):
        with open(ca_file, encoding="ascii") as file:
            trust["server_verification_cert"] = file.read()
    client = IoTHubDeviceClient.create_from_connection_string(connection_string, **trust)
    client.connect()
    for number in range(int(first), int(first) + int(count)):
        temperature = 20 + number % 15
        message = Message(json.dumps({"number": number, "temperature": temperature}))
        message.content_type = "application/json"
        message.content_encoding = "utf-8"
        message.custom_properties["temperatureAlert"] = str(temperature > 30).lower()
        client.send_message(message)
        print(f"sent reading {number}", flush=True)
    client.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
