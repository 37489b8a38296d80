"""Opens, attaches and closes with the pure-Python AMQP stack inside azure-eventhub, which reads frames by position.

Usage: pyamqp_session.py HOST PORT. Ends with "ok" and exit code 0 when no frame was too short for it.
"""

import sys
import time

from azure.eventhub._pyamqp import Connection
from azure.eventhub._pyamqp.constants import LinkState, SessionState, ConnectionState
from azure.eventhub._pyamqp._transport import SSLTransport
from azure.eventhub._pyamqp.sasl import SASLAnonymousCredential


class NoSaslTransport(SSLTransport):
    """The AMQP header at once, as most IoT Hub SDKs send it; the stack itself would negotiate AMQP's own TLS."""

    def negotiate(self):
        pass


def until(connection, reached, what):
    deadline = time.monotonic() + 10
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        connection.listen(wait=0.05)


def converse(host, port, **options):
    connection = Connection(f"amqp://{host}:{port}", container_id="pyamqp", use_tls=False, **options)
    connection.open(wait=True)
    until(connection, lambda: connection.state == ConnectionState.OPENED, "open")
    session = connection.create_session()
    session.begin()
    until(connection, lambda: session.state == SessionState.MAPPED, "begin")

    sender = session.create_sender_link("$cbs")
    sender.attach()
    receiver = session.create_receiver_link("$cbs", on_transfer=lambda frame, message: None)
    receiver.attach()
    for link in (sender, receiver):
        until(connection, lambda: link.state == LinkState.ATTACHED, "attach")
    until(connection, lambda: sender.current_link_credit > 0, "credit")

    for link in (sender, receiver):
        link.detach(close=True)
        until(connection, lambda: link.state == LinkState.DETACHED, "detach")
    session.end()
    until(connection, lambda: session.state == SessionState.UNMAPPED, "end")
    connection.close()
    until(connection, lambda: connection.state == ConnectionState.END, "close")
    if connection._error is not None:
        raise connection._error


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    converse(host, port, transport=NoSaslTransport(host, port=port, use_tls=False))
    converse(host, port, sasl_credential=SASLAnonymousCredential())
    print("ok")


if __name__ == "__main__":
    main()
