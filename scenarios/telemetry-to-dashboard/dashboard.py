"""The back end: shows the readings of all devices as they come, until it is interrupted. Every fifth of a device is a
checkpoint: started again, it goes on behind the last one.

    EVENT_HUB_CONNECTION_STRING="Endpoint=sb://...;EntityPath=..." \\
        python dashboard.py <consumer group> <file for checkpoints>
"""

import os
import sys

from azure.eventhub import EventHubConsumerClient
from file_checkpoint_store import FileCheckpointStore

CHECKPOINT_EVERY = 5


def show(context, event):
    reading = event.body_as_json()
    number, temperature = reading["number"], reading["temperature"]
    device = event.system_properties[b"iothub-connection-device-id"].decode()
    alert = " (too hot)" if event.properties[b"temperatureAlert"] == b"true" else ""
    print(f"{device}: reading {number}, {temperature} °C{alert}", flush=True)
    if number % CHECKPOINT_EVERY == 0:
        context.update_checkpoint(event)
        print(f"checkpoint at reading {number}", flush=True)


def complain(context, error):
    print(f"error reading telemetry: {error}", file=sys.stderr, flush=True)


def main(consumer_group, file):
    client = EventHubConsumerClient.from_connection_string(
        os.environ["EVENT_HUB_CONNECTION_STRING"], consumer_group, checkpoint_store=FileCheckpointStore(file))
    with client:
        try:
            client.receive(on_event=show, on_error=complain, starting_position="-1")
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
