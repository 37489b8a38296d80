"""The lines that the README gives for reading telemetry do what it says."""

import pathlib
import re
import subprocess
import sys
import threading
import time

from conftest import PATIENCE_S


def test_the_lines_of_the_readme_print_what_a_device_sends(sender):
    readme = (pathlib.Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"`azure-eventhub`:\n\n```python\n(.*?)```", readme, re.DOTALL)[1]
    # From the beginning there is much to read, of what other tests have sent. The hub reads on after the millisecond it
    # is told, and what is sent now may still be of this one.
    begin = f"datetime.datetime.fromtimestamp({time.time() - 1}, datetime.timezone.utc)"
    lines = "import datetime\n" + lines.replace('"-1"', begin)
    sender.send("hello")
    program = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True)
    too_late = threading.Timer(PATIENCE_S, program.kill)
    too_late.start()
    try:
        assert f"{sender.device_id} b'hello'\n" in program.stdout
    finally:
        too_late.cancel()
        program.kill()
        program.wait()
        program.stdout.close()
