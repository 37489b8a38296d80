"""The story: the back end hears that a property was cleared, as an explicit null, and only by a route.

scenarios/with-emulator starts the emulator and says in the environment where it is.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import unittest
import urllib.request

HERE = pathlib.Path(__file__).parent
ADMIN = os.environ["IOTHUB_EMULATOR_ADMIN_URL"]
ENVIRONMENT = {**os.environ, "IOTHUB_CA_FILE": os.environ["IOTHUB_EMULATOR_CA"]}


class ClearedProperty(unittest.TestCase):
    def test_a_back_end_sees_the_explicit_null_of_a_cleared_property(self):
        # Nothing is routed yet: what this device reports is not heard of.
        run_device("unheard")
        put("/admin/routing", (HERE / "routing.json").read_bytes())
        watching = subprocess.Popen([sys.executable, HERE / "watch_twins.py"], env=ENVIRONMENT,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(watching.stdout.close)
        self.addCleanup(watching.kill)
        self.assertEqual(run_device("heard"), ["reported a fault", "cleared the fault", "the twin has firmware"])

        lines = [watching.stdout.readline().rstrip("\n") for _ in range(3)]
        self.assertEqual(sorted(lines[:2]), [
            'heard: version 2, fault = {"part": "fan", "code": 7}',
            'heard: version 2, firmware = "1.2.1"',
        ])
        self.assertEqual(lines[2], "heard: version 3, fault = null")
        watching.send_signal(signal.SIGINT)
        self.assertEqual(watching.wait(30), 0)
        self.assertEqual(watching.stdout.read(), "")


def run_device(name):
    """What the device says of its story; it is created first."""
    create = pathlib.Path(os.environ["IOTHUB_EMULATOR"]).with_name("create-identities")
    created = subprocess.run([create, name], env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    [connection_string] = re.findall("^Device connection string = (.*)$", created, re.MULTILINE)
    told = subprocess.run([sys.executable, HERE / "device.py", connection_string], env=ENVIRONMENT, check=True,
                          stdout=subprocess.PIPE, text=True)
    return told.stdout.splitlines()


def put(path, body):
    request = urllib.request.Request(ADMIN + path, data=body, method="PUT",
                                     headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status // 100 == 2, answer.status


if __name__ == "__main__":
    unittest.main()
