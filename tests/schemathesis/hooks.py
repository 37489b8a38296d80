"""Lets generated requests meet: a few ids, repeated in the body as the API wants them, so that one request finds
what another made. Requests that shall be refused stay as they were generated."""

import urllib.parse
import zlib

import schemathesis

IDS = {"device": ["d", "edge-1", "x:.+%_#*?!(),=@;$'"], "module": ["m", "$edgeAgent"]}
# What is deleted is made anew by a matching PUT only, so deletes leave the rest alone.
DELETED = {"device": "x:.+%_#*?!(),=@;$'", "module": "m"}


def chosen(method, name, generated):
    """One of few, the same for the same generated id; and somebody whom no PUT makes, to be looked for in vain."""
    if method == "DELETE":
        return DELETED[name]
    ids = IDS[name] if method == "PUT" else [*IDS[name], "nobody"]
    return ids[zlib.crc32(str(generated).encode("utf-8", "replace")) % len(ids)]


@schemathesis.hook
def before_call(context, case, kwargs):
    generated = case.path_parameters or {}
    if isinstance(case.body, dict):
        case.body = impatient(case.body)
    if not case.meta.generation.mode.is_positive:
        return
    ids = {name: chosen(case.method, name, generated[name]) for name in IDS if name in generated}
    encoded = {name: urllib.parse.quote(value, safe="") for name, value in ids.items()}
    case.path_parameters = {**generated, **encoded}
    if isinstance(case.body, dict):
        repeated = {name + "Id": value for name, value in ids.items() if name + "Id" in case.body}
        case.body = {**case.body, **repeated}


def impatient(body):
    """No method waits for a device: none ever connects here."""
    secs = body.get("connectTimeoutInSeconds")
    waits = isinstance(secs, int) and not isinstance(secs, bool) and 1 <= secs <= 300
    return {**body, "connectTimeoutInSeconds": 0} if waits else body
