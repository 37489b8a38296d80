"""What every Python test is given: the hub's address and keys, a registry, fresh identities, the admin API.

scenarios/with-emulator starts the emulator and says in the environment where it is.
"""

import json
import os
import random
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from contextlib import contextmanager

import pytest
from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient

# Longest wait for something that must happen; a busy machine needs seconds, a broken hub never answers.
PATIENCE_S = 30

PROTOCOLS = {"mqtt": False, "mqtt-ws": True}
KINDS = {"device": IoTHubDeviceClient, "module": IoTHubModuleClient}

# azure-iot-hub speaks through requests, which takes its trust anchors from here.
os.environ["REQUESTS_CA_BUNDLE"] = os.environ["IOTHUB_EMULATOR_CA"]
# And through uamqp, whose OpenSSL takes them from here.
os.environ["SSL_CERT_FILE"] = os.environ["IOTHUB_EMULATOR_CA"]

from azure.iot.hub import IoTHubRegistryManager  # noqa: E402  (reads the variable above)
from msrest.exceptions import HttpOperationError  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds to the report of a failure what the hub said, which the SDK's error keeps to itself."""
    report = (yield).get_result()
    error = call.excinfo.value if call.excinfo else None
    if report.failed and isinstance(error, HttpOperationError):
        report.sections.append(("the hub's answer", error.response.text))


@pytest.fixture(scope="session")
def owner():
    """The parts of the connection string of the policy iothubowner."""
    return parse(os.environ["IOTHUB_CONNECTION_STRING"])


@pytest.fixture(scope="session")
def root_certificate():
    """The emulator's root certificate as PEM text."""
    with open(os.environ["IOTHUB_EMULATOR_CA"], encoding="ascii") as file:
        return file.read()


@pytest.fixture(scope="session")
def registry():
    """A registry manager with every right."""
    return IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])


@pytest.fixture
def own_hub(tmp_path):
    """Starts a hub that only this test uses, with `options`, beside the shared one: on a loopback address of its own,
    with the root certificate that this process trusts. What is returned is its owner's connection string."""
    hubs = []

    def start(*options):
        state = tmp_path / f"hub-{len(hubs)}"
        shutil.copytree(os.environ["IOTHUB_EMULATOR_STATE_DIR"], state)
        address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        hub = subprocess.Popen(
            [os.environ["IOTHUB_EMULATOR"], "serve", "--bind", address, "--state-dir", str(state), *options],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        hubs.append(hub)
        for line in hub.stdout:
            if line.strip().startswith("HostName="):
                return line.strip()
        raise AssertionError(f"the hub at {address} ended before it was ready")

    yield start
    for hub in hubs:
        hub.terminate()
        hub.communicate()


@pytest.fixture
def device_id():
    """The name of a device no other test knows."""
    return f"python-{uuid.uuid4()}"


@pytest.fixture
def device(registry, device_id):
    """A fresh device with generated keys."""
    return registry.create_device_with_sas(device_id, "", "", "enabled")


@pytest.fixture
def module(registry, device):
    """A fresh module with generated keys on a fresh device."""
    return registry.create_module_with_sas(device.device_id, "module01", "", "", "")


class Sender:
    """A connected device and its texts."""

    def __init__(self, client, device_id):
        self.client, self.device_id = client, device_id

    def send(self, *bodies):
        for body in bodies:
            self.client.send_message(body)


@pytest.fixture
def new_sender(registry, owner, root_certificate, close_after):
    """Connects a fresh device over MQTT."""

    def make():
        device = registry.create_device_with_sas(f"python-{uuid.uuid4()}", "", "", "enabled")
        client = close_after(IoTHubDeviceClient.create_from_connection_string(
            connection_string(owner, device), server_verification_cert=root_certificate))
        client.connect()
        return Sender(client, device.device_id)

    return make


@pytest.fixture
def sender(new_sender):
    return new_sender()


@pytest.fixture
def events():
    """What the built-in event hub holds of a device, newest first."""
    return lambda device_id: admin("/admin/events", device=device_id)


@pytest.fixture
def connects():
    """What the journal holds of an identity's attempts to connect, newest first."""

    def of(device_id, module_id=None):
        entries = admin("/admin/journal", device=device_id, **({"module": module_id} if module_id else {}))
        return [entry for entry in entries if entry["operation"] == "Connect"]

    return of


@pytest.fixture
def self_signed(tmp_path):
    """Makes a self-signed certificate: the paths of certificate and key, and the thumbprint."""

    def make(common_name):
        certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
        subject = "/CN=" + common_name.replace("/", "\\/")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                "-days", "30", "-subj", subject)
        fingerprint = openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256")
        return certificate, key, fingerprint.strip().split("=")[1].replace(":", "")

    return make


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    """The name of a transport of azure-iot-device, as the journal has it."""
    return request.param


@pytest.fixture
def options(protocol, root_certificate):
    """What a client of azure-iot-device is made with."""
    return {
        "server_verification_cert": root_certificate,
        "websockets": PROTOCOLS[protocol],
        # Or the SDK makes up for a lost subscription by reading the twin after each connect.
        "ensure_desired_properties": False,
        # A test that meets a lost connection fails on it instead of waiting for the SDK's next attempt.
        "connection_retry": False,
    }


@pytest.fixture
def close_after():
    """Shuts the clients down that a test made, the SDK's threads with them."""
    clients = []
    yield lambda client: clients.append(client) or client
    for client in clients:
        client.shutdown()


def parse(connection_string):
    return dict(part.split("=", 1) for part in connection_string.split(";"))


def connection_string(owner, identity):
    """The connection string of a device or module with its primary key."""
    module = f"ModuleId={identity.module_id};" if getattr(identity, "module_id", None) else ""
    key = identity.authentication.symmetric_key.primary_key
    return f"HostName={owner['HostName']};DeviceId={identity.device_id};{module}SharedAccessKey={key}"


def connection_state(registry, identity):
    """Connected or Disconnected, of a device or of a module on one."""
    return (registry.get_module if len(identity) == 2 else registry.get_device)(*identity).connection_state


@contextmanager
def refused_with(status):
    """Expects the hub to answer with this status; what is bound has the response, and says what the hub said."""
    with pytest.raises(HttpOperationError) as refusal:
        yield refusal
    assert refusal.value.response.status_code == status, refusal.value.response.text


def until(observed, what):
    """Asks `observed` until it returns something true, and returns that."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = observed()
        if value:
            return value
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")


def admin(path, method="GET", **query):
    """What the admin API answers, if it answers with something."""
    url = f"{os.environ['IOTHUB_EMULATOR_ADMIN_URL']}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as response:
        text = response.read()
        return json.loads(text) if text else None


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout
