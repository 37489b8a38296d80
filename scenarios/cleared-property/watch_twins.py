"""The back end: prints what changes in the reported properties of all devices, until it is interrupted.

    EVENT_HUB_CONNECTION_STRING="Endpoint=sb://...;EntityPath=..." python watch_twins.py [consumer group]

It needs a route that sends twin changes to the event hub.
"""

import json
import os
import sys

from azure.eventhub import EventHubConsumerClient


def show(context, event):
    system = event.system_properties
    if system[b"iothub-message-source"] != b"twinChangeEvents":
        return
    reported = event.body_as_json().get("properties", {}).get("reported", {})
    for name, value in reported.items():
        if not name.startswith("$"):
            device = system[b"iothub-connection-device-id"].decode()
            print(f"{device}: version {reported['$version']}, {name} = {json.dumps(value)}", flush=True)


def complain(context, error):
    print(f"error reading twin changes: {error}", file=sys.stderr, flush=True)


def main(consumer_group="$Default"):
    client = EventHubConsumerClient.from_connection_string(os.environ["EVENT_HUB_CONNECTION_STRING"], consumer_group)
    with client:
        try:
            client.receive(on_event=show, on_error=complain, starting_position="-1")
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
