"""Trouble of a broker: as a message that says what mends it, with pauses that grow, and seldom said."""

from __future__ import annotations

import pickle

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from redis import exceptions

from encord_agents.integrations.celery.store import BrokerError, Seldom, broker_trouble, told


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "said", "lasts"),
    [
        (exceptions.NoPermissionError("No permissions to access a key"), "ACL SETUSER <user> '~x:*' +evalsha", True),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "read-only replica: name the", True),
        (exceptions.OutOfMemoryError("command not allowed"), "raise its `maxmemory`", True),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "begins with `x:`: delete that key", True),
        (exceptions.ResponseError("unknown command 'ZMSCORE'"), "Redis 6.2 or newer", True),
        (exceptions.AuthenticationError("WRONGPASS"), "correct the address", True),
        (exceptions.ResponseError("something else"), "refuses: ResponseError: something else", True),
        (exceptions.BusyLoadingError("loading"), "cannot be reached: BusyLoadingError", False),
        (exceptions.ConnectionError("Error 111"), "cannot be reached: ConnectionError: Error 111", False),
        (exceptions.TimeoutError("late"), "cannot be reached", False),
        (caused(OperationalError("OOM"), exceptions.OutOfMemoryError("OOM")), "raise its `maxmemory`", True),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "room there, or correct", True),
        (exceptions.MovedError("3999 127.0.0.1:6381"), "part of a cluster, which Celery cannot use", True),
        (exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), "cluster that is not complete", False),
        (exceptions.MasterDownError("MASTERDOWN Link with MASTER is down"), "has lost its master", False),
        (exceptions.BusyLoadingError("loading the dataset"), "as after a start: wait", False),
        (exceptions.ConnectionError("max number of clients reached"), "Raise its `maxclients`", False),
        (
            exceptions.ConnectionError("Error 1: [SSL: WRONG_VERSION_NUMBER]"),
            "begins with redis://, not rediss://",
            True,
        ),
        (exceptions.ConnectionError("Error 1: [SSL: CERTIFICATE_VERIFY_FAILED]"), "`ssl_ca_certs`", True),
        (exceptions.ConnectionError("Connection closed by server."), "must begin with rediss://", False),
        (OperationalError("[Errno 111] Connection refused"), "cannot be reached: OperationalError", False),
        (ConnectionRefusedError("refused"), "cannot be reached", False),
    ],
)
def test_what_a_broker_answers(error: Exception, said: str, lasts: bool) -> None:
    """The message has the answer and the remedy, and says if waiting helps."""
    found = told(error, "x")
    assert said in str(found)
    assert found.lasts is lasts
    copy = pickle.loads(pickle.dumps(found))
    assert (str(copy), copy.lasts) == (str(found), found.lasts)
    assert told(found, "x") is found


def test_no_password_and_no_escape_sequence_is_shown() -> None:
    """Addresses come without users, and what a server says is on one line."""
    text = str(told(exceptions.ConnectionError("no redis://me:secret@host\x1b[2J\nhere"), "x"))
    assert "secret" not in text
    assert "\x1b" not in text
    assert "\n" not in text


def test_only_a_brokers_trouble_is_told_as_such() -> None:
    """Other exceptions pass as they are."""
    with pytest.raises(KeyError), broker_trouble("x"):
        raise KeyError("a")
    for error in (exceptions.ReadOnlyError("no"), OperationalError("no"), ConnectionResetError("gone")):
        with pytest.raises(BrokerError) as found, broker_trouble("x"):
            raise error
        assert found.value.__cause__ is error


@pytest.mark.parametrize(
    ("broker", "backend", "said"),
    [
        ("reddis://:hidden@127.0.0.1:1", None, "No such transport: reddis. Did you mean redis?"),
        ("http://:hidden@127.0.0.1:1", None, "No such transport: http"),
        ("mongodb://127.0.0.1:1", None, "No module named 'pymongo' (in kombu.transport.mongodb)"),
        ("redis://:hid/den@127.0.0.1:1", None, "Its port must be a number"),
        ("amqp://me:hid#den@127.0.0.1:1", None, "Its port must be a number"),
        ("redis://[::1/0", None, "Its port must be a number"),
        ("redis://127.0.0.1/0?no_such_option=1", None, "unexpected keyword argument 'no_such_option'"),
        ("memory://", "reddis://:hidden@127.0.0.1:1", "No module named 'reddis'"),
        ("memory://", "mongodb://me:hidden@127.0.0.1:1", "install the pymongo library"),
        ("memory://", "rediss://:hidden@127.0.0.1:1", "must have parameter ssl_cert_reqs"),
        ("memory://", "os", "Unknown result backend: 'os'"),
    ],
)
def test_addresses_that_celery_cannot_use(broker: str, backend: str | None, said: str) -> None:
    """They are mistakes to correct, whatever exception the library raises, and no part of a password is shown."""
    app = Celery("store", broker=broker, backend=backend, set_as_current=False)
    with pytest.raises(BrokerError) as found, broker_trouble("x"):
        app.send_task("any")
    assert said in str(found.value)
    assert found.value.lasts
    assert all(part not in str(found.value) for part in ("hid", "den"))


def test_the_same_line_is_said_once_a_minute() -> None:
    """The same line is logged once a minute, whatever is logged in between."""
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    assert [seldom("a"), seldom("a"), seldom("b")] == [True, False, True]
    now[0] = 59.0
    assert [seldom("a"), seldom("b")] == [False, False]
    now[0] = 60.0
    assert [seldom("a"), seldom("a")] == [True, False]
