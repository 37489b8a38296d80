"""The pure Python AMQP stack inside azure-eventhub, against the hub's connection layer.

It reads performatives by position, so it dies on every frame that is not full length
(contract/amqp.md 1.3): opening, attaching, a token round trip and closing without an exception prove the
whole set.
"""

import logging
import ssl

import pytest
from azure.eventhub._pyamqp import _connection, authentication, cbs, sasl
from azure.eventhub._pyamqp._transport import SSLTransport
from azure.eventhub._pyamqp.constants import ConnectionState, LinkState, SessionState
from azure.eventhub._pyamqp.error import TokenAuthFailure
from azure.iot.hub.sastoken import SasToken
from conftest import PATIENCE_S, until

TOKEN_TYPE = "servicebus.windows.net:sastoken"
CARRIERS = {"tls": 5671, "plain": 5672}


class NoSaslTransport(SSLTransport):
    """Opens with the AMQP header at once. The stack's own transport would ask for TLS inside of TLS here."""

    def negotiate(self):
        pass


@pytest.fixture(params=CARRIERS)
def carrier(request):
    return request.param


@pytest.fixture(params=["anonymous", "no sasl"])
def connection(request, carrier, owner, root_certificate):
    port, use_tls = CARRIERS[carrier], carrier == "tls"
    tls = {"context": ssl.create_default_context(cadata=root_certificate)}
    options = {"use_tls": use_tls, "ssl_opts": tls}
    if request.param == "no sasl":
        options = {"transport": NoSaslTransport(owner["HostName"], port=port, **options)}
    else:
        options["sasl_credential"] = sasl.SASLAnonymousCredential()
    scheme = "amqps" if use_tls else "amqp"
    return _connection.Connection(f"{scheme}://{owner['HostName']}:{port}", **options)


def test_opens_attaches_puts_a_token_detaches_ends_and_closes(connection, owner, caplog):
    caplog.set_level(logging.INFO, logger="azure.eventhub._pyamqp")
    connection.open(wait=PATIENCE_S)
    assert connection.state == ConnectionState.OPENED
    session = begin(connection)

    authenticator = cbs_links(session, owner, owner["SharedAccessKey"])
    authenticator.open()
    until_listening(connection, authenticator.handle_token, "the token is accepted")
    assert authenticator._token_status_code == 200

    links = list(session.links.values())
    assert [link.get_state() for link in links] == [LinkState.ATTACHED] * 2
    for link in links:
        link.detach(close=True)
        until_listening(connection, lambda: link.get_state() == LinkState.DETACHED, "the link is detached")
    session.end(wait=PATIENCE_S)
    assert session.state == SessionState.UNMAPPED
    connection.close(wait=PATIENCE_S)

    assert connection.state == ConnectionState.END
    assert connection._error is None
    # end() and close() swallow what goes wrong in them and only log it.
    assert "An error occurred when" not in caplog.text


def test_a_token_signed_with_a_wrong_key_is_answered_with_401_and_the_connection_stays(connection, owner):
    connection.open(wait=PATIENCE_S)
    session = begin(connection)

    authenticator = cbs_links(session, owner, "bm90IHRoZSBrZXkgb2YgYW55IHBvbGljeQ==")
    authenticator.open()
    with pytest.raises(TokenAuthFailure) as refusal:
        until_listening(connection, authenticator.handle_token, "the token is judged")
    assert refusal.value.condition == 401 or "401" in str(refusal.value)

    assert connection.state == ConnectionState.OPENED
    session.end(wait=PATIENCE_S)
    connection.close(wait=PATIENCE_S)
    assert connection._error is None


def test_an_idle_connection_is_kept_open_by_empty_frames(carrier, owner, root_certificate):
    tls = {"context": ssl.create_default_context(cadata=root_certificate)}
    scheme, use_tls = ("amqps", True) if carrier == "tls" else ("amqp", False)
    connection = _connection.Connection(
        f"{scheme}://{owner['HostName']}:{CARRIERS[carrier]}",
        sasl_credential=sasl.SASLAnonymousCredential(), use_tls=use_tls, ssl_opts=tls, idle_timeout=1,
    )
    connection.open(wait=PATIENCE_S)
    # Nothing else is sent, so every stamp is an empty frame; one missed and the client closes by itself.
    stamps = set()

    def three_frames_came():
        stamps.add(connection._last_frame_received_time)
        return len(stamps) > 3

    until_listening(connection, three_frames_came, "three empty frames arrive")
    assert connection.state == ConnectionState.OPENED
    connection.close(wait=PATIENCE_S)


def begin(connection):
    session = connection.create_session()
    # The stack's own wait here is for a state it has left by then.
    session.begin()
    until_listening(connection, lambda: session.state == SessionState.MAPPED, "the session is begun")
    return session


def cbs_links(session, owner, key):
    """The stack's CBS client, with a token of the policy iothubowner as IoT Hub signs it."""
    host = owner["HostName"]

    def token():
        sas = SasToken(host, key, owner["SharedAccessKeyName"])
        return authentication.AccessToken(str(sas), sas.expiry_time)

    auth = authentication._CBSAuth(f"amqps://{host}", f"amqps://{host}", TOKEN_TYPE, token)
    return cbs.CBSAuthenticator(session, auth, auth_timeout=PATIENCE_S)


def until_listening(connection, reached, what):
    """Lets the connection process frames until `reached` says so."""

    def step():
        if reached():
            return True
        connection.listen(wait=1)
        return False

    until(step, what)
