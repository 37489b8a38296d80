"""Registers what the requests are about, and prints a service token that is good for an hour.

IOTHUB_CONNECTION_STRING and IOTHUB_EMULATOR_CA come from scenarios/with-emulator."""

import base64
import hashlib
import hmac
import json
import os
import ssl
import time
import urllib.parse
import urllib.request

import hooks

fields = dict(field.split("=", 1) for field in os.environ["IOTHUB_CONNECTION_STRING"].split(";"))
host, policy = fields["HostName"], fields["SharedAccessKeyName"]


def token():
    resource, expiry = urllib.parse.quote_plus(host), int(time.time()) + 3600
    key = base64.b64decode(fields["SharedAccessKey"])
    digest = hmac.digest(key, f"{resource}\n{expiry}".encode(), hashlib.sha256)
    signature = urllib.parse.quote_plus(base64.b64encode(digest))
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}"


def put(path, body):
    request = urllib.request.Request(
        f"https://{host}{path}?api-version=2021-04-12",
        data=json.dumps(body).encode(),
        headers={"Authorization": token(), "Content-Type": "application/json"},
        method="PUT",
    )
    tls = ssl.create_default_context(cafile=os.environ["IOTHUB_EMULATOR_CA"])
    urllib.request.urlopen(request, context=tls).close()


for device in hooks.IDS["device"]:
    path = "/devices/" + urllib.parse.quote(device, safe="")
    # An edge device: the hub adds the system modules.
    put(path, {"deviceId": device, "capabilities": {"iotEdge": True}})
    for module in hooks.IDS["module"]:
        if not module.startswith("$"):
            put(f"{path}/modules/{module}", {"deviceId": device, "moduleId": module})

print(token())
